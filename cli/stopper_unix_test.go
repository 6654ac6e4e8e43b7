//go:build unix

package cli

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/ivo-decoding/ivo/internal/signals"
)

// stopEnv asks ivo, run by a test, to send itself a signal, given as its number, at the first
// text on stderr that matches a pattern, which follows a space.
const stopEnv = "IVO_TEST_STOP"

// stopping is a writer that does so. What writes to it goes on only when the signal has been
// taken, so that it comes between two known steps, on a busy machine too.
type stopping struct {
	io.Writer
	sig  syscall.Signal
	at   *regexp.Regexp
	done bool
}

// stopper is stderr, or a writer that stops ivo where a test wants it stopped.
func stopper(stderr io.Writer) io.Writer {
	sig, pattern, ok := strings.Cut(os.Getenv(stopEnv), " ")
	if !ok {
		return stderr
	}
	s := &stopping{Writer: stderr, at: regexp.MustCompile(pattern)}
	fmt.Sscan(sig, (*int)(&s.sig))
	return s
}

func (s *stopping) Write(b []byte) (int, error) {
	n, err := s.Writer.Write(b)
	if s.done || !s.at.Match(b) {
		return n, err
	}
	s.done = true
	taken := make(chan struct{})
	signals.Ended = func() { close(taken) }
	syscall.Kill(os.Getpid(), s.sig)
	<-taken
	return n, err
}
