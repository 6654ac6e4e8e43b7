package llama

import (
	"errors"
	"fmt"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Errors that callers tell apart. They come wrapped in an [*Error] with details.
var (
	// ErrContextFull says that the KV cache has no room for a batch; it is unchanged.
	ErrContextFull = errors.New("the context is full")
	// ErrAborted says that [Context.Abort] stopped a decode.
	ErrAborted = errors.New("decoding was aborted")
	// ErrCancelled says that a progress callback stopped a load or a quantization.
	ErrCancelled = errors.New("cancelled")
	// ErrClosed says that a model, context or grammar was used after Close.
	ErrClosed = errors.New("used after Close")
	// ErrBusy says that two goroutines used one context or grammar at the same time.
	ErrBusy = errors.New("in use by another goroutine")
	// ErrNoStates says that the model's architecture does not give the states of a
	// tapped layer.
	ErrNoStates = errors.New("the architecture does not give the states of these layers")
	// ErrNotFinite says that the model produced logits that are NaN or infinite.
	ErrNotFinite = errors.New("the logits are not finite")
)

// Error is a failed operation on a model, a context or a file.
type Error struct {
	Op   string // what was tried, such as "load"
	Path string // the file it concerns, if any
	Err  error
	Hint string // what to do about it, with settings in braces (see package fault)
}

func (e *Error) Error() string {
	s := e.Op
	if e.Path != "" {
		s += " " + e.Path
	}
	s += ": " + e.Err.Error()
	if e.Hint != "" {
		s += " (" + fault.Spell(e.Hint) + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// hintCtx is what to do about a context of a size that no model has.
const hintCtx = "set {ctx} to 0 for the model's own, or lower {ctx}, {max_tokens} or {candidates}"

func failf(op, hint, format string, args ...any) error {
	return &Error{Op: op, Err: fmt.Errorf(format, args...), Hint: hint}
}
