// Package cache keeps what a model has read, so that texts which begin alike are read once: the KV
// cache of a context as a pool of sequences. It is brought up to the tokens that are asked for, sharing
// what they have in common, and forgets others where room runs out. The package knows nothing of why
// texts are read.
package cache

import (
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
)

// Cache is the KV cache of a context as a pool. All room is counted here, so that llama.cpp is never
// asked for more than it has.
type Cache struct {
	c     *llama.Context
	slots []*slot // by sequence id
	used  int     // cells
	// Of the batch that is being put together:
	clock   int // its number
	planned int // cells that it will take
}

// Owner is whom a sequence is kept for. It is told from others by ==.
type Owner interface {
	Gone() bool // nobody asks for it any more: [Cache.Sweep] frees its room
}

// slot is a sequence of the context.
type slot struct {
	id     int32
	tokens []int32
	cells  []*cell // of the tokens
	owner  Owner
	used   int // number of the last batch that it was needed for
	group  int // number of the last batch that it was a part of
}

// cell is a token's room, which forks share.
type cell struct {
	refs  int
	state []float32 // after the token, where it was wanted
}

// Want is a sequence that is to be decoded.
type Want struct {
	Owner  Owner // whose sequence it becomes
	Tokens []int32
	// Tokens from number From on are fed even if they are there, those before only if they
	// are not. Rows gets the rows after those from number Out >= From on, in order, those of
	// one decode together: they are valid during the call.
	From, Out int
	Rows      func(rows []llama.Row) error
	// States, if set, gets the states after every token that is fed.
	States *[]float32
	// Hidden, if set, gets the states after the tokens from number Since on, whether they are fed now
	// or were before: the cache keeps what has been wanted so. They are those of the context's layers,
	// or that after the final norm where it taps none.
	Hidden *[]float32
	Since  int
}

// known is how many of the first tokens need not be fed, by what a sequence holds.
func (w *Want) known(q *slot) int {
	n := min(Common(q.tokens, w.Tokens), w.From)
	if w.Hidden != nil {
		for i := w.Since; i < n; i++ {
			if q.cells[i].state == nil {
				return i
			}
		}
	}
	return n
}

// New makes the pool of an empty context.
func New(c *llama.Context) *Cache {
	s := &Cache{c: c}
	for id := range c.Params().Sequences {
		s.slots = append(s.slots, &slot{id: int32(id)})
	}
	return s
}

// Reset forgets everything, after a decode that failed.
func (s *Cache) Reset() error {
	for _, q := range s.slots {
		*q = slot{id: q.id}
	}
	s.used = 0
	return s.c.Clear()
}

// Sweep frees the sequences whose owners are gone. If these were all, the context is as it was at first: what is read
// next does not depend on what was, not even by rounding.
func (s *Cache) Sweep() error {
	swept, left := false, false
	for _, q := range s.slots {
		switch {
		case q.owner == nil:
		case q.owner.Gone():
			swept = true
			if err := s.trim(q, 0); err != nil {
				return err
			}
		default:
			left = true
		}
	}
	if !swept || left {
		return nil
	}
	return s.Reset()
}

