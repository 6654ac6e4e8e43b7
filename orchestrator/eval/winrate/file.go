package winrate

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// File holds verdicts as JSON lines, the first of which says whose they are. It grows as they come, and is
// opened for one process at a time.
type File struct {
	verdicts map[asked]Verdict
	f        *os.File // nil of verdicts that are not kept
	lock     *flock.Flock
}

// header is the first line of a file.
type header struct {
	Format      string `json:"format"`
	Judge       string `json:"judge"`
	Fingerprint string `json:"fingerprint"`
	Scale       Scale  `json:"scale"`
}

const format = "ivo verdicts 1"

const writeAgain = "make room or check where {out} lies, and run the same command again"

// Open opens the file of a judge's verdicts, to be begun or to be continued; "" keeps none. One of another judge,
// or with verdicts on other answers to the same prompts, is refused.
func Open(path string, m reward.Model, pairs []Pair) (*File, error) {
	v := &File{verdicts: map[asked]Verdict{}}
	if path == "" {
		return v, nil
	}
	wrong := func(hint, format string, args ...any) (*File, error) {
		return nil, errors.Join(fault.New("", "out", nil, hint, format, args...), v.Close())
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return wrong("make it, or give another {out}", "%s is no folder", filepath.Dir(path))
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return wrong("give another {out}", "%s is no regular file", path)
	}
	v.lock = flock.New(path)
	switch locked, err := v.lock.TryLock(); {
	case err != nil:
		return wrong("give an {out} that you may write to", "%w", err)
	case !locked:
		return wrong("wait for it, or give another {out}", "%s is being written by another ivo", path)
	}
	var err error
	if v.f, err = os.OpenFile(path, os.O_RDWR, 0o644); err != nil {
		return wrong("give an {out} that you may write to", "%w", err)
	}
	info := m.Info()
	own := header{format, info.Name, info.Fingerprint, scaleOf(m)}
	of := map[asked]string{} // the pairs by what is asked of them
	for _, p := range pairs {
		for _, first := range sides(m) {
			of[asked{p.Prompt.ID, p.Sample, first}] = p.hash()
		}
	}
	in := bufio.NewReader(v.f)
	end := int64(0)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err == io.EOF {
			break // with what was being written when the comparison was stopped, if anything
		} else if err != nil {
			return wrong("check the disk, or give another {out}", "%s: %w", path, err)
		}
		if n == 1 {
			var h header
			switch {
			case json.Unmarshal(line, &h) != nil || h.Format != format:
				return wrong("give another {out}", "%s is there already, and holds no verdicts", path)
			case h.Fingerprint != own.Fingerprint || h.Scale != own.Scale:
				return wrong("give another {out}, or remove it to start anew", "%s has the verdicts of another judge, %s", path, h.Judge)
			}
		} else {
			var d Verdict
			if json.Unmarshal(line, &d) != nil || d.ID == "" || d.Of == "" {
				return wrong("give another {out}, or remove the line", "%s: line %d is no verdict", path, n)
			}
			if hash, ok := of[d.asked()]; ok && hash != d.Of {
				return wrong("give another {out}, or remove it to start anew", "%s was begun with other answers to prompt %q", path, d.ID)
			}
			v.verdicts[d.asked()] = d
		}
		end += int64(len(line))
	}
	if err = v.f.Truncate(end); err == nil {
		_, err = v.f.Seek(end, io.SeekStart)
	}
	if err == nil && end == 0 {
		err = v.write(own)
	}
	if err != nil {
		return wrong(writeAgain, "%w", err)
	}
	return v, nil
}

// missing are those of some orders in which there is no verdict on a pair.
func (v *File) missing(p Pair, orders []Side) (left []Side) {
	for _, first := range orders {
		if _, ok := v.verdicts[asked{p.Prompt.ID, p.Sample, first}]; !ok {
			left = append(left, first)
		}
	}
	return left
}

// add keeps verdicts.
func (v *File) add(verdicts []Verdict) error {
	lines := make([]any, len(verdicts))
	for i, d := range verdicts {
		v.verdicts[d.asked()] = d
		lines[i] = d
	}
	if v.f == nil || len(lines) == 0 {
		return nil
	}
	if err := v.write(lines...); err != nil {
		return &fault.Error{Op: "write the verdicts", Field: "out", Err: err, Hint: writeAgain}
	}
	return nil
}

// write appends lines, which are on the disk then.
func (v *File) write(lines ...any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, line := range lines {
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return atomicfile.Append(v.f, b.Bytes())
}

// Close closes the file, if there is one.
func (v *File) Close() error {
	var errs []error
	if v.f != nil {
		errs = append(errs, v.f.Close())
	}
	if v.lock != nil {
		errs = append(errs, v.lock.Close())
	}
	return errors.Join(errs...)
}

// hash stands for prompt and answers: a verdict belongs to these alone.
func (p Pair) hash() string {
	text, err := json.Marshal([]any{p.Prompt, p.A, p.B})
	if err != nil {
		text = fmt.Appendf(nil, "%#v", p)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))[:16]
}
