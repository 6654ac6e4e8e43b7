package engine

import (
	"context"
	"slices"
)

// Continue is Run of one job that remembers: the cells of the last prompt that it prefilled
// stay, in one sequence more than the job's own, and the next Continue decodes only what its
// prompt has beyond the tokens that both begin with. Results are those of Run up to rounding.
// A Run in between forgets.
func (e *Engine) Continue(ctx context.Context, job Job) error {
	if !e.busy.CompareAndSwap(false, true) {
		return errBusy
	}
	defer e.busy.Store(false)
	sequences := e.c.Params().Sequences - 1
	if err := e.check([]Job{job}, sequences); err != nil {
		return err
	}
	if e.kept == nil {
		if err := e.clear(); err != nil {
			return err
		}
		e.kept = &kept{id: int32(sequences)}
	}
	err := e.run(ctx, []Job{job}, sequences)
	if err != nil && ctx.Err() == nil {
		e.kept = nil // who knows what state it is in
	}
	return err
}

func (e *Engine) clear() error {
	e.kept = nil
	return e.c.Clear()
}

// kept is a prompt whose cells outlive a run. Its tokens are always those of its sequence, but
// for what the operations that are noted in the session will do.
type kept struct {
	id     int32
	tokens []int32
	states []float32 // of the first tokens, those that states were wanted of
}

// share makes q, which is new, begin as the prompt does, as far as that is kept. It returns the
// number of tokens, which is less than the prompt's, for the last one's row is wanted, and
// their states if these are. What is kept beyond them goes, so that the job has the room that it
// was promised.
func (k *kept) share(s *Session, q *Seq, prompt []int32, wantStates bool) (int, []float32) {
	width := len(s.run.e.c.Params().Layers) * s.Model().Info().Width
	n := 0
	for n < min(len(k.tokens), len(prompt)-1) && k.tokens[n] == prompt[n] {
		n++
	}
	if wantStates {
		n = min(n, len(k.states)/width)
	}
	if info := s.Model().Info(); n < len(k.tokens) && (info.Recurrent || info.Window > 0) {
		n = 0 // such a memory cannot be cut, or has lost what came before the cut
	}
	if n < len(k.tokens) {
		s.ops = append(s.ops, Op{Kind: Trim, Seq: k.id, From: int32(n)})
		k.tokens, k.states = k.tokens[:n], k.states[:min(len(k.states), n*width)]
	}
	if n > 0 {
		s.ops = append(s.ops, Op{Kind: Fork, Seq: q.id, From: k.id})
	}
	if !wantStates {
		return n, nil
	}
	return n, slices.Clone(k.states)
}

// keep keeps the prompt that q has been given.
func (k *kept) keep(s *Session, q *Seq, prompt []int32, withStates bool) {
	s.ops = append(s.ops, Op{Kind: Fork, Seq: k.id, From: q.id})
	k.tokens = slices.Clone(prompt)
	if withStates {
		k.states = slices.Clone(s.states)
	}
}
