package value

import (
	"context"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// Prefix values a response that is not finished by what score says of its text so
// far: the reward model itself on prefixes, which needs no training and was not made for
// them (ARGS, arXiv 2402.01694). A character at its end that lacks bytes is left out. score returns one number for each text; it may be called from
// several goroutines at once.
func Prefix(score func(ctx context.Context, texts []string) ([]float64, error)) Source {
	return prefixSource{score, false}
}

// PrefixInTurn is Prefix where score keeps what it has read, so that an engine's requests ask it in turn, but for those that
// were submitted.
func PrefixInTurn(score func(ctx context.Context, texts []string) ([]float64, error)) Source {
	return prefixSource{score, true}
}

type prefixSource struct {
	score  func(ctx context.Context, texts []string) ([]float64, error)
	inTurn bool
}

func (prefixSource) Check(*engine.Engine) error { return nil }

func (prefixSource) Ahead() bool { return true }

func (prefixSource) Advantages() bool { return false }

func (prefixSource) Unit() Unit { return Unit{} }

func (prefixSource) NeedsPrompt() bool { return false }

func (p prefixSource) InTurn() bool { return p.inTurn }

func (p prefixSource) Open(r Request) (Valuer, error) { return prefixValuer{p, r}, nil }

type prefixValuer struct {
	prefixSource
	Request
}

func (prefixValuer) ReadsStates() bool { return false }

func (prefixValuer) Begin() (Memory, error) { return nil, nil }

func (prefixValuer) Fork(m Memory) Memory { return m }

func (prefixValuer) Drop(Memory) {}

func (prefixValuer) Push([]*Candidate) error { return nil }

func (p prefixValuer) Value(ctx context.Context, cs []*Candidate, out []float32) error {
	texts := make([]string, len(cs))
	for i, c := range cs {
		texts[i] = string(complete(c.Text[:len(c.Text)-c.Cut]))
	}
	return p.values(ctx, texts, out)
}

// score values the text with each token's added, as it will be after that is fed.
func (p prefixValuer) Score(ctx context.Context, c *Candidate, tokens []int32, out []float32) error {
	texts := make([]string, len(tokens))
	for i, token := range tokens {
		more, err := p.next(c, token)
		if err != nil {
			return err
		}
		text := slices.Concat(c.Text, more)
		texts[i] = string(complete(text[:len(text)-p.Stopped(text, len(c.Text))]))
	}
	return p.values(ctx, texts, out)
}

// next is what a token adds to the answer's text.
func (p prefixValuer) next(c *Candidate, token int32) ([]byte, error) {
	reader := c.Reader
	switch end := p.Engine.Model().IsEOG(token); {
	case end && reader.Follows():
		_, answer := reader.End()
		return answer, nil
	case end:
		return nil, nil
	case reader.Follows():
		_, answer := reader.Push(token)
		return answer, nil
	}
	return p.Engine.Model().Piece(token, false)
}

func (p prefixValuer) values(ctx context.Context, texts []string, out []float32) error {
	values, err := p.score(ctx, texts)
	if err != nil {
		return err
	}
	if len(values) != len(texts) {
		return fault.New("decode", "reward", nil, "a reward scores every text", "%d values for %d texts", len(values), len(texts))
	}
	for i, v := range values {
		out[i] = float32(v)
	}
	return nil
}

func (prefixValuer) Close() {}
