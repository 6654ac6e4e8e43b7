package engine

import (
	"slices"
	"time"
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
func (r *run) apply(s *Session) error {
	defer func() { s.ops = s.ops[:0] }()
	for _, o := range s.ops {
		var err error
		switch o.Kind {
		case Fork:
			err = r.e.c.Fork(o.From, o.Seq)
		case Drop:
			err = r.e.c.Drop(o.Seq)
		case Trim:
			err = r.e.c.Trim(o.Seq, o.From)
		}
		if err != nil {
			return err
		}
		if r.e.observe != nil {
			r.e.batch.Ops = append(r.e.batch.Ops, o)
		}
	}
	return nil
}

// serve decodes one batch for the sessions at the head of the queue and lets those go
// on that got all they asked for. A prompt longer than a batch goes in piece by piece.
func (r *run) serve() {
	c := r.e.c
	room := c.Params().Batch
	served := 0
	for _, s := range r.waiting {
		if n := len(s.feed) - s.fed; n > room && (served > 0 || !s.prefill) {
			break
		}
		if err := r.apply(s); err != nil {
			r.fail(err)
			return
		}
		last := min(len(s.feed), s.fed+room)
		for s.fed < last {
			f := s.feed[s.fed]
			s.fed++
			if err := r.add(s, f); err != nil {
				r.fail(err)
				return
			}
		}
		room = c.Params().Batch - c.Pending()
		served++
		if room == 0 {
			break
		}
	}
	if e := r.e; e.observe != nil {
		e.observe(e.batch)
		e.batch = Batch{}
	}
	begin := time.Now()
	n := c.Pending()
	err := c.Decode()
	r.e.stats.InC += time.Since(begin)
	r.e.stats.Decodes++
	r.e.stats.Tokens += n
	if err != nil {
		r.fail(err)
		return
	}
	for _, s := range r.waiting[:served] {
		if err := r.takeStates(s); err != nil {
			r.fail(err)
			return
		}
	}
	rest := r.waiting[served:]
	for _, s := range r.waiting[:served] {
		if s.fed < len(s.feed) {
			rest = slices.Insert(rest, 0, s) // only the first can be a prompt in pieces
			continue
		}
		r.running++
		s.reply <- nil
	}
	r.waiting = slices.Clone(rest)
}

// add puts a token of a session into the batch.
func (r *run) add(s *Session, f feed) error {
	c := r.e.c
	if r.e.observe != nil {
		r.e.batch.Tokens = append(r.e.batch.Tokens, Token{ID: f.token, Pos: f.pos, Seq: f.seq, Output: f.output})
	}
	if f.keep && !f.output && r.e.inner {
		k, err := c.AddKept(f.token, f.pos, f.seq)
		s.kept = append(s.kept, keptAt{k, false})
		return err
	}
	row, err := c.Add(f.token, f.pos, f.seq, f.output || f.keep, f.temp)
	if err != nil {
		return err
	}
	if f.keep {
		s.kept = append(s.kept, keptAt{row, true})
	}
	if f.output {
		s.rows = append(s.rows, row)
	}
	return nil
}

// takeStates copies the states of the batch that a session wants kept: they are valid
// until the next decode.
func (r *run) takeStates(s *Session) error {
	for _, k := range s.kept {
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
	s.kept = s.kept[:0]
	return nil
}
