package fingerprint

import (
	"io/fs"
	"syscall"
	"time"
)

// unique is what tells a file from another one of its name: its inode, and the time of its
// last change of any kind, which no program can set.
func unique(st fs.FileInfo) (inode uint64, changed time.Time) {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, st.ModTime()
	}
	return s.Ino, time.Unix(s.Ctimespec.Sec, s.Ctimespec.Nsec)
}
