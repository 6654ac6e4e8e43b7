package value

import (
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
)

// sequences is the KV cache of a value model as a pool: it brings sequences up to the tokens
// that are asked for, sharing what they have in common, and forgets others where room runs
// out. All room is counted here, so that llama.cpp is never asked for more than it has.
type sequences struct {
	c     *llama.Context
	slots []*slot // by sequence id
	used  int     // cells
	// Of the batch that is being put together:
	clock   int // its number
	planned int // cells that it will take
}

// slot is a sequence of the context.
type slot struct {
	id     int32
	tokens []int32
	cells  []*cell // of the tokens
	owner  *followed
	used   int // number of the last batch that it was needed for
	group  int // number of the last batch that it was a part of
}

// cell is a token's room, which forks share.
type cell struct{ refs int }

// want is a sequence that is to be decoded.
type want struct {
	owner  *followed // whose sequence it becomes
	tokens []int32
	// Tokens from number from on are fed even if they are there, those before only if they
	// are not. rows gets the rows after those from number out >= from on, in order, those of
	// one decode together: they are valid during the call.
	from, out int
	rows      func(rows []llama.Row) error
	// states, if set, gets the states after every token that is fed.
	states *[]float32
}

func newSequences(c *llama.Context) *sequences {
	s := &sequences{c: c}
	for id := range c.Params().Sequences {
		s.slots = append(s.slots, &slot{id: int32(id)})
	}
	return s
}

// reset forgets everything, after a decode that failed.
func (s *sequences) reset() error {
	for _, q := range s.slots {
		*q = slot{id: q.id}
	}
	s.used = 0
	return s.c.Clear()
}

