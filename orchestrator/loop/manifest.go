package loop

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

const (
	manifestFile    = "manifest.json"
	manifestVersion = 1
)

// Manifest lists the finished files of a run. A file that is not in it, or not as it
// says, is made again.
type Manifest struct {
	Version  int             `json:"version"`
	Complete map[string]File `json:"complete"` // by path below the run directory
}

// File identifies the content of a finished file.
type File struct {
	Bytes  int64  `json:"bytes"`
	XXHash string `json:"xxhash64"`
}

// ledger is the manifest of a run under way.
type ledger struct {
	dir string
	mu  sync.Mutex
	m   Manifest
}

// ReadManifest reads the manifest of the run in dir.
func ReadManifest(dir string) (*Manifest, error) {
	path := filepath.Join(dir, manifestFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%s: damaged: %w (delete it and run the same command: the run makes its files again)", path, err)
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("%s: version %d, this ivo reads %d (use another --out)", path, m.Version, manifestVersion)
	}
	return &m, nil
}

func openLedger(dir string) (*ledger, error) {
	m, err := ReadManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		m, err = &Manifest{Version: manifestVersion}, nil
	}
	if err != nil {
		return nil, err
	}
	if m.Complete == nil {
		m.Complete = map[string]File{}
	}
	return &ledger{dir: dir, m: *m}, nil
}

// has says whether the files are finished and unchanged.
func (l *ledger) has(names ...string) (bool, error) {
	for _, name := range names {
		l.mu.Lock()
		want, ok := l.m.Complete[name]
		l.mu.Unlock()
		if !ok {
			return false, nil
		}
		got, err := identify(filepath.Join(l.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if got != want {
			return false, nil
		}
	}
	return true, nil
}

// add notes that the files, which have been written and synced, are finished.
func (l *ledger) add(names ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		f, err := identify(filepath.Join(l.dir, name))
		if err != nil {
			return err
		}
		l.m.Complete[name] = f
	}
	data, err := json.MarshalIndent(l.m, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(filepath.Join(l.dir, manifestFile), append(data, '\n'))
}

func identify(path string) (File, error) {
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
