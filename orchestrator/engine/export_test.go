package engine

import "fmt"

// Prompts are set aside all the time in tests.
func init() { idleFor = 4 }

// Fetched is the number of prompts that have come back into the context.
func (e *Engine) Fetched() int { return e.scheduler.fetched }

// Audit finds what is wrong with an engine that has no jobs: all of its sequences are free or keep a prompt
// and hold just that, and all of its cells are free or kept.
func (e *Engine) Audit() error {
	release, err := e.claim()
	if err != nil {
		return err
	}
	defer release()
	r := &e.scheduler
	p := e.Params()
	if len(r.alive)+len(r.waiting)+len(r.done)+r.running != 0 {
		return fmt.Errorf("%d alive, %d waiting, %d done, %d running", len(r.alive), len(r.waiting), len(r.done), r.running)
	}
	holds := make([]int, p.Sequences)
	for i := range holds {
		holds[i] = -1
	}
	for _, id := range r.freeIDs {
		if holds[id] >= 0 {
			return fmt.Errorf("sequence %d is free twice", id)
		}
		holds[id] = 0
	}
	there := map[*prefix]bool{nil: true}
	for _, x := range r.prefixes {
		there[x] = true
	}
	for _, x := range r.prefixes {
		if !there[x.of] || x.aside == nil && x.of != nil && x.of.aside != nil {
			return fmt.Errorf("a prompt of %d tokens shares %d that are gone or aside", len(x.tokens), x.shared)
		}
		if x.aside != nil {
			continue
		}
		if holds[x.id] >= 0 {
			return fmt.Errorf("sequence %d keeps a prompt and is free, or keeps two", x.id)
		}
		if holds[x.id] = len(x.tokens); x.of != nil && common(x.of.tokens, x.tokens) < x.shared || x.shared > len(x.tokens) {
			return fmt.Errorf("a prompt of %d tokens shares %d with one of %d", len(x.tokens), x.shared, len(x.of.tokens))
		}
	}
	for id, n := range holds {
		if had, err := e.c.Len(int32(id)); err != nil || n != had {
			return fmt.Errorf("sequence %d holds %d tokens, not %d: %v", id, had, n, err)
		}
	}
	if kept := r.keptCells(); r.freeCells+kept != p.Ctx || kept+r.asideCells() > max(0, e.kept) {
		return fmt.Errorf("%d cells are free and %d of at most %d kept, of %d, and %d aside", r.freeCells, kept, e.kept, p.Ctx, r.asideCells())
	}
	if e.open != 0 || len(e.queue) != 0 {
		return fmt.Errorf("%d tickets, %d in the queue", e.open, len(e.queue))
	}
	return nil
}
