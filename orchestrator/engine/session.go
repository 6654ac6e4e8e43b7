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
	ticket  *Ticket
	r       *scheduler
	begins  begins  // what is kept of its prompt
	ids     []int32 // sequence ids of this job
	free    []int32 // those not in use
	live    []*Seq
	cells   int  // that the job may fill, beside those that are kept
	filled  int  // those that it fills
	ops     []Op // forks and drops to do before the next decode
	feed    []feed
	fed     int      // tokens of feed that have been decoded
	prefill bool     // feed may be split over several decodes
	rows    []int    // output rows, in the order of feed
	saved   []keptAt // tokens of the batch under way whose states are wanted
	states  []float32
	fresh   bool // its prompt may be decoded next, for others too
	begun   *Seq // the sequence that is being prefilled with the job's prompt
	reply   chan error
	result  error // of the job
	decoded int
	reused  int
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
	tip  *stretch // its last tokens
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
func (s *Session) Model() *llama.Model { return s.r.e.model }

// Engine is the one that the job runs on.
func (s *Session) Engine() *Engine { return s.r.e }

// Context ends when the job is cancelled.
func (s *Session) Context() context.Context { return s.ticket.ctx }

// Decoded is the number of tokens this session has decoded after its prompts.
func (s *Session) Decoded() int { return s.decoded }

// Reused is the number of tokens of its prompts that were kept, and so not decoded.
func (s *Session) Reused() int { return s.reused }

// Prefill starts a sequence with a prompt. temp is the temperature at which the rows'
// LSET is wanted from here on, in this sequence and its forks.
func (s *Session) Prefill(prompt []int32, temp float32) (*Seq, error) {
	return s.start(prompt, temp, false)
}

// PrefillStates is Prefill that also returns the states of the tapped layers after every
// token of the prompt, [len(prompt)][width of the layers together]. It costs no more where
// all layers lie below the last one; otherwise each token's logits are computed too.
func (s *Session) PrefillStates(prompt []int32, temp float32) (*Seq, []float32, error) {
	if len(s.r.e.c.Params().Layers) == 0 {
		return nil, nil, fault.New("prefill", "layers", nil, "open it with the head's layers", "the engine taps no layers")
	}
	q, err := s.start(prompt, temp, true)
	return q, s.states, err
}

func (s *Session) start(prompt []int32, temp float32, states bool) (*Seq, error) {
	if len(prompt) == 0 {
		return nil, fmt.Errorf("prefill: the prompt has no tokens")
	}
	kept := s.begins.of(prompt, states)
	if err := s.room(len(prompt) - kept.n); err != nil {
		return nil, err
	}
	q, err := s.take()
	if err != nil {
		return nil, err
	}
	q.temp, q.len, q.tip = temp, len(prompt), &stretch{holders: 1}
	s.states = kept.states
	if kept.n > 0 {
		s.ops = append(s.ops, Op{Kind: Fork, Seq: q.id, From: kept.from.id})
		if kept.cut {
			s.ops = append(s.ops, Op{Kind: Trim, Seq: q.id, From: int32(kept.n)})
		}
	}
	s.feed = s.feed[:0]
	for i, t := range prompt[kept.n:] {
		at := kept.n + i
		s.feed = append(s.feed, feed{token: t, pos: int32(at), seq: q.id, output: at == len(prompt)-1, keep: states, temp: temp})
	}
	s.fill(q, len(prompt)-kept.n)
	if s.begun = nil; slices.Equal(prompt, s.ticket.job.Prompt) {
		s.begun = q
	}
	if err := s.decode(true); err != nil {
		return nil, err
	}
	s.reused += kept.n
	s.r.e.reuse(kept.n)
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
	if n := s.r.e.c.Params().Batch; len(seqs) > n {
		return fmt.Errorf("step: %d sequences, a batch holds %d tokens", len(seqs), n)
	}
	if err := s.room(len(seqs)); err != nil {
		return err
	}
	s.feed = s.feed[:0]
	for i, q := range seqs {
		if q.dead {
			return errDropped
		}
		s.feed = append(s.feed, feed{token: tokens[i], pos: int32(q.len), seq: q.id, output: true, temp: q.temp})
		q.len++
		s.fill(q, 1)
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
	src.tip, q.tip = src.tip.split()
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
	s.filled -= q.tip.release()
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

// decode hands the feed to the scheduler and waits.
func (s *Session) decode(prefill bool) error {
	if err := s.ticket.stopped(); err != nil {
		return err
	}
	for _, f := range s.feed {
		if err := s.r.e.c.Check(f.token, f.pos, f.temp); err != nil {
			return err
		}
	}
	for _, q := range s.live {
		q.hot = false
	}
	s.prefill, s.fed, s.rows, s.saved = prefill, 0, s.rows[:0], s.saved[:0]
	s.r.events <- event{s, wants}
	return <-s.reply
}

func (s *Session) setRow(q *Seq, i int) error {
	row, err := s.r.e.c.Row(s.rows[i])
	if err != nil {
		return err
	}
	q.row, q.hot = row, true
	return nil
}

// Outside calls f, which may take long, while other jobs go on: a question to another program, or
// waiting for a reader. f must not use the session. In a [Engine.Run] all wait, so that nothing depends on
// how long it takes.
func (s *Session) Outside(f func()) {
	if s.r.fixed {
		f()
		return
	}
	for _, q := range s.live {
		if q.hot { // what others decode meanwhile ends the views
			q.row = cloned(q.row)
		}
	}
	s.r.events <- event{s, leaves}
	defer func() { s.r.events <- event{s, returns} }()
	f()
}

// InTurn calls f, which may take long, when all other jobs wait or are through: one job after the other, in their order. So
// what jobs have in common beside the engine is asked in the same order however goroutines are scheduled. In a
// [Engine.Run] f must not use the session. Submitted jobs, which depend on their neighbours in any case, wait for nobody's
// turn.
func (s *Session) InTurn(f func()) {
	if !s.r.fixed {
		f()
		return
	}
	s.r.events <- event{s, asks}
	<-s.reply
	defer func() { s.r.events <- event{s, asked} }()
	f()
}

func cloned(r llama.Row) llama.Row {
	r.Logits, r.Hidden, r.States = slices.Clone(r.Logits), slices.Clone(r.Hidden), slices.Clone(r.States)
	r.Top, r.TopLogits = slices.Clone(r.Top), slices.Clone(r.TopLogits)
	return r
}

// Send hands v to the reader of a job. While the channel is full the job waits for its reader, and no
// other job for it.
func Send[T any](s *Session, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	default:
	}
	var err error
	s.Outside(func() {
		select {
		case to <- v:
		case <-s.ticket.ctx.Done():
			err = s.ticket.stopped()
		}
	})
	return err
}
