package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"syscall"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// ErrNotCached says that a model is not in the cache and may not be downloaded.
var ErrNotCached = errors.New("not in the cache")

var errNoName = errors.New("the address names no file")

// Error is a model that could not be found or downloaded.
type Error struct {
	Op     string // what was tried, such as "download"
	What   string // the repository, file or address
	Status int    // of the server's answer, such as 404; 0 without one
	Err    error
	Hint   string // what to do about it, with settings in braces, as [fault.Error] has them
}

func (e *Error) Error() string {
	s := e.Op + " " + e.What + ": " + e.Err.Error()
	if e.Hint != "" {
		s += " (" + fault.Spell(e.Hint) + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// refused is an answer of the server that says no.
func (s *session) refused(op, what string, r *http.Response) *Error {
	msg := first(r.Header.Get("X-Error-Message"), http.StatusText(r.StatusCode))
	e := &Error{Op: op, What: what, Status: r.StatusCode, Err: fmt.Errorf("%d %s", r.StatusCode, msg)}
	gated := r.Header.Get("X-Error-Code") == "GatedRepo"
	switch {
	case gated && s.Token != "":
		e.Hint = "ask for access on the model's page with the account that the token belongs to"
	case gated:
		e.Hint = "ask for access on the model's page, then set HF_TOKEN to an access token or give {hf_token}"
	case (r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden) && s.Token != "":
		e.Hint = "check the name, and that the token in HF_TOKEN or {hf_token} is valid and may read the model"
	case r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden:
		// The hub says this of repositories that do not exist, too.
		e.Hint = "check the name; for a private or gated model ask for access, and set HF_TOKEN to an access token or give {hf_token}"
	case r.StatusCode == http.StatusNotFound || r.StatusCode == http.StatusGone:
		e.Hint = "check the name"
	case r.StatusCode == http.StatusTooManyRequests:
		e.Hint = "the server wants fewer requests: wait some minutes, or set HF_TOKEN, which raises the limit"
	default:
		e.Hint = "try again later; what was fetched is kept"
	}
	return e
}

// failed is a request or a file that went wrong on this machine or on the way.
func (s *session) failed(ctx context.Context, op, what string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	e = &Error{Op: op, What: what, Err: err}
	switch {
	case ctx.Err() != nil:
		e.Err = context.Cause(ctx)
		e.Hint = "run the same command again to go on; what was fetched is kept"
	case errors.Is(err, syscall.ENOSPC):
		e.Hint = "the disk is full: free some space, or set LLAMA_CACHE to a folder on another disk; what was fetched is kept"
	case errors.Is(err, fs.ErrPermission):
		e.Hint = "set LLAMA_CACHE to a folder you may write to"
	case errors.As(err, new(*fs.PathError)), errors.As(err, new(*os.LinkError)):
		e.Hint = "check the folder, or set LLAMA_CACHE to another"
	default:
		e.Hint = "check the connection and try again; what was fetched is kept, and {offline} uses what is in the cache"
	}
	return e
}
