package decode

import (
	"context"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// PrefixSource values a response that is not finished by what score says of its text so
// far: the reward model itself on prefixes, which needs no training and was not made for
// them (ARGS, arXiv 2402.01694). score returns one number for each text; it may be called from
// several goroutines at once.
func PrefixSource(score func(ctx context.Context, texts []string) ([]float64, error)) Source {
	return prefixSource{score}
}

type prefixSource struct {
	score func(ctx context.Context, texts []string) ([]float64, error)
}

func (prefixSource) check(*engine.Engine) error { return nil }

func (prefixSource) scores() bool { return true }

func (prefixSource) needsPrompt() bool { return false }

func (p prefixSource) open(d *decoder) (valuer, error) { return prefixValuer{p, d}, nil }

type prefixValuer struct {
	prefixSource
	d *decoder
}

func (prefixValuer) readsStates() bool { return false }

func (prefixValuer) begin() (memory, error) { return nil, nil }

func (prefixValuer) fork(m memory) memory { return m }

func (prefixValuer) drop(memory) {}

func (prefixValuer) push([]*candidate) error { return nil }

func (p prefixValuer) value(cs []*candidate, out []float32) error {
	texts := make([]string, len(cs))
	for i, c := range cs {
		texts[i] = string(c.text[:len(c.text)-c.cut])
	}
	return p.values(texts, out)
}

// score values the text with each token's added, as it will be after that is fed.
func (p prefixValuer) score(c *candidate, tokens []int32, out []float32) error {
	texts := make([]string, len(tokens))
	for i, token := range tokens {
		text := c.text
		if !p.d.s.Model().IsEOG(token) {
			piece, err := p.d.s.Model().Piece(token, false)
			if err != nil {
				return err
			}
			text = slices.Concat(text, piece)
		}
		texts[i] = string(text[:len(text)-p.d.stopped(text, len(c.text))])
	}
	return p.values(texts, out)
}

func (p prefixValuer) values(texts []string, out []float32) error {
	values, err := p.prefixSource.score(p.d.s.Context(), texts)
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

func (prefixValuer) close() {}
