package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
)

// Session is a job's side of the engine. It is used by the job's goroutine alone and
// ends with it.
type Session struct {
	run      *run
	job      int
	ids      []int32 // sequence ids of this job
	free     []int32 // those not in use
	live     []*Seq
	ops      []Op // forks and drops to do before the next decode
	feed     []feed
	fed      int      // tokens of feed that have been decoded
	prefill  bool     // feed may be split over several decodes
	rows     []int    // output rows, in the order of feed
	kept     []keptAt // tokens of the batch under way whose states are wanted
	states   []float32
	reply    chan error
	finished bool
	err      error
	decoded  int
}

type feed struct {
	token, pos, seq int32
	output          bool
	keep            bool // its states go to Session.states
	temp            float32
}

// keptAt finds the states of a token in the context: by output row, or by [llama.Context.Kept].
type keptAt struct {
	index  int
	output bool
}

// Seq is a sequence of tokens in the context.
type Seq struct {
	id   int32
	len  int
	temp float32
	row  llama.Row
	hot  bool // row is of this sequence's last token and still valid
	dead bool // dropped
}

// Len is the number of tokens.
func (q *Seq) Len() int { return q.len }

// Row is the output of the last token, for choosing the next. It is valid until the
// session's next Prefill or Step, whether that is about this sequence or another;
// after a Step that left the sequence out there is none, and Row returns nil.
func (q *Seq) Row() *llama.Row {
	if !q.hot {
		return nil
	}
	return &q.row
}

// Model is the model that is decoded with.
func (s *Session) Model() *llama.Model { return s.run.e.model }

// Context ends when the run is cancelled.
func (s *Session) Context() context.Context { return s.run.ctx }

// Decoded is the number of tokens this session has decoded after its prompts.
func (s *Session) Decoded() int { return s.decoded }

// Prefill starts a sequence with a prompt. temp is the temperature at which the rows'
// LSET is wanted from here on, in this sequence and its forks.
func (s *Session) Prefill(prompt []int32, temp float32) (*Seq, error) {
	return s.start(prompt, temp, false)
}

// PrefillStates is Prefill that also returns the states of the tapped layers after every
// token of the prompt, [len(prompt)][width of the layers together]. It costs no more where
// all layers lie below the last one; otherwise each token's logits are computed too.
func (s *Session) PrefillStates(prompt []int32, temp float32) (*Seq, []float32, error) {
	if len(s.run.e.c.Params().Layers) == 0 {
		return nil, nil, fault.New("prefill", "layers", nil, "open it with the head's layers", "the engine taps no layers")
	}
	q, err := s.start(prompt, temp, true)
	return q, s.states, err
}

func (s *Session) start(prompt []int32, temp float32, keep bool) (*Seq, error) {
	if len(prompt) == 0 {
		return nil, fmt.Errorf("prefill: the prompt has no tokens")
	}
	q, err := s.take()
	if err != nil {
		return nil, err
	}
	q.temp = temp
	first := 0
	s.states = nil
	if k := s.run.e.kept; k != nil {
		first, s.states = k.share(s, q, prompt, keep)
	}
	s.feed = s.feed[:0]
	for i, t := range prompt[first:] {
		s.feed = append(s.feed, feed{token: t, pos: int32(first + i), seq: q.id, output: first+i == len(prompt)-1, keep: keep, temp: temp})
	}
	q.len = len(prompt)
	if err := s.decode(true); err != nil {
		return nil, err
	}
	if k := s.run.e.kept; k != nil {
		k.keep(s, q, prompt, keep)
	}
	return q, s.setRow(q, len(s.rows)-1)
}

// Step extends each sequence by one token, all in one batch together with the steps
// of the other jobs.
func (s *Session) Step(seqs []*Seq, tokens []int32) error {
	if len(seqs) != len(tokens) {
		return fmt.Errorf("step: %d sequences, %d tokens", len(seqs), len(tokens))
	}
	if len(seqs) == 0 {
		return nil
	}
	if n := s.run.e.c.Params().Batch; len(seqs) > n {
		return fmt.Errorf("step: %d sequences, a batch holds %d tokens", len(seqs), n)
	}
	s.feed = s.feed[:0]
	for i, q := range seqs {
		if q.dead {
			return errDropped
		}
		s.feed = append(s.feed, feed{token: tokens[i], pos: int32(q.len), seq: q.id, output: true, temp: q.temp})
		q.len++
	}
	if err := s.decode(false); err != nil {
		return err
	}
	s.decoded += len(seqs)
	for i, q := range seqs {
		if err := s.setRow(q, i); err != nil {
			return err
		}
	}
	return nil
}

// Fork makes a copy of a sequence, row included. It costs no decode.
func (s *Session) Fork(src *Seq) (*Seq, error) {
	if src.dead {
		return nil, errDropped
	}
	q, err := s.take()
	if err != nil {
		return nil, err
	}
	q.len, q.temp, q.row, q.hot = src.len, src.temp, src.row, src.hot
	s.ops = append(s.ops, Op{Kind: Fork, Seq: q.id, From: src.id})
	return q, nil
}

var errDropped = errors.New("the sequence was dropped")

// Drop ends a sequence and frees its room. A second Drop does nothing.
func (s *Session) Drop(q *Seq) {
	if q.dead {
		return
	}
	q.dead = true
	s.ops = append(s.ops, Op{Kind: Drop, Seq: q.id})
	s.free = append(s.free, q.id)
	s.live = slices.DeleteFunc(s.live, func(o *Seq) bool { return o == q })
	q.hot = false
}

func (s *Session) take() (*Seq, error) {
	n := len(s.free) - 1
	if n < 0 {
		return nil, fmt.Errorf("the job holds all of its %d sequences", len(s.ids))
	}
	q := &Seq{id: s.free[n]}
	s.free = s.free[:n]
	s.live = append(s.live, q)
	return q, nil
}

// decode hands the feed to the engine's loop and waits.
func (s *Session) decode(prefill bool) error {
	if err := context.Cause(s.run.ctx); err != nil {
		return errStopped
	}
	for _, q := range s.live {
		q.hot = false
	}
	s.prefill, s.fed, s.rows, s.kept = prefill, 0, s.rows[:0], s.kept[:0]
	s.run.events <- s
	return <-s.reply
}

func (s *Session) setRow(q *Seq, i int) error {
	row, err := s.run.e.c.Row(s.rows[i])
	if err != nil {
		return err
	}
	q.row, q.hot = row, true
	return nil
}
