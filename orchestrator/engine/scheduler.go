package engine

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
)

// scheduler admits jobs and decides what is decoded next. Only its loop's goroutine touches it and the
// context; sessions talk to it through events.
type scheduler struct {
	e     *Engine
	fixed bool // the jobs are a fixed list: everybody is waited for
	kept  int  // most cells of prompts that are kept

	freeIDs   []int32
	freeCells int // neither promised nor kept
	prefixes  []*prefix
	clock     int // of prefixes
	fetched   int // prefixes that were set aside and came back

	events  chan event
	alive   []*Session
	running int        // sessions that neither wait nor ask for their turn, and are neither finished nor outside
	done    []*Session // that have finished and still hold their room
	waiting []*Session // in the order in which they are served
	asking  []*Session // that wait for their turn
	turn    bool       // one of them has it
	broken  error      // of the context, whose content cannot be trusted any more
}

// event is what a session tells the scheduler.
type event struct {
	s *Session
	eventKind
}

type eventKind uint8

const (
	wants    eventKind = iota // a decode
	leaves                    // to do something that may take long
	returns                   // from there
	asks                      // for its turn
	asked                     // and is done with it
	finishes                  // its job
)

func (r *scheduler) init(e *Engine) {
	p := e.Params()
	*r = scheduler{e: e, freeCells: p.Ctx, events: make(chan event)}
	for id := p.Sequences - 1; id >= 0; id-- {
		r.freeIDs = append(r.freeIDs, int32(id))
	}
}

// reset empties the context.
func (r *scheduler) reset() error {
	err := r.e.c.Clear()
	fixed, kept := r.fixed, r.kept
	r.init(r.e)
	r.fixed, r.kept = fixed, kept
	r.tell()
	return err
}

// loop works until there is no job any more, and keeps prompts in so many cells.
func (r *scheduler) loop(fixed bool, kept int) {
	r.fixed, r.kept = fixed, kept
	for {
		r.gather()
		switch {
		case len(r.waiting) > 0:
			r.serve()
		case len(r.alive) > 0: // all of them outside
			select {
			case ev := <-r.events:
				r.take(ev)
			case <-r.e.arrived:
			}
		default:
			if r.broken != nil {
				if err := r.reset(); err != nil {
					r.e.dismiss(err)
				}
			}
			if r.rest() {
				return
			}
		}
	}
}

// rest ends the loop unless there is another job.
func (r *scheduler) rest() bool {
	e := r.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) > 0 {
		return false
	}
	if e.ended != nil {
		close(e.ended)
		e.ended = nil
	}
	return true
}

// gather waits until every session that is not outside waits for a decode, with those that there is
// room for.
func (r *scheduler) gather() {
	arrived := len(r.waiting)
	for {
		for r.running > 0 {
			r.take(<-r.events)
		}
		if len(r.asking) > 0 {
			r.turns()
			continue
		}
		// All at once and in order, so that which sequences the next jobs get does not depend on
		// who was first.
		slices.SortFunc(r.done, func(a, b *Session) int { return a.ticket.number - b.ticket.number })
		for _, s := range r.done {
			r.finish(s)
		}
		r.done = r.done[:0]
		r.admit()
		if r.running > 0 {
			continue
		}
		select {
		case ev := <-r.events: // somebody is back
			r.take(ev)
		default:
			r.order(arrived)
			return
		}
	}
}

// turns gives those that ask their turns, in the order of the jobs. Who is done with its own goes on meanwhile; if it asks
// again, that is for the next time.
func (r *scheduler) turns() {
	asking := r.asking
	r.asking = nil
	slices.SortFunc(asking, func(a, b *Session) int { return a.ticket.number - b.ticket.number })
	for _, s := range asking {
		r.turn = true
		r.answer(s, nil)
		for r.turn {
			r.take(<-r.events)
		}
	}
}

// take notes what a session says.
func (r *scheduler) take(ev event) {
	switch ev.eventKind {
	case wants:
		r.waiting = append(r.waiting, ev.s)
	case finishes:
		r.done = append(r.done, ev.s)
	case returns:
		r.running++
		return
	case asks:
		r.asking = append(r.asking, ev.s)
	case asked:
		r.turn = false
		return
	case leaves:
		ev.s.fresh = false // nobody waits for it
	}
	r.running--
}

