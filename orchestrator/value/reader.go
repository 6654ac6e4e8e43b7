package value

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/cache"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// reader is a context of a value model, with what it has read for the requests of one engine.
type reader struct {
	requests int // that are open; [Model.mu] is held

	mu   sync.Mutex // held for a call, in which nobody waits for another request
	c    *llama.Context
	seqs *cache.Cache
}

func (v *Model) newReader() (*reader, error) {
	c, err := v.model.NewContext(v.params)
	if err != nil {
		return nil, fmt.Errorf("value model: %w", err)
	}
	return &reader{c: c, seqs: cache.New(c)}, nil
}

// lend returns the reader of an engine's requests, for one more of them.
func (v *Model) lend(to *engine.Engine) (*reader, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, fmt.Errorf("value model: %w", llama.ErrClosed)
	}
	r := v.lent[to]
	if n := len(v.free); r == nil && n > 0 {
		r, v.free = v.free[n-1], v.free[:n-1]
	}
	if r == nil {
		var err error
		if r, err = v.newReader(); err != nil {
			return nil, err
		}
	}
	v.lent[to] = r
	r.requests++
	return r, nil
}

// giveBack ends a request's reading.
func (v *Model) giveBack(from *engine.Engine) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.lent[from]
	if r.requests--; r.requests > 0 {
		return
	}
	delete(v.lent, from)
	v.free = append(v.free, r)
	if len(v.lent) > 0 {
		return
	}
	for _, spare := range v.free[1:] { // several engines have asked, who may be gone: one context is kept for the next
		spare.c.Close() // it only frees memory
	}
	v.free = v.free[:1]
}

// use calls f with the reader to itself; it ends early with ctx.
func (v *Model) use(ctx context.Context, r *reader, f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.params.Threads > 1 {
		v.cores.Lock()
		defer v.cores.Unlock()
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		r.c.Abort(true)
		close(aborted)
	})
	err := f()
	if !stop() {
		<-aborted
		r.c.Abort(false)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, llama.ErrAborted) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return errors.Join(err, r.seqs.Reset())
}
