package cli

import (
	"bufio"
	"bytes"
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

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// answers writes lines in their order, whatever order they come in.
type answers struct {
	mu      sync.Mutex
	w       io.Writer
	file    *os.File // w, if it is a file that a stopped run goes on with
	shard   int      // lines that belong together
	next    int      // first line not written yet
	total   int
	waiting map[int][]byte
	notify  func(written int)
}

// put takes line i.
func (a *answers) put(i int, line []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting[i] = line
	for a.waiting[a.next] != nil {
		if _, err := a.w.Write(a.waiting[a.next]); err != nil {
			return fmt.Errorf("write the answers: %w (make room or check where the output goes, and run the same command again)", err)
		}
		delete(a.waiting, a.next)
		a.next++
		if a.file != nil && (a.next%a.shard == 0 || a.next == a.total) {
			if err := a.file.Sync(); err != nil {
				return fmt.Errorf("write the answers: %w (check the disk, and run the same command again)", err)
			}
		}
		a.notify(a.next)
	}
	return nil
}

// open opens the file of a run that may have been stopped, for this process alone.
func (a *answers) open(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("%w (give an --out that you may write to)", err)
	}
	if err := lock(f); err != nil {
		f.Close()
		return err
	}
	a.file, a.w = f, f
	return nil
}

// resume finds out where the run goes on: behind its last complete shard. line says whose
// answer a line has to be.
func (a *answers) resume(line func(i int) lineKey) error {
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
			return fmt.Errorf("read what is done: %w (check the disk, or give another --out)", err)
		}
		var key lineKey
		if json.Unmarshal(text, &key) != nil || i >= a.total || key != line(i) {
			return fmt.Errorf("%s: line %d is not the answer that was written there (give another --out, or remove the file to start anew)", a.file.Name(), i+1)
		}
		end += int64(len(text))
	}
	if err := a.file.Truncate(sound); err != nil {
		return fmt.Errorf("cut what is not complete: %w (give another --out)", err)
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

// readOptionsOf reads the options of the run that wrote path, nil if there is none.
func readOptionsOf(path string) (*manyOptions, error) {
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s is no folder (make it, or give another --out)", filepath.Dir(path))
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file (give another --out, or none to print the answers)", path)
	}
	data, err := os.ReadFile(optionsOf(path))
	if errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return nil, fmt.Errorf("%s is there already, and %s that would say how it was made is not (give another --out)", path, optionsOf(path))
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w (give another --out)", err)
	}
	var o manyOptions
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return nil, fmt.Errorf("%s: %w (it is damaged or was written by another version of ivo: give another --out)", optionsOf(path), err)
	}
	return &o, nil
}

// store writes the options of a new run, or compares them with those of the one that is
// continued. The file at path must be locked.
func (o *manyOptions) store(path string) error {
	old, err := readOptionsOf(path)
	if err != nil {
		return err
	}
	if old == nil {
		data, err := json.MarshalIndent(o, "", " ")
		if err != nil {
			return err
		}
		return atomicfile.WriteBytes(optionsOf(path), append(data, '\n'))
	}
	was, is := old.fields(), o.fields()
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if was[name] != is[name] {
			changed = append(changed, fmt.Sprintf("%s %s -> %s", name, was[name], is[name]))
		}
	}
	if len(changed) > 0 {
		return fmt.Errorf("%s was begun with other options: %s (use the same ones to continue it, or another --out, or remove it and %s to start anew)", path, strings.Join(changed, ", "), optionsOf(path))
	}
	return nil
}

// fields are the options as JSON by name.
func (o *manyOptions) fields() map[string]string {
	data, err := json.Marshal(o)
	var m map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		panic(err) // the struct has no field that could fail
	}
	out := map[string]string{}
	for name, value := range m {
		out[name] = string(value)
	}
	return out
}
