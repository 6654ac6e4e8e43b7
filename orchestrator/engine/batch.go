package engine

import (
	"cmp"
	"errors"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
)

// Batch is what an engine is about to decode: tokens of all jobs that wait for a step.
type Batch struct {
	Ops    []Op // since the batch before, in their order
	Tokens []Token
}

// Op is something done to a sequence between batches.
type Op struct {
	Kind OpKind
	Seq  int32 // the copy of a fork, else the sequence that is dropped or cut
	From int32 // the sequence that a fork copies; the position from which a trim cuts
}

// OpKind says what an [Op] does.
type OpKind uint8

const (
	Fork OpKind = iota
	Drop
	Trim
)

// Token is a token of a batch.
type Token struct {
	ID, Pos, Seq int32
	Output       bool // its logits are wanted
}

// apply carries out a session's forks, drops and trims.
func (r *scheduler) apply(s *Session) error {
	defer func() { s.ops = s.ops[:0] }()
	for _, o := range s.ops {
		if err := r.do(o); err != nil {
			return err
		}
	}
	return nil
}

func (r *scheduler) do(o Op) error {
	var err error
	switch c := r.e.c; o.Kind {
	case Fork:
		err = c.Fork(o.From, o.Seq)
	case Drop:
		err = c.Drop(o.Seq)
	case Trim:
		err = c.Trim(o.Seq, o.From)
	}
	if err == nil && r.e.observe != nil {
		r.e.batch.Ops = append(r.e.batch.Ops, o)
	}
	return err
}

// serve decodes one batch for the sessions at the head of the queue and lets those go on that got all
// they asked for. A prompt longer than a batch goes in piece by piece.
func (r *scheduler) serve() {
	if r.dismiss(); len(r.waiting) == 0 {
		return
	}
	if r.setAside(); r.broken != nil {
		r.fail(r.broken)
		return
	}
	p := r.e.c.Params()
	room, prompts := p.Batch, p.Batch
	if !r.fixed && !r.waiting[0].prefill {
		prompts = p.UBatch // those who step wait for no more than this
	}
	var served []*Session
	for _, s := range r.waiting {
		most := room
		if s.prefill {
			most = min(room, prompts)
		}
		n := len(s.feed) - s.fed
		if most == 0 || n > most && (!s.prefill || r.fixed && len(served) > 0) {
			break
		}
		if err := r.apply(s); err != nil {
			r.fail(err)
			return
		}
		n = min(n, most)
		for _, f := range s.feed[s.fed : s.fed+n] {
			if err := r.add(s, f); err != nil {
				r.fail(err)
				return
			}
		}
		s.fed += n
		room -= n
		if s.prefill {
			prompts -= n
		}
		served = append(served, s)
	}
	if e := r.e; e.observe != nil {
		e.observe(e.batch)
		e.batch = Batch{}
	}
	err := r.e.decode(served)
	if errors.Is(err, llama.ErrAborted) { // all that are served are cancelled
		r.dismiss()
		return
	}
	for _, s := range served {
		if err == nil {
			err = r.takeStates(s)
		}
		if err == nil && s.prefill && s.fed == len(s.feed) {
			err = r.keep(s)
		}
	}
	if err != nil {
		r.fail(err)
		return
	}
	left := r.waiting[len(served):]
	var unfinished []*Session
	for _, s := range served {
		if s.fed < len(s.feed) {
			unfinished = append(unfinished, s)
			continue
		}
		s.fresh = false
		r.answer(s, nil) // who reads its rows, so that nothing may be done to the context until all are back
	}
	r.waiting = slices.Concat(unfinished, left)
}

// dismiss lets those go on that wait in vain, since they are cancelled.
func (r *scheduler) dismiss() {
	r.waiting = slices.DeleteFunc(r.waiting, func(s *Session) bool {
		err := cmp.Or(s.ticket.stopped(), r.broken)
		if err != nil {
			r.answer(s, err)
		}
		return err != nil
	})
}

// add puts a token of a session into the batch.
func (r *scheduler) add(s *Session, f feed) error {
	c := r.e.c
	if r.e.observe != nil {
		r.e.batch.Tokens = append(r.e.batch.Tokens, Token{ID: f.token, Pos: f.pos, Seq: f.seq, Output: f.output})
	}
	if f.keep && !f.output && r.e.inner {
		k, err := c.AddKept(f.token, f.pos, f.seq)
		s.saved = append(s.saved, keptAt{k, false})
		return err
	}
	row, err := c.Add(f.token, f.pos, f.seq, f.output || f.keep, f.temp)
	if err != nil {
		return err
	}
	if f.keep {
		s.saved = append(s.saved, keptAt{row, true})
	}
	if f.output {
		s.rows = append(s.rows, row)
	}
	return nil
}

// takeStates copies the states of the batch that a session wants kept: they are valid
// until the next decode.
func (r *scheduler) takeStates(s *Session) error {
	for _, k := range s.saved {
		if k.output {
			row, err := r.e.c.Row(k.index)
			if err != nil {
				return err
			}
			s.states = append(s.states, row.States...)
			continue
		}
		states, err := r.e.c.Kept(k.index)
		if err != nil {
			return err
		}
		s.states = append(s.states, states...)
	}
	s.saved = s.saved[:0]
	return nil
}
