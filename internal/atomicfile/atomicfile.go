// Package atomicfile writes files that are either whole or absent: the bytes go
// to a temporary name in the same folder, are synced to disk, and take the final
// name by rename. A killed process or a full disk leaves no half-written file
// under the final name.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
)

// Before, if set, is told of each step of a write before it is done, and what it returns has come of the step:
// tests have a disk fail, or the process end, at any of them.
var Before func(step, path string) error

// step is one of a write.
func step(name, path string, do func() error) error {
	if Before != nil {
		if err := Before(name, path); err != nil {
			return err
		}
	}
	return do()
}

// create makes the temporary file of one.
func create(path string) (f *os.File, err error) {
	err = step("create", path, func() error {
		f, err = os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp*")
		return err
	})
	return f, err
}

// Write creates or replaces path with what fill writes. On any error the
// temporary file is removed and path is left as it was.
func Write(path string, fill func(io.Writer) error) error { return write(path, 0o644, fill) }

func write(path string, mode fs.FileMode, fill func(io.Writer) error) (err error) {
	f, err := create(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, hint(err))
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, hint(err))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err = fill(w); err != nil {
		return err
	}
	if err = step("write", path, w.Flush); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = step("sync", path, f.Sync); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return Rename(f.Name(), path)
}

// Append writes at the end of a file that grows by whole lines, which are on the disk then. Where it fails, a part of them may
// be there: whoever reads the file takes it for the end.
func Append(f *os.File, lines []byte) error {
	if err := step("append to", f.Name(), func() error { _, err := f.Write(lines); return err }); err != nil {
		return err
	}
	return step("sync", f.Name(), f.Sync)
}

// Rename gives a synced file in the same folder its name, for good.
func Rename(tmp, path string) error {
	if err := step("rename", path, func() error { return os.Rename(tmp, path) }); err != nil {
		return err
	}
	return step("sync the folder of", path, func() error { return syncDir(filepath.Dir(path)) })
}

// WriteBytes is Write of a fixed content.
func WriteBytes(path string, data []byte) error { return Write(path, content(data)) }

// WritePrivate is WriteBytes of what nobody but the owner may read.
func WritePrivate(path string, data []byte) error { return write(path, 0o600, content(data)) }

func content(data []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}
}

// syncDir makes the rename itself durable. Some file systems refuse to sync a
// folder, and so does Windows; the rename is then as durable as they allow.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// hint says what to do about the errors a user can mend.
func hint(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w (the disk is full: free some space and run the same command again, finished work is kept)", err)
	case errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%w (a limit on the size of files: raise it, see ulimit -f, and run the same command again, finished work is kept)", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w (the disk can only be read: choose a folder on another, or have it written to again and run the same command once more, finished work is kept)", err)
	case errors.Is(err, syscall.EIO):
		return fmt.Errorf("%w (the disk fails: look into the system's log, and choose a folder on another)", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (choose a folder you may write to)", err)
	}
	return err
}

// Replace is Write for contents that another program writes: make gets the
// temporary path, and the file it leaves there is synced and renamed to path.
func Replace(path string, make func(tmp string) error) (err error) {
	f, err := create(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, hint(err))
	}
	tmp := f.Name()
	f.Close()
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	if err := make(tmp); err != nil {
		return err
	}
	if f, err = os.OpenFile(tmp, os.O_RDWR, 0); err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := step("sync", path, f.Sync); err != nil {
		return fmt.Errorf("write %s: %w", path, hint(err))
	}
	if err := Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, hint(err))
	}
	return nil
}

// temporary matches the names that Write and Replace give unfinished files.
var temporary = regexp.MustCompile(`^\..+\.tmp[0-9]+$`)

// Clean removes the unfinished files that killed processes left in dir, not those in
// folders below it; a dir that does not exist is clean. No other process may be
// writing there.
func Clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	for _, e := range entries {
		if e.Type().IsRegular() && temporary.MatchString(e.Name()) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return err
}
