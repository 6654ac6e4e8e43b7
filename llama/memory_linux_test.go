package llama_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// limitMemory makes allocations fail beyond n bytes of address space, so that a file
// which asks for all of the machine's memory cannot have it. The race detector needs more
// addresses than any limit.
func limitMemory(n uint64) {
	if raceDetector {
		return
	}
	syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: n, Max: n})
}

// peakMemory is the most memory the process held at once since the last call, in
// bytes; 0 if it cannot be known.
func peakMemory() int64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, ok := strings.Cut(string(b), "VmHWM:")
	if !ok {
		return 0
	}
	n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // starts the peak anew
	return n << 10
}

// residentMemory is the memory the process holds, in bytes; 0 if it cannot be known.
func residentMemory() int64 {
	b, _ := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(f[1], 10, 64)
	return n * int64(os.Getpagesize())
}
