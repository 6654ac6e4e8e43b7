package batch

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gofrs/flock"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
)

// Answers writes the lines of a run over many prompts in their order, whatever order they come
// in. To a file it writes so that a run that was stopped goes on: what the lines depend on is
// kept beside it.
type Answers struct {
	mu      sync.Mutex
	w       io.Writer
	file    *os.File // w, if it is a file that a stopped run goes on with
	lock    *flock.Flock
	shard   int // lines that belong together
	next    int // first line not written yet
	total   int
	waiting map[int][]byte
	notify  func(written int)
}

// put takes line i.
func (a *Answers) put(i int, line []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting[i] = line
	for a.waiting[a.next] != nil {
		if _, err := a.w.Write(a.waiting[a.next]); err != nil {
			return &fault.Error{Op: "write the answers", Field: "out", Err: err, Hint: "make room or check where the output goes, and run the same command again"}
		}
		delete(a.waiting, a.next)
		a.next++
		if a.file != nil && (a.next%a.shard == 0 || a.next == a.total) {
			if err := a.file.Sync(); err != nil {
				return &fault.Error{Op: "write the answers", Field: "out", Err: err, Hint: "check the disk, and run the same command again"}
			}
		}
		if a.notify != nil {
			a.notify(a.next)
		}
	}
	return nil
}

// open opens the file of a run that may have been stopped, for this process alone.
func (a *Answers) open(path string) error {
	a.lock = flock.New(path)
	switch locked, err := a.lock.TryLock(); {
	case err != nil:
		return &fault.Error{Field: "out", Err: err, Hint: "give an {out} that you may write to"}
	case !locked:
		return fault.New("", "out", nil, "wait for it, or give another {out}", "%s is being written by another ivo", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o644)
	if err != nil {
		return errors.Join(&fault.Error{Field: "out", Err: err, Hint: "give an {out} that you may write to"}, a.lock.Close())
	}
	a.file, a.w = f, f
	return nil
}

// Close closes the file, if there is one.
func (a *Answers) Close() error {
	if a.file == nil {
		return nil
	}
	return errors.Join(a.file.Close(), a.lock.Close())
}

// Written is the number of lines that are written, Total that of all.
func (a *Answers) Written() int { return a.next }
func (a *Answers) Total() int   { return a.total }

// OpenAnswers opens the file at path for the answers to tasks that are decoded in shards of so
// many, each with so many samples: to be begun, or to be continued behind its last complete
// shard. Other options than the file was begun with are refused, by name.
func OpenAnswers(path string, options AnswersOptions, tasks []Task, shard int) (*Answers, error) {
	a := newAnswers(nil, tasks, shard)
	if err := a.open(path); err != nil {
		return nil, err
	}
	err := storeOptions(path, options)
	if err == nil {
		err = a.resume(func(i int) lineKey {
			t := tasks[i/tasks[0].samples()]
			return lineKey{t.ID, t.First + i%t.samples()}
		})
	}
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// PrintAnswers prints the answers instead.
func PrintAnswers(w io.Writer, tasks []Task, shard int) *Answers { return newAnswers(w, tasks, shard) }

func newAnswers(w io.Writer, tasks []Task, shard int) *Answers {
	n := tasks[0].samples()
	return &Answers{w: w, shard: shard * n, total: len(tasks) * n, waiting: map[int][]byte{}}
}

// resume finds out where the run goes on: behind its last complete shard. line says whose
// answer a line has to be.
func (a *Answers) resume(line func(i int) lineKey) error {
	in := bufio.NewReader(a.file)
	var end, sound int64 // of the lines, and of the complete shards
	for i := 0; ; i++ {
		if i%a.shard == 0 || i == a.total {
			a.next, sound = i, end
		}
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break // with what was being written when the run was stopped, if anything
		}
		if err != nil {
			return &fault.Error{Op: "read what is done", Field: "out", Err: err, Hint: "check the disk, or give another {out}"}
		}
		var key lineKey
		if json.Unmarshal(text, &key) != nil || i >= a.total || key != line(i) {
			return fault.New("", "out", nil, "give another {out}, or remove the file to start anew", "%s: line %d is not the answer that was written there", a.file.Name(), i+1)
		}
		end += int64(len(text))
	}
	if err := a.file.Truncate(sound); err != nil {
		return &fault.Error{Op: "cut what is not complete", Field: "out", Err: err, Hint: "give another {out}"}
	}
	_, err := a.file.Seek(sound, io.SeekStart)
	return err
}

// lineKey is the part of a record that names it.
type lineKey struct {
	ID     string `json:"id"`
	Sample int    `json:"sample"`
}

// optionsOf names the file that keeps the options of the run that writes path.
func optionsOf(path string) string { return path + ".options" }

// ReadAnswersOptions reads the options with which the answers at path were begun, nil if there
// are none.
func ReadAnswersOptions(path string) (*AnswersOptions, error) {
	wrong := func(hint, format string, args ...any) (*AnswersOptions, error) {
		return nil, fault.New("", "out", nil, hint, format, args...)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return wrong("make it, or give another {out}", "%s is no folder", filepath.Dir(path))
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return wrong("give another {out}, or none to print the answers", "%s is no regular file", path)
	}
	data, err := os.ReadFile(optionsOf(path))
	if errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return wrong("give another {out}", "%s is there already, and %s that would say how it was made is not", path, optionsOf(path))
		}
		return nil, nil
	}
	if err != nil {
		return wrong("give another {out}", "%w", err)
	}
	var options AnswersOptions
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&options); err != nil {
		return wrong("it is damaged or was written by another version of ivo: give another {out}", "%s: %w", optionsOf(path), err)
	}
	return &options, nil
}

// storeOptions writes the options of new answers, or compares them with those of the ones that
// are continued. The file at path must be locked.
func storeOptions(path string, options AnswersOptions) error {
	old, err := ReadAnswersOptions(path)
	if err != nil {
		return err
	}
	if old == nil {
		data, err := json.MarshalIndent(options, "", " ")
		if err != nil {
			return err
		}
		return atomicfile.WriteBytes(optionsOf(path), append(data, '\n'))
	}
	was, is := fields(*old), fields(options)
	var changed []string
	all := maps.Clone(was)
	maps.Copy(all, is)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if was[name] != is[name] {
			changed = append(changed, fmt.Sprintf("%s %s -> %s", name, cmp.Or(was[name], "none"), cmp.Or(is[name], "none")))
		}
	}
	if len(changed) > 0 {
		return fault.New("", "out", nil, "use the same ones to continue it, or another {out}, or remove it and its options to start anew",
			"%s was begun with other options: %s", path, strings.Join(changed, ", "))
	}
	return nil
}

// fields are options as JSON by name.
func fields(options AnswersOptions) map[string]string {
	data, err := json.Marshal(options)
	var m map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		panic(err) // options are numbers and texts
	}
	out := map[string]string{}
	for name, value := range m {
		out[name] = string(value)
	}
	return out
}
