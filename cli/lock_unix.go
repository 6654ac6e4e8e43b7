//go:build unix

package cli

import (
	"fmt"
	"os"
	"syscall"
)

// lock keeps a second process from writing to the file, until it is closed.
func lock(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s is being written by another ivo (wait for it, or give another --out)", f.Name())
	}
	return nil
}
