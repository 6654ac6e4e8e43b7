//go:build unix

package run

import "golang.org/x/sys/unix"

// Free is the number of bytes that may still be written where the directory lies, if that is
// known.
func Free(dir string) (int64, bool) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}
