package head

import (
	"context"
	"log/slog"
	"math"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
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

// Scorer scores answers by a head and its trunk. It may be used from several goroutines, which
// take turns.
type Scorer struct {
	*Reader
	head *Head
}

// NewScorer makes the scorer of a head and the model that it reads. Close it before the model.
func NewScorer(h *Head, m *llama.Model) (*Scorer, error) {
	if err := h.fits(m); err != nil {
		return nil, err
	}
	r, err := NewReader(m, h.Reading, h.Trunk.Template)
	if err != nil {
		return nil, err
	}
	r.padding, r.gate = h.Padding, h.Gate != nil
	if r.Plain() {
		slog.Warn("neither the reward head nor its model has a chat template: conversations are shown as plain text, which it was hardly trained with", "model", m.Path())
	}
	return &Scorer{r, h}, nil
}

// fits says what is wrong with a model as the trunk of the head.
func (h *Head) fits(m *llama.Model) error {
	info, t := m.Info(), h.Trunk
	stranger := func(format string, args ...any) error {
		return fault.New("", "reward", nil, "name the trunk of the checkpoint that the head was imported from, converted to GGUF, or the model that it was learned on", "the head is none for %s: "+format, append([]any{m.Path()}, args...)...)
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

// Score returns one score for each answer, in order. It fails as a whole only when ctx ends or
// the model cannot be decoded.
func (s *Scorer) Score(ctx context.Context, answers []Answer) ([]Score, error) {
	return s.score(ctx, answers, s.Read)
}

// Follow scores answers as Score does, to the rounding of another order of computing; see [Reader.Follow].
func (s *Scorer) Follow(ctx context.Context, place any, answers []Answer) ([]Score, error) {
	return s.score(ctx, answers, func(ctx context.Context, answers []Answer, take func(int, States, error) error) error {
		return s.Reader.Follow(ctx, place, answers, take)
	})
}

func (s *Scorer) score(ctx context.Context, answers []Answer, read func(context.Context, []Answer, func(int, States, error) error) error) ([]Score, error) {
	scores := make([]Score, len(answers))
	err := read(ctx, answers, func(i int, states States, err error) error {
		if err == nil {
			scores[i].Value, err = s.head.Reward(states)
		}
		scores[i].Err = err
		return nil
	})
	if err != nil {
		return nil, err
	}
	return scores, nil
}
