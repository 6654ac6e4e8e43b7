// Package cachedir says where ivo keeps what can be made or fetched again.
package cachedir

import (
	"os"
	"path/filepath"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Path is a folder, or a file, of ivo's cache: below $IVO_CACHE, else $XDG_CACHE_HOME/ivo,
// else ~/.cache/ivo. Nothing is made there.
func Path(elem ...string) (string, error) {
	dir := os.Getenv("IVO_CACHE")
	if dir == "" {
		base := os.Getenv("XDG_CACHE_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", &fault.Error{Op: "find the cache", Err: err, Hint: "set IVO_CACHE to a folder"}
			}
			base = filepath.Join(home, ".cache")
		}
		dir = filepath.Join(base, "ivo")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", &fault.Error{Op: "find the cache", Err: err, Hint: "set IVO_CACHE to an absolute path"}
	}
	return filepath.Join(append([]string{dir}, elem...)...), nil
}
