//go:build unix

package cli

import (
	"os/signal"
	"syscall"
)

// ignoreSignals lets a write beyond the limit on file sizes (ulimit -f) fail as one to
// a full disk does. Left alone, Go answers the signal with all its stacks.
func ignoreSignals() { signal.Ignore(syscall.SIGXFSZ) }
