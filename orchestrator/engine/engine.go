// Package engine runs many decoders through one llama.cpp context. A decoder is
// straight-line Go: it prefills a prompt, forks, steps and drops sequences. Steps
// that decoders take at the same time merge into one batch, so a decoder written for
// one prompt costs what a batched one would.
//
// There is one scheduler. [Engine.Run] gives it a fixed list of jobs: they start in an empty
// context, are admitted in order, and a batch is put together when every running job waits for
// one, in the order of the jobs, so that nothing depends on how goroutines are scheduled and equal
// lists give equal results to the bit. [Engine.Submit] gives it jobs as they come: they join and
// leave between batches, begin with what is kept of their prompts, and wait for nobody who does
// something else meanwhile. What such a job computes depends on its neighbours in the batch by rounding.
//
// The package knows nothing of sampling, values or rewards.
package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
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
	// Kept is the number of KV cells that prompts of submitted jobs may fill after these, for others that
	// begin alike; jobs come first. Those that no job has lived on for long are set aside, in ordinary memory, and count as
	// if they still filled these cells. Default a quarter of Ctx; negative for none.
	Kept int
	// Queue is the number of submitted jobs that may wait for room; 0 for any number.
	Queue int
	// Observe, if set, is shown every batch before it is decoded, while all jobs wait for it: for
	// tests and measurements. No prompt is set aside then, so that the batches can be decoded again.
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

// Engine owns a context.
type Engine struct {
	model *llama.Model
	c     *llama.Context
	inner bool // all tapped layers lie below the last: their states come without logits
	kept  int  // most cells of prompts that are kept for submitted jobs

	most int // jobs that wait, 0 for any number

	sequences int  // at once, over all jobs
	spare     bool // the context has one more

	scheduler scheduler
	observe   func(Batch)
	batch     Batch // the one to come, where it is observed

	mu      sync.Mutex
	stats   Stats
	load    Load
	queue   []*Ticket // not admitted, in the order in which they will be
	numbers int       // given to tickets
	open    int       // tickets that are not done
	busy    time.Time // when the first of them came
	fixed   bool      // a Run is under way
	closed  bool
	ended   chan struct{} // closed when the loop that serves submitted jobs ends; nil without one
	arrived chan struct{} // tells that loop that there is a ticket
	flying  int           // tickets in the batch under way that nobody has cancelled
}

// Stats counts what an engine has done.
type Stats struct {
	Decodes int           // batches decoded
	Tokens  int           // tokens in them, prompts included
	Reused  int           // tokens of prompts that were kept and so not decoded
	InC     time.Duration // time spent in llama.cpp's decode
	Total   time.Duration // time in which there were jobs
}

// Load is what an engine has in hand.
type Load struct {
	Queued     int // jobs that wait for room
	Jobs       int // jobs under way
	Sequences  int // that these may hold
	Cells      int // that these may fill
	Kept       int // prompts that are kept in sequences of the context
	KeptCells  int // that these fill
	AsideCells int // that those would fill that are kept outside of the context
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
	spare := p.Sequences < min(llama.MaxSequences, p.Batch, p.Ctx) // for what the prompts of a Run share
	sequences := p.Sequences
	if spare {
		sequences++
	}
	if p.UBatch == 0 {
		p.UBatch = min(512, p.Batch)
	}
	// A window's cells are used again once no sequence but one sees them: what forks share would fill the few that
	// llama.cpp holds, and no job could count on its room.
	window := m.Info().Window
	whole := window > 0 && sequences*window+p.UBatch < p.Ctx
	c, err := m.NewContext(llama.ContextParams{
		Ctx: p.Ctx, Batch: p.Batch, UBatch: p.UBatch, Sequences: sequences, Threads: p.Threads,
		Flash: p.Flash, CacheK: p.CacheK, CacheV: p.CacheV, Layers: p.Layers, Top: p.Top,
		FullWindow: whole,
	})
	if err != nil {
		return nil, err
	}
	if p.Kept == 0 {
		p.Kept = c.Params().Ctx / 4
	}
	e := &Engine{
		model: m, c: c, inner: len(p.Layers) > 0 && slices.Max(p.Layers) < m.Info().Layers-1, kept: p.Kept, most: p.Queue,
		sequences: p.Sequences, spare: spare, observe: p.Observe, arrived: make(chan struct{}, 1),
	}
	e.scheduler.init(e)
	return e, nil
}

