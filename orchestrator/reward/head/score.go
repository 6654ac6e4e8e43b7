package head

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Answer is an answer to a prompt. A plain prompt is what a user says.
type Answer struct {
	Prompt   prompt.Record
	Response string
}

// Score is the reward of one answer, or why it has none.
type Score struct {
	Value float64
	Err   error
}

const (
	// together is the number of tokens up to which conversations are computed in one decode: as many as
	// llama.cpp computes at once, for more of them only lengthen the cache that each looks through.
	together = 512
	// togetherShared is the same where they have most in common: that is computed once.
	togetherShared = 2048
	// sequences is the most conversations of one decode.
	sequences = 32
	// leastCells of the KV cache are there from the beginning; it grows with what comes.
	leastCells = 1024
)

// Scorer scores answers by a head and its trunk. It may be used from several goroutines, which
// take turns.
type Scorer struct {
	head    *Head
	model   *llama.Model
	encoder *prompt.Encoder

	mu sync.Mutex
	c  *llama.Context // nil before the first score
}

// day is the date that templates which tell it are given: scores are to be the same tomorrow. It is the
// one that Llama 3's templates fall back on.
var day = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// NewScorer makes the scorer of a head and the model that it reads. Close it before the model.
func NewScorer(h *Head, m *llama.Model) (*Scorer, error) {
	if err := h.fits(m); err != nil {
		return nil, err
	}
	encoder, err := prompt.NewEncoder(m, prompt.Options{Template: h.Trunk.Template, Now: day})
	if err != nil {
		return nil, err
	}
	if encoder.Plain() {
		slog.Warn("neither the reward head nor its model has a chat template: conversations are shown as plain text, which it was hardly trained with", "model", m.Path())
	}
	return &Scorer{head: h, model: m, encoder: encoder}, nil
}

// fits says what is wrong with a model as the trunk of the head.
func (h *Head) fits(m *llama.Model) error {
	info, t := m.Info(), h.Trunk
	stranger := func(format string, args ...any) error {
		return fault.New("", "reward", nil, "name the trunk of the checkpoint that the head was imported from, converted to GGUF", "the head is none for %s: "+format, append([]any{m.Path()}, args...)...)
	}
	switch {
	case t.Architecture != "" && t.Architecture != info.Architecture:
		return stranger("its trunk is a %s model, this is a %s one", t.Architecture, info.Architecture)
	case t.Width != info.Width:
		return stranger("it reads states of %d numbers, this model's have %d", t.Width, info.Width)
	case t.Vocabulary > 0 && t.Vocabulary != info.Vocab:
		return stranger("its trunk has %d tokens, this model %d", t.Vocabulary, info.Vocab)
	}
	for _, part := range m.Metadata().Parts() {
		own, ok := part.Tensor("output_norm.weight")
		if !ok || own.Type != gguf.F32 || t.Norm == nil {
			continue
		}
		gains, err := part.ReadF32(own.Name)
		if err != nil {
			return err
		}
		if len(gains) != len(t.Norm) {
			return stranger("its final norm has %d gains, its trunk's %d", len(gains), len(t.Norm))
		}
		for i, g := range gains {
			if math.Abs(float64(g-t.Norm[i])) > 1e-3*max(1, math.Abs(float64(g))) {
				return stranger("gain %d of the final norm is %.4g, its trunk's %.4g: it is another training of the same architecture", i, g, t.Norm[i])
			}
		}
	}
	return nil
}

// Limit is the most tokens of a conversation.
func (s *Scorer) Limit() int { return cmp.Or(s.model.Info().ContextTrain, 4096) }

// Check finds prompts that leave no room for an answer.
func (s *Scorer) Check(ctx context.Context, records []prompt.Record) error {
	for _, r := range records {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		tokens, err := s.encoder.Conversation(messages(r), false)
		if err == nil && len(tokens) >= s.Limit() {
			err = s.tooLong(len(tokens), "and the answer has none")
		}
		if err != nil {
			return fmt.Errorf("prompt %q: %w", r.ID, err)
		}
	}
	return nil
}

