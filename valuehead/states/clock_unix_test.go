//go:build unix

package states

import (
	"syscall"
	"testing"
)

// processorTime makes a benchmark that goes through so many bytes a turn report the speed a second of processor time, from
// where it is called to where what it returns is: others on the machine slow that little.
func processorTime(b *testing.B, bytes int64) (report func()) {
	used := func() float64 {
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	begin := used()
	return func() { b.ReportMetric(float64(bytes)*float64(b.N)/1e6/(used()-begin), "MB/cpu-s") }
}
