package atomicfile

import (
	"fmt"
	"os"
	"path/filepath"
)

// Writable checks that a file can be made at path, before the work whose result it takes. One that
// is there stays, unless it may be overwritten: a slip of the keyboard should not cost a model. The hint
// says what to do where something is.
func Writable(path string, overwrite bool, hint string) error {
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
		return fmt.Errorf("%s: no directory %s (make it, or give another path)", path, filepath.Dir(path))
	}
	st, err := os.Stat(path)
	switch {
	case err == nil && !st.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file (give another path)", path)
	case err == nil && !overwrite:
		return fmt.Errorf("%s is there already (%s)", path, hint)
	}
	return nil
}
