//go:build unix

package terminal

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// suspend stops the program and those it shares a pipe with, as Ctrl-Z does, and returns when it is
// continued, or soon where nobody could continue it and the system does not stop it.
func suspend() {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	syscall.Kill(0, syscall.SIGTSTP)
	select {
	case <-continued:
	case <-time.After(200 * time.Millisecond):
	}
}
