package llama

/*
#include <stdbool.h>
#include <stdint.h>
*/
import "C"

import (
	"context"
	"log/slog"
	"runtime/cgo"
	"strings"
	"sync"
)

// lastErrors keeps the newest error lines of llama.cpp, so that a failed call can
// say why. Log lines carry no caller: with loads in parallel a line may be another's.
var lastErrors struct {
	sync.Mutex
	lines []string
}

// takeErrors returns the error lines logged since the last call, joined.
func takeErrors() string {
	lastErrors.Lock()
	defer lastErrors.Unlock()
	s := strings.Join(lastErrors.lines, "; ")
	lastErrors.lines = nil
	return s
}

// ggml's log levels
const (
	logWarn  = 3
	logError = 4
)

//export ivoLog
func ivoLog(level C.int32_t, text *C.char) {
	// llama.cpp is chatty: what it calls info is our debug. Its errors come back from
	// the failed call, so the log need not shout them too.
	l := slog.LevelDebug
	if level == logWarn || level == logError {
		l = slog.LevelInfo
	}
	enabled := slog.Default().Enabled(context.Background(), l)
	if !enabled && level != logError {
		return
	}
	line := strings.TrimSpace(C.GoString(text))
	if line == "" || strings.Trim(line, ".") == "" {
		return
	}
	if level == logError {
		lastErrors.Lock()
		lastErrors.lines = append(lastErrors.lines, line)
		if n := len(lastErrors.lines); n > 4 {
			lastErrors.lines = lastErrors.lines[n-4:]
		}
		lastErrors.Unlock()
	}
	if enabled {
		slog.Log(context.Background(), l, line, "from", "llama.cpp")
	}
}

//export ivoProgress
func ivoProgress(handle C.uintptr_t, progress C.float) C.bool {
	f := cgo.Handle(handle).Value().(func(float32) bool)
	return C.bool(f(float32(progress)))
}
