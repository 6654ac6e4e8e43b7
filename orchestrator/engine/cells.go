package engine

import (
	"fmt"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
)

// stretch is tokens that sequences have in common: those of one that was forked, behind those
// that it had from another. Their cells are free when nobody holds them any more.
type stretch struct {
	before  *stretch
	n       int
	holders int // sequences that end with it, and stretches behind it
}

// split makes two ends of one, for the two sequences of a fork.
func (t *stretch) split() (a, b *stretch) {
	if t.n == 0 && t.before != nil { // nothing has come since the last fork
		t.before.holders++
		return t, &stretch{before: t.before, holders: 1}
	}
	t.holders++ // two in place of one
	return &stretch{before: t, holders: 1}, &stretch{before: t, holders: 1}
}

// release ends a sequence, and returns the number of cells that are free by it.
func (t *stretch) release() int {
	n := 0
	for ; t != nil; t = t.before {
		if t.holders--; t.holders > 0 {
			break
		}
		n += t.n
	}
	return n
}

// room finds out whether the job may fill n more cells. So it takes none that were promised to others.
func (s *Session) room(n int) error {
	if s.filled+n <= s.cells {
		return nil
	}
	return &fault.Error{
		Op: "engine", Field: "ctx", Limit: s.ticket.job.Cells, Err: fmt.Errorf("%w: the job fills more than the %d cells that it asked for", llama.ErrContextFull, s.ticket.job.Cells),
		Hint: "raise {ctx}, or run fewer sequences at once",
	}
}

// fill notes n more tokens at the end of a sequence.
func (s *Session) fill(q *Seq, n int) {
	s.filled += n
	q.tip.n += n
}
