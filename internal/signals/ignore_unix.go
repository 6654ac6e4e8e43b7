//go:build unix

package signals

import (
	"os/signal"
	"syscall"
)

// ignore lets a write beyond the limit on file sizes (ulimit -f) fail as one to
// a full disk does. Left alone, Go answers the signal with all its stacks.
func ignore() { signal.Ignore(syscall.SIGXFSZ) }