// order puts those that wait in the order in which they are served. In a fixed list those left over
// from the last batch keep their place, and the others, from number arrived on, follow in the order of the jobs.
// Otherwise steps come before prompts, which may take long.
func (r *scheduler) order(arrived int) {
	if r.fixed {
		slices.SortFunc(r.waiting[arrived:], func(a, b *Session) int { return a.ticket.number - b.ticket.number })
		return
	}
	late := func(s *Session) int {
		if s.prefill {
			return 1
		}
		return 0
	}
	slices.SortFunc(r.waiting, func(a, b *Session) int {
		return cmp.Or(late(a)-late(b), b.ticket.job.Priority-a.ticket.job.Priority, a.ticket.number-b.ticket.number)
	})
}

// admit starts jobs in their order while there is room. Those whose prompt another is about to have
// decoded wait for that.
func (r *scheduler) admit() {
	passed := 0 // of the queue
	for r.broken == nil {
		t := r.e.next(passed)
		switch {
		case t == nil:
			return
		case r.awaits(t.job):
			passed++
			continue
		}
		begins, ok := r.room(t.job)
		if !ok {
			return
		}
		if r.e.leave(t) {
			r.start(t, begins)
		}
	}
}

// next is the first ticket of the queue behind those that were passed over.
func (e *Engine) next(passed int) *Ticket {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.queue) > passed {
		t := e.queue[passed]
		if t.ctx.Err() == nil {
			return t
		}
		e.queue = slices.Delete(e.queue, passed, passed+1)
		e.settle(t, t.stopped())
	}
	return nil
}

// dismiss ends all tickets that wait.
func (e *Engine) dismiss(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.queue {
		e.settle(t, err)
	}
	e.queue = nil
}

// leave takes a ticket out of the queue, if it is still there.
func (e *Engine) leave(t *Ticket) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.Index(e.queue, t)
	if i >= 0 {
		e.queue = slices.Delete(e.queue, i, i+1)
	}
	return i >= 0
}

// start begins a job, for which there is room.
func (r *scheduler) start(t *Ticket, begins begins) {
	s := &Session{ticket: t, r: r, begins: begins, fresh: t.job.Prompt != nil, reply: make(chan error, 1)}
	n := len(r.freeIDs) - t.job.Sequences
	s.ids, r.freeIDs = slices.Clone(r.freeIDs[n:]), r.freeIDs[:n]
	s.free = slices.Clone(s.ids)
	s.cells = t.job.Cells - begins.n
	r.freeCells -= s.cells
	r.alive = append(r.alive, s)
	r.running++
	r.tell()
	go func() {
		s.result = errors.New("the job's goroutine ended before its function returned")
		// In a defer, so that the engine goes on even when the job panics.
		defer func() {
			if p := recover(); p != nil {
				s.result = fmt.Errorf("the job panicked: %v\n%s", p, debug.Stack())
			}
			r.events <- event{s, finishes}
		}()
		s.result = t.job.Run(s)
	}()
}

// finish gives back what a job held.
func (r *scheduler) finish(s *Session) {
	for _, id := range s.ids {
		s.ops = append(s.ops, Op{Kind: Drop, Seq: id})
	}
	if err := r.apply(s); err != nil {
		r.broken = err
		if s.result == nil {
			s.result = err
		}
	}
	r.alive = slices.DeleteFunc(r.alive, func(o *Session) bool { return o == s })
	r.freeIDs = append(r.freeIDs, s.ids...)
	slices.SortFunc(r.freeIDs, func(a, b int32) int { return int(b - a) })
	r.freeCells += s.cells
	r.tell()
	if s.result != nil && s.ticket.cancel != nil {
		s.ticket.cancel(s.result)
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.e.settle(s.ticket, s.result)
}

// tell notes the load for others to read.
func (r *scheduler) tell() {
	l := Load{Jobs: len(r.alive), KeptCells: r.keptCells(), AsideCells: r.asideCells()}
	for _, p := range r.prefixes {
		if p.aside == nil {
			l.Kept++
		}
	}
	for _, s := range r.alive {
		l.Sequences += len(s.ids)
		l.Cells += s.cells
	}
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	r.e.load = l
}

// filled is the number of cells that hold tokens.
func (r *scheduler) filled() int {
	n := r.keptCells()
	for _, s := range r.alive {
		n += s.filled
	}
	return n
}

// answer lets a session that waited go on.
func (r *scheduler) answer(s *Session, err error) {
	r.running++
	s.reply <- err
}

// fail is for what the context cannot go on after: all that wait get the error, and so will those who
// come until all jobs are gone.
func (r *scheduler) fail(err error) {
	r.broken = err
	for _, s := range r.waiting {
		r.answer(s, cmp.Or(s.ticket.stopped(), err))
	}
	r.waiting = nil
}