// Close frees the context. It fails while there are jobs.
func (e *Engine) Close() error {
	release, err := e.claim()
	if err != nil {
		return err
	}
	defer release()
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	return e.c.Close()
}

// claim takes the engine for one caller alone, if it has no jobs.
func (e *Engine) claim() (release func(), err error) {
	e.mu.Lock()
	if e.fixed || e.open > 0 {
		e.mu.Unlock()
		return nil, errBusy
	}
	e.fixed = true
	ended := e.ended
	e.mu.Unlock()
	if ended != nil {
		<-ended // without jobs it does so at once
	}
	return func() {
		e.mu.Lock()
		e.fixed = false
		e.mu.Unlock()
	}, nil
}

var errBusy = &fault.Error{Op: "engine", Err: llama.ErrBusy, Hint: "an engine serves one run at a time, or jobs that are submitted"}

// Model is the model that is decoded with.
func (e *Engine) Model() *llama.Model { return e.model }

// Params are the context's options in force.
func (e *Engine) Params() llama.ContextParams {
	p := e.c.Params()
	p.Sequences = e.sequences
	return p
}

// Stats returns what the engine has done so far. It may be called at any time, as Load may.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	stats := e.stats
	if e.open > 0 {
		stats.Total += time.Since(e.busy)
	}
	return stats
}

// Load returns what the engine has in hand.
func (e *Engine) Load() Load {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.load
	l.Queued = len(e.queue)
	return l
}

// Job is one decoder with the room it needs. It is started when all of that is free, and none of it is
// promised to others until the job is done: a job that was started finishes.
type Job struct {
	Sequences int // most sequences it holds at once
	Cells     int // most KV cells it fills at once: tokens of all its sequences, shared prefixes once
	// Prompt is what it prefills, if that is known. A submitted job begins with what is kept of it, and has
	// it kept for others. PromptStates says that its states are wanted.
	Prompt       []int32
	PromptStates bool
	Priority     int // submitted jobs of higher ones come first; equal ones in their order
	Run          func(*Session) error
}

// check sees to it that a job fits the context.
func (e *Engine) check(job string, j Job) error {
	switch p := e.Params(); {
	case j.Sequences < 1 || j.Sequences > p.Sequences:
		return fault.New("engine", "parallel", p.Sequences, "lower {beams}, {samples} or {candidates}, or raise {parallel}", "%s needs %d sequences, the context has %d", job, j.Sequences, p.Sequences)
	case j.Cells > p.Ctx:
		return fault.New("engine", "ctx", p.Ctx, fault.TooLong, "%s needs %d tokens of context, there are %d", job, j.Cells, p.Ctx)
	}
	return nil
}

// Run decodes jobs, as many at once as fit, and returns when all are done. The first
// error, by the order of the jobs, ends the run. The context starts empty, so equal
// jobs give equal results. What all their prompts begin with is decoded once. What was kept of prompts is forgotten.
func (e *Engine) Run(ctx context.Context, jobs []Job) error {
	release, err := e.claim()
	if err != nil {
		return err
	}
	defer release()
	for i, j := range jobs {
		if err := e.check(fmt.Sprint("job ", i), j); err != nil {
			return err
		}
	}
	if err := e.scheduler.reset(); err != nil {
		return err
	}
	e.batch = Batch{}
	if first, n := e.shared(jobs); n > 0 {
		e.scheduler.lend()
		defer e.scheduler.unlend()
		if err := e.list(ctx, []Job{first}, n); err != nil {
			return err
		}
	}
	return e.list(ctx, jobs, 0)
}

// list runs a fixed list of jobs, and keeps prompts in so many cells.
func (e *Engine) list(ctx context.Context, jobs []Job, kept int) error {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tickets := make([]*Ticket, len(jobs))
	e.mu.Lock()
	for i, j := range jobs {
		tickets[i] = e.ticket(running, j)
		tickets[i].cancel = cancel
	}
	e.queue = slices.Clone(tickets)
	e.mu.Unlock()
	e.scheduler.loop(true, kept)
	for _, t := range tickets {
		if err := t.Wait(); err != nil && !errors.Is(err, errStopped) {
			return err
		}
	}
	return context.Cause(ctx)
}

// errStopped is what a session's calls return once the run is over.
var errStopped = errors.New("the run was stopped")
