// Package run is a run directory: where things lie in it, which of them are finished, and who
// may write. Nobody else knows its paths.
//
//	run.yaml                               the options of the run
//	prompts.jsonl.zst, eval-prompts...     its prompts, so that it can be moved and scored again
//	iter-01/trajectories/0000.jsonl.zst    the responses of a shard of prompts, with
//	iter-01/states/0000.states             the states they went through
//	iter-01/head.gguf, metrics.json        the round's value function
//	eval/METHOD/0000.jsonl                 answers to a shard of the evaluation prompts
//	eval.json, report.html
//	rewards/NAME/...                       what a reward says of all these, and the value
//	                                       functions learned from it by ivo score
//	ledger.json                            what is finished
//	fleet.yaml                             who drew what, where several machines did
//
// Every file that takes work carries a stamp: the key of all that it was made from, and the
// keys of the files among these. A file whose stamp has the key that is asked for is finished,
// for files are written whole or not at all; the ledger only saves reading them again. So a
// ledger that is lost is made anew from the files, and a file that was made from something else
// is seen.
//
// The package knows nothing of models, rewards or training.
package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/gofrs/flock"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
)

// Dir is the directory of a run that this process alone writes to.
type Dir struct {
	path string
	lock *flock.Flock

	mu     sync.Mutex // of the ledger
	ledger ledger
}

// Open opens the run in a directory, which is made if it is not there, and keeps other
// processes out until Close. A directory that holds something else is refused.
func Open(path string) (*Dir, error) {
	if err := vacant(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, &fault.Error{Op: "run", Field: "out", Err: err, Hint: "give {out} a directory that can be made and written to"}
	}
	d := &Dir{path: path, lock: flock.New(filepath.Join(path, lockFile))}
	switch locked, err := d.lock.TryLock(); {
	case err != nil:
		return nil, &fault.Error{Op: "run", Field: "out", Err: err, Hint: "give {out} a directory that you may write to"}
	case !locked:
		return nil, inUse(path)
	}
	err := d.clean()
	if err == nil {
		d.ledger, err = readLedger(d.Path(ledgerFile))
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Usable says why a directory cannot be opened, as far as that shows without making anything: nil where it is no run yet.
func Usable(path string) error {
	if err := vacant(path); err != nil {
		return err
	}
	file := filepath.Join(path, lockFile)
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	lock := flock.New(file)
	if locked, err := lock.TryLock(); err == nil && !locked {
		return inUse(path)
	}
	return lock.Close()
}

func inUse(path string) error {
	return fault.New("run", "out", nil, "wait for it, or give another {out}", "%s is in use by another ivo", path)
}

// Close lets other processes in. The system does so too when the process ends, however it ends.
func (d *Dir) Close() error { return d.lock.Close() }

// Path is where a file of the run lies.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, filepath.FromSlash(name)) }

// Root is the directory itself.
func (d *Dir) Root() string { return d.path }

// vacant refuses a directory that holds something else than a run.
func vacant(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return &fault.Error{Op: "run", Field: "out", Err: err, Hint: "give another {out}"}
	}
	known := func(e fs.DirEntry) bool {
		return e.Name() == OptionsFile || e.Name() == lockFile || e.Name() == FleetDir || e.Name() == FleetFile
	}
	if slices.ContainsFunc(entries, known) {
		return nil
	}
	return fault.New("run", "out", nil, "give another {out}", "%s is not empty and holds no run", path)
}

// clean removes what a killed process left half-written.
func (d *Dir) clean() error {
	return filepath.WalkDir(d.path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return atomicfile.Clean(path)
	})
}

// IsRun says whether a directory holds a run.
func IsRun(path string) bool {
	_, err := os.Stat(filepath.Join(path, OptionsFile))
	return err == nil
}

// Expect refuses a directory that holds an experiment where a run is wanted, or the other way round: they
// would write over each other's results.
func Expect(path string, experiment bool) error {
	_, err := os.Stat(filepath.Join(path, ExperimentDir))
	switch is := err == nil; {
	case experiment && IsRun(path):
		return fault.New("run", "out", nil, "give another {out}", "%s holds a run of ivo iterate", path)
	case !experiment && is && !IsRun(path):
		return fault.New("run", "out", nil, "give another {out}", "%s holds an experiment of ivo eval", path)
	}
	return nil
}

// Absent says that a file is not there, which for a file of a run means not yet.
func Absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// damaged is the error of a file that is not what the run wrote.
func damaged(path string, err error) error {
	return &fault.Error{Op: "run", Err: fmt.Errorf("%s: damaged: %w", path, err), Hint: "delete the file; the run makes it again"}
}
