//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package hub

import "os"

// lock does nothing: two downloads of one file at the same time end in a wrong checksum.
func lock(*os.File) bool { return true }