// sweep frees the sequences whose owners are gone.
func (s *sequences) sweep() error {
	for _, q := range s.slots {
		if q.owner != nil && q.owner.gone() {
			if err := s.trim(q, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// bring decodes the sequences that are wanted: all in one batch where there is room.
func (s *sequences) bring(wants []*want) error {
	for len(wants) > 0 {
		s.clock++
		s.planned = 0
		group := 0
		for group < len(wants) {
			ok, err := s.place(wants[group])
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			group++
		}
		if group == 0 {
			return fault.New("value model", "ctx", s.c.Params().Ctx, fault.TooLong, "%d tokens of prompt and response do not fit its context of %d", len(wants[0].tokens), s.c.Params().Ctx)
		}
		if err := s.decode(wants[:group]); err != nil {
			return err
		}
		wants = wants[group:]
	}
	return nil
}

// place finds a sequence for what is wanted and cuts it back to what they have in common. It
// says no where there is room only when the batch that is being put together is decoded.
func (s *sequences) place(w *want) (bool, error) {
	if len(w.tokens) > s.c.Params().Ctx {
		return false, nil
	}
	q := s.owned(w.owner)
	near, own := q, 0
	if q != nil {
		own = min(common(q.tokens, w.tokens), w.from)
	}
	shared := own
	for _, o := range s.slots {
		if n := min(common(o.tokens, w.tokens), w.from); n > shared {
			near, shared = o, n
		}
	}
	if q == nil {
		if q = s.free(); q == nil {
			return false, nil
		}
	}
	if q != near {
		if err := s.fork(near, q, shared); err != nil {
			return false, err
		}
	}
	if err := s.trim(q, shared); err != nil {
		return false, err
	}
	q.owner, q.used, q.group = w.owner, s.clock, s.clock
	need := len(w.tokens) - shared
	for s.used+s.planned+need > s.c.Params().Ctx {
		v := s.victim()
		if v == nil {
			q.group = 0
			return false, nil
		}
		if err := s.trim(v, 0); err != nil {
			return false, err
		}
	}
	s.planned += need
	return true, nil
}

// inBatch says whether a sequence is a part of the batch that is being put together.
func (s *sequences) inBatch(q *slot) bool { return q.group == s.clock }

func (s *sequences) owned(by *followed) *slot {
	for _, q := range s.slots {
		if q.owner == by {
			return q
		}
	}
	return nil
}

// free is a sequence that nobody uses, or the one that is given up for it: nil if all are
// part of the batch.
func (s *sequences) free() *slot {
	for _, q := range s.slots {
		if q.owner == nil {
			return q
		}
	}
	return s.victim()
}

// victim is the sequence that was used longest ago and is no part of the batch.
func (s *sequences) victim() *slot {
	var v *slot
	for _, q := range s.slots {
		if q.owner != nil && !s.inBatch(q) && (v == nil || q.used < v.used) {
			v = q
		}
	}
	return v
}

// fork makes to the first n tokens of from.
func (s *sequences) fork(from, to *slot, n int) error {
	if err := s.trim(to, 0); err != nil || n == 0 {
		return err
	}
	if err := s.c.Fork(from.id, to.id); err != nil {
		return err
	}
	from.used = s.clock
	to.tokens, to.cells = append(to.tokens, from.tokens...), append(to.cells, from.cells...)
	for _, c := range to.cells {
		c.refs++
	}
	return s.trim(to, n)
}

// trim keeps the first n tokens of a sequence, and its owner unless that is none.
func (s *sequences) trim(q *slot, n int) error {
	if n == len(q.tokens) && n > 0 {
		return nil
	}
	if len(q.tokens) > 0 {
		if err := s.c.Trim(q.id, int32(n)); err != nil {
			return err
		}
	}
	for _, c := range q.cells[n:] {
		if c.refs--; c.refs == 0 {
			s.used--
		}
	}
	q.tokens, q.cells = q.tokens[:n], q.cells[:n]
	if n == 0 {
		q.owner = nil
	}
	return nil
}

// decode feeds what the sequences lack, in as many batches as it takes.
func (s *sequences) decode(wants []*want) error {
	type fed struct {
		w     *want
		index int // of Kept, or of the row
		kept  bool
		row   bool
	}
	var batch []fed
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := s.c.Decode(); err != nil {
			return err
		}
		var rows []llama.Row
		for i, f := range batch {
			var row llama.Row
			var err error
			if f.kept {
				row.States, err = s.c.Kept(f.index)
			} else if f.index >= 0 {
				row, err = s.c.Row(f.index)
			}
			if err != nil {
				return err
			}
			if f.w.states != nil {
				*f.w.states = append(*f.w.states, row.States...)
			}
			if f.row {
				rows = append(rows, row)
			}
			if len(rows) > 0 && (i == len(batch)-1 || batch[i+1].w != f.w) {
				if err := f.w.rows(rows); err != nil {
					return err
				}
				rows = rows[:0]
			}
		}
		batch = batch[:0]
		return nil
	}
	layers, last := s.c.Params().Layers, s.c.Model().Info().Layers-1
	inner := len(layers) > 0 && slices.Max(layers) < last
	for _, w := range wants {
		q := s.owned(w.owner)
		for i := len(q.tokens); i < len(w.tokens); i++ {
			f := fed{w: w, index: -1, row: i >= w.out}
			var err error
			if w.states != nil && inner && !f.row {
				f.kept = true
				f.index, err = s.c.AddKept(w.tokens[i], int32(i), q.id)
			} else {
				f.index, err = s.c.Add(w.tokens[i], int32(i), q.id, f.row || w.states != nil, 0)
			}
			if err != nil {
				return err
			}
			q.tokens, q.cells = append(q.tokens, w.tokens[i]), append(q.cells, &cell{refs: 1})
			s.used++
			batch = append(batch, f)
			if len(batch) == s.c.Params().Batch {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// common is the number of tokens at the beginning that a and b share.
func common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// known is how many of the tokens some sequence begins with.
func (s *sequences) known(tokens []int32) int {
	n := 0
	for _, q := range s.slots {
		n = max(n, common(q.tokens, tokens))
	}
	return n
}