// Bring decodes the sequences that are wanted: all in one batch where there is room.
func (s *Cache) Bring(wants []*Want) error {
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
			return fault.New("", "ctx", s.c.Params().Ctx, fault.TooLong, "%d tokens of prompt and response do not fit the context of %d in which they are valued", len(wants[0].Tokens), s.c.Params().Ctx)
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
func (s *Cache) place(w *Want) (bool, error) {
	if len(w.Tokens) > s.c.Params().Ctx {
		return false, nil
	}
	q := s.owned(w.Owner)
	near, own := q, 0
	if q != nil {
		own = w.known(q)
	}
	shared := own
	for _, o := range s.slots {
		if n := w.known(o); n > shared {
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
	q.owner, q.used, q.group = w.Owner, s.clock, s.clock
	need := len(w.Tokens) - shared
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
func (s *Cache) inBatch(q *slot) bool { return q.group == s.clock }

func (s *Cache) owned(by Owner) *slot {
	for _, q := range s.slots {
		if q.owner == by {
			return q
		}
	}
	return nil
}

// free is a sequence that nobody uses, or the one that is given up for it: nil if all are
// part of the batch.
func (s *Cache) free() *slot {
	for _, q := range s.slots {
		if q.owner == nil {
			return q
		}
	}
	return s.victim()
}

// victim is the sequence that was used longest ago and is no part of the batch.
func (s *Cache) victim() *slot {
	var v *slot
	for _, q := range s.slots {
		if q.owner != nil && !s.inBatch(q) && (v == nil || q.used < v.used) {
			v = q
		}
	}
	return v
}

// fork makes to the first n tokens of from.
func (s *Cache) fork(from, to *slot, n int) error {
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
func (s *Cache) trim(q *slot, n int) error {
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
func (s *Cache) decode(wants []*Want) error {
	type fed struct {
		w     *Want
		cell  *cell // that keeps the state; nil where none does
		index int   // of Kept, or of the row
		kept  bool
		row   bool
	}
	layers, last := s.c.Params().Layers, s.c.Model().Info().Layers-1
	inner := len(layers) > 0 && slices.Max(layers) < last
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
			if f.w.States != nil {
				*f.w.States = append(*f.w.States, row.States...)
			}
			if f.cell != nil {
				if f.cell.state = slices.Clone(row.States); len(layers) == 0 {
					f.cell.state = slices.Clone(row.Hidden)
				}
			}
			if f.row {
				rows = append(rows, row)
			}
			if len(rows) > 0 && (i == len(batch)-1 || batch[i+1].w != f.w) {
				if err := f.w.Rows(rows); err != nil {
					return err
				}
				rows = rows[:0]
			}
		}
		batch = batch[:0]
		return nil
	}
	for _, w := range wants {
		q := s.owned(w.Owner)
		for i := len(q.tokens); i < len(w.Tokens); i++ {
			f, c := fed{w: w, index: -1, row: i >= w.Out}, &cell{refs: 1}
			if w.Hidden != nil && i >= w.Since {
				f.cell = c
			}
			state := w.States != nil || f.cell != nil
			var err error
			if state && inner && !f.row {
				f.kept = true
				f.index, err = s.c.AddKept(w.Tokens[i], int32(i), q.id)
			} else {
				f.index, err = s.c.Add(w.Tokens[i], int32(i), q.id, f.row || state, 0)
			}
			if err != nil {
				return err
			}
			q.tokens, q.cells = append(q.tokens, w.Tokens[i]), append(q.cells, c)
			s.used++
			batch = append(batch, f)
			if len(batch) == s.c.Params().Batch {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	for _, w := range wants {
		if w.Hidden != nil {
			for _, c := range s.owned(w.Owner).cells[w.Since:] {
				*w.Hidden = append(*w.Hidden, c.state...)
			}
		}
	}
	return nil
}

// Share decodes what several that are wanted have in common and nobody has read, such as a prompt, once
// for all; owner holds it.
func (s *Cache) Share(wants []*Want, owner Owner) error {
	if len(wants) < 2 {
		return nil
	}
	n := len(wants[0].Tokens)
	for _, w := range wants {
		n = min(n, Common(wants[0].Tokens, w.Tokens), w.From)
		if w.Hidden != nil {
			n = min(n, w.Since)
		}
	}
	prefix := wants[0].Tokens[:n]
	const worthwhile = 32 // tokens, for one more decode
	if (n-s.known(prefix))*(len(wants)-1) < worthwhile {
		return nil
	}
	return s.Bring([]*Want{{Owner: owner, Tokens: prefix, From: n, Out: n}})
}

// Common is the number of tokens at the beginning that a and b share.
func Common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// known is how many of the tokens some sequence begins with.
func (s *Cache) known(tokens []int32) int {
	n := 0
	for _, q := range s.slots {
		n = max(n, Common(q.tokens, tokens))
	}
	return n
}