func (s *Scorer) tooLong(tokens int, more string) error {
	return fault.New("", "reward", s.Limit(), "shorten the prompt, lower {max_tokens}, or choose another {reward}", "%d tokens of the reward model's %d%s", tokens, s.Limit(), " "+more)
}

// messages are the conversation that a prompt is.
func messages(r prompt.Record) []llama.Message {
	if r.Messages != nil {
		return slices.Clip(r.Messages)
	}
	return []llama.Message{{Role: "user", Content: r.Text}}
}

// conversation is an answer with its prompt, in tokens.
type conversation struct {
	prompt string // the prompt's id
	tokens []int32
	gate   int // the position whose state the gate reads; -1 without
	states struct{ last, gate []float32 }
	score  *Score // where its score goes
}

// encode makes tokens of an answer.
func (s *Scorer) encode(a Answer, to *Score) (*conversation, error) {
	asked := messages(a.Prompt)
	c := &conversation{prompt: a.Prompt.ID, gate: -1, score: to}
	var err error
	if c.tokens, err = s.encoder.Conversation(append(asked, llama.Message{Role: "assistant", Content: a.Response}), false); err != nil {
		return nil, err
	}
	for n := len(c.tokens); n > 0 && slices.Contains(s.head.Padding, c.tokens[n-1]); n-- {
		c.tokens = c.tokens[:n-1]
	}
	if n := len(c.tokens); n == 0 {
		return nil, errors.New("the conversation has no tokens (give it a text)")
	} else if n > s.Limit() {
		return nil, s.tooLong(n, "are taken by prompt and answer")
	}
	if s.head.Gate == nil {
		return c, nil
	}
	// The gate reads the token that ends the prompt, before the assistant's turn begins.
	closed, err := s.encoder.Conversation(asked, false)
	if err != nil {
		return nil, err
	}
	if c.gate = common(closed, c.tokens) - 1; c.gate < 0 {
		return nil, errors.New("the chat template writes another conversation once it is answered, so that nothing tells the prompt's end (import the head with the checkpoint's own template)")
	}
	// Some templates put a line break behind the token that ends a turn.
	if c.gate > 0 && !s.model.IsEOG(c.tokens[c.gate]) && s.model.IsEOG(c.tokens[c.gate-1]) {
		c.gate--
	}
	return c, nil
}

