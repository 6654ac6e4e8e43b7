// Package shelf is what a server lets people read of its machine: the runs and experiments below a folder,
// with their reports, and the prompts that they keep or that whoever runs the server names. It only reads.
//
// What is there goes by ids that the shelf gives out: no path comes from those who read. A run in which
// anything is a link is none of the shelf's, for links lead elsewhere.
package shelf

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

const (
	deepest = 4     // folders below the shelf's in which runs are looked for
	most    = 20000 // files and folders that are looked at for them
)

// Shelf is a folder of runs and some files of prompts. The zero value is empty.
type Shelf struct {
	folder  string // "" for none
	prompts []file
}

// Open opens a shelf of the runs below a folder, "" for none, and of files of prompts.
func Open(folder string, prompts ...string) (*Shelf, error) {
	s := &Shelf{folder: folder}
	if folder != "" {
		st, err := os.Stat(folder)
		if err == nil && !st.IsDir() {
			err = &fs.PathError{Op: "open", Path: folder, Err: errors.New("no folder")}
		}
		if err != nil {
			return nil, &fault.Error{Field: "runs", Err: err, Hint: "give {runs} a folder of runs"}
		}
		if s.folder, err = filepath.EvalSymlinks(folder); err != nil {
			return nil, &fault.Error{Field: "runs", Err: err, Hint: "give {runs} a folder of runs"}
		}
	}
	for _, path := range prompts {
		if _, err := prompt.Read(path, prompt.ReadOptions{}); err != nil {
			return nil, err
		}
		s.prompts = append(s.prompts, file{Prompts{ID: id("prompts", path), Name: filepath.Base(path)}, path})
	}
	return s, nil
}

// id is what something on the shelf is called.
func id(parts ...any) string { return run.Key(parts...)[:12] }

// Kind says what lies in a directory.
type Kind string

const (
	KindRun        Kind = "run"        // of ivo iterate
	KindExperiment Kind = "experiment" // of ivo eval
)

// place is where a run lies.
type place struct {
	id, name string // the name is its path below the folder, with slashes
	kind     Kind
	dir      string
}

// places are the runs below the folder, by name.
func (s *Shelf) places() (out []place, err error) {
	if s.folder == "" {
		return nil, nil
	}
	looked := 0
	err = filepath.WalkDir(s.folder, func(dir string, e fs.DirEntry, err error) error {
		if looked++; looked > most {
			return fs.SkipAll
		}
		if err != nil && dir == s.folder {
			return err
		}
		if err != nil || !e.IsDir() {
			return nil
		}
		name, err := filepath.Rel(s.folder, dir)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch kind := kindOf(dir); {
		case name != "." && strings.HasPrefix(e.Name(), "."):
			return fs.SkipDir
		case kind != "" && !linked(dir):
			if name == "." {
				name = filepath.Base(dir)
			}
			out = append(out, place{id("run", name), name, kind, dir})
			return fs.SkipDir
		case kind != "", strings.Count(name, "/") == deepest-1:
			return fs.SkipDir
		}
		return nil
	})
	return out, err
}

func kindOf(dir string) Kind {
	if run.IsRun(dir) {
		return KindRun
	}
	if st, err := os.Stat(filepath.Join(dir, run.ExperimentDir)); err == nil && st.IsDir() {
		return KindExperiment
	}
	return ""
}

// linked says whether anything in a directory is neither a file nor a folder, or cannot be looked at.
func linked(dir string) bool {
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !e.Type().IsRegular() {
			return fs.ErrInvalid
		}
		return err
	})
	return err != nil
}

func (s *Shelf) place(id string) (place, error) {
	all, err := s.places()
	if err != nil {
		return place{}, err
	}
	for _, p := range all {
		if p.id == id {
			return p, nil
		}
	}
	return place{}, fs.ErrNotExist
}

// Report is the HTML page of a run, made anew as far as the run is, or that which an experiment has. The error
// is [fs.ErrNotExist] where there is none.
func (s *Shelf) Report(id string) ([]byte, error) {
	p, err := s.place(id)
	if err != nil {
		return nil, err
	}
	if p.kind == KindExperiment {
		return os.ReadFile(filepath.Join(p.dir, experiment.ReportFile))
	}
	var page bytes.Buffer
	err = report.Render(&page, p.dir)
	return page.Bytes(), err
}

// Prompts is a list of prompts.
type Prompts struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type file struct {
	Prompts
	path string
}

// kept are the prompts that a run keeps.
func (p place) kept() (out []file) {
	for _, of := range []struct{ file, name string }{{run.PromptsFile, "learned from"}, {run.EvalPromptsFile, "evaluated on"}} {
		path := filepath.Join(p.dir, of.file)
		if _, err := os.Stat(path); err == nil {
			out = append(out, file{Prompts{ID: id("prompts", p.id, of.file), Name: p.name + ", " + of.name}, path})
		}
	}
	return out
}

// Prompts are the lists of prompts that there are.
func (s *Shelf) Prompts() (out []Prompts, err error) {
	for _, f := range s.prompts {
		out = append(out, f.Prompts)
	}
	all, err := s.places()
	for _, p := range all {
		for _, f := range p.kept() {
			out = append(out, f.Prompts)
		}
	}
	return out, err
}

// Records reads a list of prompts. The error is [fs.ErrNotExist] where there is none of this id.
func (s *Shelf) Records(id string) ([]prompt.Record, error) {
	for _, f := range s.prompts {
		if f.ID == id {
			return prompt.Read(f.path, prompt.ReadOptions{})
		}
	}
	all, err := s.places()
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		for _, f := range p.kept() {
			if f.ID == id {
				return loop.Prompts(p.dir, filepath.Base(f.path))
			}
		}
	}
	return nil, fs.ErrNotExist
}

// Conversation is a prompt as a chat begins with it: a text is what the user says.
func Conversation(r prompt.Record) []llama.Message {
	if r.Messages == nil {
		return []llama.Message{{Role: "user", Content: r.Text}}
	}
	return r.Messages
}
