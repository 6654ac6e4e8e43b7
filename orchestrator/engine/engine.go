// Package engine runs many decoders through one llama.cpp context. A decoder is
// straight-line Go: it prefills a prompt, forks, steps and drops sequences. Steps
// that decoders take at the same time merge into one batch, so a decoder written for
// one prompt costs what a batched one would.
//
// A run is deterministic: jobs are admitted in order, a batch is put together when
// every running job waits for one, in the order of the jobs, and nothing depends on
// how goroutines are scheduled.
//
// The package knows nothing of sampling, values or rewards.
package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
)

// Params are the options of [New].
type Params struct {
	Ctx       int // KV cells; default 4096
	Batch     int // most tokens of one decode; default 2048
	UBatch    int
	Sequences int // sequences at once, over all jobs; default 64
	Threads   int // default: one for small models, else the number of CPUs
	Flash     llama.FlashAttention
	CacheK    llama.CacheType
	CacheV    llama.CacheType
	Layers    []int // layers whose states are wanted, see [llama.ContextParams]
	Top       int   // candidates a row, sorted; default [DefaultTop]
	// Observe, if set, is shown every batch before it is decoded, while all jobs wait for it: for
	// tests and measurements.
	Observe func(Batch)
}

// DefaultTop is the number of likeliest tokens that an engine lists of a row, unless its
// Params say otherwise or the vocabulary is smaller.
const DefaultTop = 64

// smallModel is the size below which one thread decodes fastest: a step is over
// before the others have reached its barriers.
const smallModel = 8 << 20 // parameters

// Threads is the default number of threads for a model.
func Threads(m *llama.Model) int {
	if m.Info().Params < smallModel {
		return 1
	}
	return runtime.GOMAXPROCS(0) // a container's CPU limit counts
}

// Engine owns a context. It serves one Run at a time.
type Engine struct {
	model *llama.Model
	c     *llama.Context
	stats Stats
	busy  atomic.Bool
	inner bool // all tapped layers lie below the last: their states come without logits
	kept  *kept

	observe func(Batch)
	batch   Batch // the one to come, where it is observed
}

// Stats counts what an engine has done.
type Stats struct {
	Decodes int           // batches decoded
	Tokens  int           // tokens in them, prompts included
	InC     time.Duration // time spent in llama.cpp's decode
	Total   time.Duration // time spent in Run
}

// New makes an engine for a model. Close it before the model.
func New(m *llama.Model, p Params) (*Engine, error) {
	if p.Ctx == 0 {
		p.Ctx = 4096
	}
	if p.Sequences == 0 {
		p.Sequences = 64
	}
	if p.Threads == 0 {
		p.Threads = Threads(m)
	}
	if p.Top == 0 {
		p.Top = DefaultTop
	}
	if p.Batch == 0 {
		p.Batch = min(2048, p.Ctx)
	}
	if p.Sequences > min(p.Batch, p.Ctx) {
		return nil, fault.New("engine", "parallel", min(p.Batch, p.Ctx), "lower {parallel}, or raise {batch} and {ctx}", "%d sequences at once do not fit a batch of %d tokens", p.Sequences, min(p.Batch, p.Ctx))
	}
	c, err := m.NewContext(llama.ContextParams{
		Ctx: p.Ctx, Batch: p.Batch, UBatch: p.UBatch, Sequences: p.Sequences, Threads: p.Threads,
		Flash: p.Flash, CacheK: p.CacheK, CacheV: p.CacheV, Layers: p.Layers, Top: p.Top,
	})
	if err != nil {
		return nil, err
	}
	inner := len(p.Layers) > 0 && slices.Max(p.Layers) < m.Info().Layers-1
	return &Engine{model: m, c: c, inner: inner, observe: p.Observe}, nil
}

// Close frees the context. It fails while a Run is under way.
func (e *Engine) Close() error {
	if !e.busy.CompareAndSwap(false, true) {
		return errBusy
	}
	defer e.busy.Store(false)
	return e.c.Close()
}

var errBusy = &fault.Error{Op: "engine", Err: llama.ErrBusy, Hint: "an engine serves one run at a time"}

// Model is the model that is decoded with.
func (e *Engine) Model() *llama.Model { return e.model }

// Params are the context's options in force.
func (e *Engine) Params() llama.ContextParams { return e.c.Params() }

// Stats returns what the engine has done so far.
func (e *Engine) Stats() Stats { return e.stats }

// Job is one decoder with the room it needs.
type Job struct {
	Sequences int // most sequences it holds at once
	Cells     int // most KV cells it fills at once: tokens of all its sequences, shared prefixes once
	Run       func(*Session) error
}

// Run decodes jobs, as many at once as fit, and returns when all are done. The first
// error, by the order of the jobs, ends the run. The context starts empty, so equal
// jobs give equal results.
func (e *Engine) Run(ctx context.Context, jobs []Job) error {
	if !e.busy.CompareAndSwap(false, true) {
		return errBusy
	}
	defer e.busy.Store(false)
	sequences := e.c.Params().Sequences
	if err := e.check(jobs, sequences); err != nil {
		return err
	}
	if err := e.clear(); err != nil {
		return err
	}
	return e.run(ctx, jobs, sequences)
}

