//go:build unix

package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// faultEnv has a fault happen to ivo, run by a test, at a step of its writing of files: its kind, a space, and the
// number of the step, from 1. stepsEnv names a file that is told how many steps there were.
const (
	faultEnv = "IVO_TEST_FAULT"
	stepsEnv = "IVO_TEST_STEPS"
)

// faults are what may happen, by kind: to one step or, of a disk that has become another, to all from there on.
var faults = map[string]struct {
	err  error
	once bool
}{
	"killed":    {},
	"full":      {err: syscall.ENOSPC},
	"full-once": {err: syscall.ENOSPC, once: true},
	"read-only": {err: syscall.EROFS},
	"broken":    {err: syscall.EIO, once: true},
}

// faulty sets up what the environment asks for, until the end is called.
func faulty() (ended func()) {
	kind, number, _ := strings.Cut(os.Getenv(faultEnv), " ")
	at, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		at = -1
	}
	var steps atomic.Int64
	atomicfile.Before = func(step, path string) error {
		n := steps.Add(1)
		f, known := faults[kind]
		switch {
		case !known || n < at || f.once && n > at:
			return nil
		case f.err == nil:
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return &os.PathError{Op: step, Path: path, Err: f.err}
	}
	return func() {
		if path := os.Getenv(stepsEnv); path != "" {
			os.WriteFile(path, fmt.Append(nil, steps.Load()), 0o644)
		}
	}
}