// common is the number of tokens with which both begin.
func common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// Score returns one score for each answer, in order. It fails as a whole only when ctx ends or
// the model cannot be decoded.
func (s *Scorer) Score(ctx context.Context, answers []Answer) ([]Score, error) {
	scores := make([]Score, len(answers))
	var all []*conversation
	for i, a := range answers {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c, err := s.encode(a, &scores[i])
		if scores[i].Err = err; err == nil {
			all = append(all, c)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(all) > 0 {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n, cells := pack(all)
		some := all[:n]
		all = all[n:]
		if err := s.room(cells); err != nil { // there is too little memory for long ones, others may fit
			for _, c := range some {
				c.score.Err = err
			}
			continue
		}
		if err := s.decode(ctx, some); err != nil {
			return nil, err
		}
		for _, c := range some {
			c.score.Value = s.head.Reward(c.states.last, c.states.gate)
		}
	}
	return scores, nil
}

// pack is how many of the first conversations are computed together, and the cells that they take.
func pack(all []*conversation) (n, cells int) {
	n, cells = 1, len(all[0].tokens)
	// Of those with the last one's prompt: the first, what all have in common, their tokens; and the
	// cells of those before.
	first, prefix, tokens, before := 0, cells-1, cells, 0
	for ; n < min(len(all), sequences); n++ {
		next, most := all[n], together
		if next.prompt == all[first].prompt {
			prefix = min(prefix, common(all[first].tokens, next.tokens), len(next.tokens)-1)
			tokens += len(next.tokens)
			if 2*prefix > len(next.tokens) {
				most = togetherShared
			}
		} else {
			first, prefix, tokens, before = n, len(next.tokens)-1, len(next.tokens), cells
		}
		with := before + tokens - (n-first)*prefix
		if with > most {
			break
		}
		cells = with
	}
	return n, cells
}

// decode computes the states of some conversations, for which there is room.
func (s *Scorer) decode(ctx context.Context, some []*conversation) error {
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		s.c.Abort(true)
		close(aborted)
	})
	err := s.pass(some)
	if !stop() {
		<-aborted
		s.c.Abort(false)
	}
	if errors.Is(err, llama.ErrAborted) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// room makes a context of so many cells, if there is none yet.
func (s *Scorer) room(cells int) (err error) {
	if s.c != nil && s.c.Params().Ctx >= cells {
		return nil
	}
	if s.c != nil {
		if err := s.c.Close(); err != nil {
			return err
		}
		s.c = nil
	}
	ctx := leastCells
	for ctx < cells {
		ctx *= 2
	}
	ctx = min(ctx, max(leastCells, s.Limit()))
	s.c, err = s.model.NewContext(llama.ContextParams{
		Ctx: ctx, Batch: together, Sequences: sequences, Threads: engine.Threads(s.model), Embeddings: true, FullWindow: true,
	})
	if err != nil {
		return fmt.Errorf("reward model: %w", err)
	}
	return nil
}

// pass decodes conversations, each a sequence. What those of one prompt begin with is decoded
// once and forked.
func (s *Scorer) pass(some []*conversation) error {
	if err := s.c.Clear(); err != nil {
		return err
	}
	f := feed{c: s.c}
	shared := make([]int, len(some)) // tokens that are there already
	for i := 0; i < len(some); {
		j, n := i+1, len(some[i].tokens)-1
		for j < len(some) && some[j].prompt == some[i].prompt {
			n = min(n, common(some[i].tokens, some[j].tokens), len(some[j].tokens)-1)
			j++
		}
		if j-i > 1 {
			if err := f.add(some[i], int32(i), 0, n, some[i:j]); err != nil {
				return err
			}
			for k := i; k < j; k++ {
				shared[k] = n
			}
		}
		i = j
	}
	if err := f.flush(); err != nil {
		return err
	}
	owner := 0
	for i, c := range some {
		if i == 0 || c.prompt != some[i-1].prompt {
			owner = i
		}
		if shared[i] > 0 && i != owner {
			if err := s.c.Fork(int32(owner), int32(i)); err != nil {
				return err
			}
		}
	}
	for i, c := range some {
		if err := f.add(c, int32(i), shared[i], len(c.tokens), some[i:i+1]); err != nil {
			return err
		}
	}
	return f.flush()
}

// feed gives tokens to a context, a batch at a time, and takes the states that are wanted.
type feed struct {
	c      *llama.Context
	wanted []wanted
}

type wanted struct {
	row int
	to  *[]float32
}

// add feeds a sequence the tokens of a conversation at the positions from from to below to, for some
// conversations that have them in common.
func (f *feed) add(c *conversation, seq int32, from, to int, some []*conversation) error {
	for pos := from; pos < to; pos++ {
		if f.c.Pending() == f.c.Params().Batch {
			if err := f.flush(); err != nil {
				return err
			}
		}
		last := pos == len(c.tokens)-1
		output := last || slices.ContainsFunc(some, func(c *conversation) bool { return pos == c.gate })
		row, err := f.c.Add(c.tokens[pos], int32(pos), seq, output, 0)
		if err != nil {
			return err
		}
		for _, c := range some {
			if pos == c.gate {
				f.wanted = append(f.wanted, wanted{row, &c.states.gate})
			}
			if last {
				f.wanted = append(f.wanted, wanted{row, &c.states.last})
			}
		}
	}
	return nil
}

func (f *feed) flush() error {
	if f.c.Pending() == 0 {
		return nil
	}
	if err := f.c.Decode(); err != nil {
		return fmt.Errorf("reward model: %w", err)
	}
	for _, w := range f.wanted {
		row, err := f.c.Row(w.row)
		if err != nil {
			return err
		}
		*w.to = slices.Clone(row.Hidden)
	}
	f.wanted = f.wanted[:0]
	return nil
}

// Close frees the context; the model is left.
func (s *Scorer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return nil
	}
	return s.c.Close()
}
