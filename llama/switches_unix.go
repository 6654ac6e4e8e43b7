//go:build unix

package llama

import "syscall"

// switches is how often the system has taken a core from one of the process's threads.
func switches() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return int64(u.Nivcsw)
}
