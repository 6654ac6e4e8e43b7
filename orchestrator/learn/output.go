package learn

import (
	"errors"
	"os"

	"github.com/gofrs/flock"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Reserve keeps other processes from training to the same file until release, and finds out
// now, not after hours, whether it can be written.
func Reserve(path string) (release func() error, err error) {
	lock := flock.New(path + ".lock")
	switch locked, err := lock.TryLock(); {
	case err != nil:
		return nil, &fault.Error{Op: "train", Field: "out", Err: err, Hint: "give {out} a file in a folder that you may write to"}
	case !locked:
		return nil, fault.New("train", "out", nil, "wait for it, or give another {out}", "%s is being trained by another ivo", path)
	}
	return func() error {
		// Removed while it is locked, so that nobody else has it.
		return errors.Join(os.Remove(path+".lock"), lock.Close())
	}, nil
}