// check sees to it that each job fits the context, of which it may hold so many sequences.
func (e *Engine) check(jobs []Job, sequences int) error {
	for i, j := range jobs {
		switch cells := e.c.Params().Ctx; {
		case j.Sequences < 1 || j.Sequences > sequences:
			return fault.New("engine", "parallel", sequences, "lower {beams}, {samples} or {candidates}, or raise {parallel}", "job %d needs %d sequences, the context has %d", i, j.Sequences, sequences)
		case j.Cells > cells:
			return fault.New("engine", "ctx", cells, fault.TooLong, "job %d needs %d tokens of context, there are %d", i, j.Cells, cells)
		}
	}
	return nil
}

// run runs jobs on the first sequences of the context.
func (e *Engine) run(ctx context.Context, jobs []Job, sequences int) error {
	e.batch = Batch{}
	begin := time.Now()
	defer func() { e.stats.Total += time.Since(begin) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		e.c.Abort(true)
		close(aborted)
	})
	defer func() {
		if !stop() {
			<-aborted
		}
		e.c.Abort(false)
	}()

	r := &run{e: e, ctx: ctx, cancel: cancel, jobs: jobs, events: make(chan *Session), errs: make([]error, len(jobs))}
	for id := sequences - 1; id >= 0; id-- {
		r.freeIDs = append(r.freeIDs, int32(id))
	}
	r.freeCells = e.c.Params().Ctx
	r.loop()

	if i := slices.IndexFunc(r.errs, func(err error) bool { return err != nil && !errors.Is(err, errStopped) }); i >= 0 {
		return r.errs[i]
	}
	return context.Cause(ctx)
}

// errStopped is what a session's calls return once the run is over.
var errStopped = errors.New("the run was stopped")

// run is the state of one Run. Only its loop's goroutine touches it and the context;
// sessions talk to it through events.
type run struct {
	e      *Engine
	ctx    context.Context
	cancel context.CancelCauseFunc
	jobs   []Job
	next   int // first job not admitted yet
	errs   []error

	freeIDs   []int32
	freeCells int
	events    chan *Session // a session that wants a decode or has finished
	running   int           // sessions that are neither waiting nor finished
	done      []*Session    // sessions that have finished and still hold their room
	waiting   []*Session    // in the order in which they are served
}

func (r *run) loop() {
	for {
		r.admit()
		arrived := len(r.waiting)
		for r.running > 0 {
			s := <-r.events
			r.running--
			if s.finished {
				r.done = append(r.done, s)
			} else {
				r.waiting = append(r.waiting, s)
			}
			if r.running == 0 && len(r.done) > 0 {
				// All at once and in order, so that which sequences the next jobs get does
				// not depend on who was first.
				slices.SortFunc(r.done, func(a, b *Session) int { return a.job - b.job })
				for _, s := range r.done {
					r.finish(s)
				}
				r.done = r.done[:0]
				r.admit()
			}
		}
		// Those left over from the last batch keep their place; the others follow in
		// the order of the jobs.
		slices.SortFunc(r.waiting[arrived:], func(a, b *Session) int { return a.job - b.job })
		if len(r.waiting) == 0 {
			return
		}
		r.serve()
	}
}

// admit starts jobs in their order while there is room.
func (r *run) admit() {
	for r.next < len(r.jobs) {
		j := r.jobs[r.next]
		stopped := r.ctx.Err() != nil
		if !stopped && (len(r.freeIDs) < j.Sequences || r.freeCells < j.Cells) {
			return
		}
		s := &Session{run: r, job: r.next, reply: make(chan error, 1)}
		r.next++
		if stopped {
			r.errs[s.job] = errStopped
			continue
		}
		n := len(r.freeIDs) - j.Sequences
		s.ids, r.freeIDs = slices.Clone(r.freeIDs[n:]), r.freeIDs[:n]
		s.free = slices.Clone(s.ids)
		r.freeCells -= j.Cells
		r.running++
		go func() {
			s.err = errors.New("the job's goroutine ended before its function returned")
			// In a defer, so that the run goes on to its end even when the job panics.
			defer func() {
				if p := recover(); p != nil {
					s.err = fmt.Errorf("job %d panicked: %v\n%s", s.job, p, debug.Stack())
				}
				s.finished = true
				r.events <- s
			}()
			s.err = j.Run(s)
		}()
	}
}

// finish gives back what a job held.
func (r *run) finish(s *Session) {
	r.errs[s.job] = s.err
	if s.err != nil {
		r.cancel(s.err)
	}
	for _, id := range s.ids {
		s.ops = append(s.ops, Op{Kind: Drop, Seq: id})
	}
	if err := r.apply(s); err != nil && r.errs[s.job] == nil {
		r.errs[s.job] = err
		r.cancel(err)
	}
	r.freeIDs = append(r.freeIDs, s.ids...)
	slices.SortFunc(r.freeIDs, func(a, b int32) int { return int(b - a) })
	r.freeCells += r.jobs[s.job].Cells
}

// fail ends the run: every waiting session gets the error.
func (r *run) fail(err error) {
	if errors.Is(err, llama.ErrAborted) && r.ctx.Err() != nil {
		err = context.Cause(r.ctx)
	}
	r.cancel(err)
	for i, s := range r.waiting {
		r.running++
		if i == 0 {
			s.reply <- err
		} else {
			s.reply <- errStopped
		}
	}
	r.waiting = nil
}
