//go:build unix

package states

import (
	"fmt"
	"os"
	"syscall"
)

// lockFile keeps a second writer out. The system drops the lock when the file is
// closed or the process ends, however it ends.
func lockFile(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s is being written by another process (wait for it to end)", f.Name())
	}
	return nil
}
