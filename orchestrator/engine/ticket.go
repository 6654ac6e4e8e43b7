package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
)

// Ticket is a job that the engine has taken on.
type Ticket struct {
	job    Job
	ctx    context.Context
	number int
	cancel context.CancelCauseFunc // ends the whole list that the job is one of; nil of a submitted one
	unhook func() bool             // from ctx
	flying bool                    // it counts in Engine.flying
	done   chan struct{}
	err    error
}

// ErrFull says that as many jobs wait as may. It comes wrapped.
var ErrFull = errors.New("too many jobs wait")

// Submit takes on a job beside those that are there, and returns at once. The job joins and leaves
// between batches. It is cancelled with ctx, whose deadline is its own: at its next step, and at
// once if it waits for room or is alone in the batch under way. What becomes of it is no matter
// to other jobs: only if llama.cpp itself fails do all fail that are under way, and the engine
// starts with an empty context when they are gone.
func (e *Engine) Submit(ctx context.Context, job Job) (*Ticket, error) {
	if err := e.check("the job", job); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return nil, &fault.Error{Op: "engine", Err: llama.ErrClosed}
	case e.fixed:
		return nil, errBusy
	case e.most > 0 && len(e.queue) >= e.most:
		return nil, &fault.Error{Op: "engine", Err: ErrFull, Hint: "try again later"}
	}
	t := e.ticket(ctx, job)
	at := slices.IndexFunc(e.queue, func(o *Ticket) bool { return o.job.Priority < job.Priority })
	if at < 0 {
		at = len(e.queue)
	}
	e.queue = slices.Insert(e.queue, at, t)
	if e.ended == nil {
		e.ended = make(chan struct{})
		go e.scheduler.loop(false, e.kept)
	}
	select {
	case e.arrived <- struct{}{}:
	default:
	}
	return t, nil
}

// Do submits a job and waits for it.
func (e *Engine) Do(ctx context.Context, job Job) error {
	t, err := e.Submit(ctx, job)
	if err != nil {
		return err
	}
	return t.Wait()
}

// ticket makes one; e.mu is held.
func (e *Engine) ticket(ctx context.Context, job Job) *Ticket {
	t := &Ticket{job: job, ctx: ctx, number: e.numbers, done: make(chan struct{})}
	e.numbers++
	if e.open++; e.open == 1 {
		e.busy = time.Now()
	}
	t.unhook = context.AfterFunc(ctx, func() { e.withdraw(t) })
	return t
}

// Done is closed when the job is done.
func (t *Ticket) Done() <-chan struct{} { return t.done }

// Wait waits until the job is done, and returns what its function did, or why it was not called.
func (t *Ticket) Wait() error {
	<-t.done
	return t.err
}

// stopped is the error of a job whose ctx has ended, nil of others.
func (t *Ticket) stopped() error {
	err := context.Cause(t.ctx)
	if err != nil && t.cancel != nil {
		return errStopped
	}
	return err
}

// withdraw ends what a job whose ctx has ended waits for.
func (e *Engine) withdraw(t *Ticket) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := slices.Index(e.queue, t); i >= 0 {
		e.queue = slices.Delete(e.queue, i, i+1)
		e.settle(t, t.stopped())
	}
	if t.flying {
		t.flying = false
		if e.flying--; e.flying == 0 {
			e.c.Abort(true)
		}
	}
}

// settle ends a ticket; e.mu is held.
func (e *Engine) settle(t *Ticket, err error) {
	t.unhook()
	if e.open--; e.open == 0 {
		e.stats.Total += time.Since(e.busy)
	}
	t.err = err
	close(t.done)
}

// decode decodes the batch that holds tokens of these sessions. It is aborted when all of them are
// cancelled.
func (e *Engine) decode(of []*Session) error {
	e.mu.Lock()
	e.flying = 0
	for _, s := range of {
		if s.ticket.ctx.Err() == nil {
			s.ticket.flying = true
			e.flying++
		}
	}
	if e.flying == 0 {
		e.c.Abort(true)
	}
	e.mu.Unlock()

	begin, n := time.Now(), e.c.Pending()
	err := e.c.Filled(e.scheduler.filled())
	if err == nil {
		err = e.c.Decode()
	}
	took := time.Since(begin)

	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range of {
		s.ticket.flying = false
	}
	e.c.Abort(false)
	e.stats.InC += took
	e.stats.Decodes++
	e.stats.Tokens += n
	return err
}

func (e *Engine) reuse(tokens int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Reused += tokens
}
