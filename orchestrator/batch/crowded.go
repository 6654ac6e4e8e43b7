package batch

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// Crowded warns of threads that others leave no cores for; it is empty where there are enough, or
// where that is not known. ggml's threads wait for each other at every operation by spinning: one that has to
// share its core holds all the others up, and decoding is many times slower than with one thread less.
func Crowded(m *llama.Model, threads int) string {
	if threads == 0 {
		threads = engine.Threads(m)
	}
	load, err := os.ReadFile("/proc/loadavg") // Linux; elsewhere nothing is said
	if err != nil {
		return ""
	}
	return crowded(string(load), threads, runtime.GOMAXPROCS(0))
}

// crowded looks at the mean number of threads that ran in the last minute, the first of loadavg's.
func crowded(loadavg string, threads, cores int) string {
	first, _, _ := strings.Cut(loadavg, " ")
	load, err := strconv.ParseFloat(first, 64)
	const slack = 0.5 // what comes and goes
	if err != nil || threads < 2 || load+float64(threads) <= float64(cores)+slack {
		return ""
	}
	return fault.Spell(fmt.Sprintf("other programs keep %.1f of %d cores busy: %d threads may be many times slower than fewer; {threads} sets their number", load, cores, threads))
}
