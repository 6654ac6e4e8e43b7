package run

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
)

// Stamp says what a file was made from.
type Stamp struct {
	// Key is the key of all that the content depends on; see [Key].
	Key string `json:"key"`
	// Sum is the XXH64 of the file's text, compressed or not, with zeros in the place of the sum.
	Sum string `json:"sum"`
	// From are the keys of the run's files among these, by name.
	From map[string]string `json:"from,omitempty"`
	// With are files that were made together with this one, before it.
	With map[string]File `json:"with,omitempty"`
}

// Stamped is a file's content that carries its stamp.
type Stamped interface{ stamp() *Stamp }

func (s *Stamp) stamp() *Stamp { return s }

// File identifies a file's content.
type File struct {
	Bytes  int64  `json:"bytes"`
	XXHash string `json:"xxhash64"`
}

// Key is a key of parts that JSON can write: equal parts give equal keys, and others do not.
func Key(parts ...any) string {
	data, err := json.Marshal(parts)
	if err != nil {
		panic(err) // a part that cannot be written is a fault of the program
	}
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%x", sum[:12])
}

// ledger lists the finished files of a run by name.
type ledger struct {
	Version int              `json:"version"`
	Entries map[string]entry `json:"entries"`
}

type entry struct {
	Key   string          `json:"key"`
	Files map[string]File `json:"files"` // the file itself and those with it
}

const ledgerVersion = 2

// readLedger reads a ledger. One that is lost, damaged or of another version is an empty one:
// the files say themselves what they are.
func readLedger(path string) (ledger, error) {
	empty := ledger{Version: ledgerVersion, Entries: map[string]entry{}}
	data, err := os.ReadFile(path)
	if Absent(err) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	var l ledger
	if json.Unmarshal(data, &l) != nil || l.Version != ledgerVersion || l.Entries == nil {
		return empty, nil
	}
	return l, nil
}

// Done says whether a file is finished and was made from what has this key.
func (d *Dir) Done(name, key string) (bool, error) {
	d.mu.Lock()
	e := d.ledger.Entries[name]
	d.mu.Unlock()
	if _, own := e.Files[name]; own && e.Key == key {
		same, err := d.unchanged(e.Files)
		if same || err != nil {
			return same, err
		}
	}
	s, err := ReadStamp(d.Path(name))
	if err != nil || s.Key != key {
		return false, unlessDamaged(err)
	}
	if same, err := d.unchanged(s.With); !same || err != nil {
		return false, err
	}
	return true, d.add(name, *s)
}

// unlessDamaged leaves only those errors of a file that make it unreadable: one that is not
// there, or damaged, is made again.
func unlessDamaged(err error) error {
	var path *os.PathError
	if errors.As(err, &path) && !Absent(err) {
		return err
	}
	return nil
}

// unchanged says whether the files are there, with their content.
func (d *Dir) unchanged(files map[string]File) (bool, error) {
	for name, want := range files {
		got, err := Identify(d.Path(name))
		if Absent(err) {
			return false, nil
		}
		if err != nil || got != want {
			return false, err
		}
	}
	return true, nil
}

// add notes that a file, which has been written and synced, is finished.
func (d *Dir) add(name string, s Stamp) error {
	own, err := Identify(d.Path(name))
	if err != nil {
		return err
	}
	e := entry{Key: s.Key, Files: map[string]File{name: own}}
	for with, f := range s.With {
		e.Files[with] = f
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ledger.Entries[name] = e
	data, err := json.MarshalIndent(d.ledger, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(d.Path(ledgerFile), append(data, '\n'))
}

// Identify reads a file's content.
func Identify(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := xxhash.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return File{}, err
	}
	return File{n, fmt.Sprintf("%016x", h.Sum64())}, nil
}

// with identifies files that are made together with one that is about to be written.
func (d *Dir) with(names []string) (map[string]File, error) {
	if len(names) == 0 {
		return nil, nil
	}
	out := map[string]File{}
	for _, name := range names {
		f, err := Identify(d.Path(name))
		if err != nil {
			return nil, err
		}
		out[name] = f
	}
	return out, nil
}

// Make makes the folder of a file of the run.
func (d *Dir) Make(name string) error {
	err := os.MkdirAll(filepath.Dir(d.Path(name)), 0o755)
	if err == nil {
		return nil
	}
	return &fault.Error{Op: "run", Err: err, Hint: "make the run's directory one that you may write to, or copy it to one"}
}
