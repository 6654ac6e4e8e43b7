package engine

import (
	"context"
	"runtime"
	"sync"

	"github.com/ivo-decoding/ivo/llama"
)

// Pool is a set of equal engines over one model. For a model so small that threads
// hinder each other, contexts side by side are what uses all cores.
type Pool struct {
	engines []*Engine
}

// NewPool makes n engines; with n = 0, as many as the threads of one leave cores for.
func NewPool(m *llama.Model, p Params, n int) (*Pool, error) {
	if p.Threads == 0 {
		p.Threads = Threads(m)
	}
	if n <= 0 {
		n = max(1, runtime.GOMAXPROCS(0)/p.Threads)
	}
	pool := &Pool{}
	for range n {
		e, err := New(m, p)
		if err != nil {
			pool.Close()
			return nil, err
		}
		pool.engines = append(pool.engines, e)
	}
	return pool, nil
}

// Params are those of each engine.
func (p *Pool) Params() llama.ContextParams { return p.engines[0].Params() }

// Len is the number of engines.
func (p *Pool) Len() int { return len(p.engines) }

// Close frees the engines.
func (p *Pool) Close() error {
	var first error
	for _, e := range p.engines {
		if err := e.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Each calls f for every i from 0 to n-1, on as many engines at once as there are. The
// first error stops it: what has begun is cancelled, the rest is not begun.
func (p *Pool) Each(ctx context.Context, n int, f func(ctx context.Context, e *Engine, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for _, e := range p.engines {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				if err := f(ctx, e, i); err != nil {
					cancel(err)
					return
				}
			}
		}()
	}
	wg.Wait()
	return context.Cause(ctx)
}
