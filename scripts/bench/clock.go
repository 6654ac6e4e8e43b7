package main

import (
	"syscall"
	"time"
)

// clock is what steps are timed by.
func (b *bench) clock() func() time.Duration {
	if b.cpu {
		return processorTime
	}
	begin := time.Now()
	return func() time.Duration { return time.Since(begin) }
}

// processorTime is what the process has used of all processors. Others on the machine slow
// it only by what they take of the caches and of the memory's bandwidth.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
