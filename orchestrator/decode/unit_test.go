package decode_test

import (
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// counted is a source whose betas are counted in other units.
type counted struct {
	value.Source
	unit value.Unit
}

func (c counted) Unit() value.Unit { return c.unit }

// A beta is a number of the value function's units, of its advantages where these tilt, unless it
// is said to be in units of the reward; a source that knows no unit counts in the latter.
func TestBetasAreUnits(t *testing.T) {
	e := open(t)
	table := additive(someAdvantages(e))
	for _, c := range []struct {
		name   string
		s      decode.Strategy
		source value.Source
		per    float64 // raw beta
	}{
		{"tokenwise", decode.Strategy{Method: decode.MethodTokenwise, Guide: decode.Guide{TopK: 4, Beta: 2, Rest: decode.RestParent}}, short, 2 / 0.5},
		{"one-pass of single tokens", decode.Strategy{Method: decode.MethodOnePass, Guide: decode.Guide{TopK: 4, Beta: 2, Rest: decode.RestParent}}, short, 2 / 0.5},
		{"one-pass by table", decode.Strategy{Method: decode.MethodOnePass, Guide: decode.Guide{TopK: 4, Beta: 2, Rest: decode.RestParent}}, table, 2 / 0.25},
		{"proposal", decode.Strategy{Method: decode.MethodBlockBestOfK, N: 2, Beam: decode.Beam{Block: 3}, Proposal: 2}, table, 2 / 0.25},
		{"samples", decode.Strategy{Method: decode.MethodSample, Proposal: 2}, table, 2 / 0.25},
	} {
		answer := func(s decode.Strategy, source value.Source) (r decode.Response) {
			req := request(t, e, 3)
			req.MaxTokens, req.Value = 12, source
			job, err := s.Job(e, req, func(got decode.Response) { r = got })
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			run(t, e, job)
			return r
		}
		raw := c.s
		raw.RawBeta = true
		if raw.Proposal != 0 {
			raw.Proposal = c.per
		} else {
			raw.Guide.Beta = c.per
		}
		want, other := answer(raw, c.source), raw
		for name, r := range map[string]decode.Response{
			"in units": answer(c.s, counted{c.source, value.Unit{Value: 0.5, Advantage: 0.25}}), "without a unit": answer(func() decode.Strategy { other.RawBeta = false; return other }(), c.source),
			"raw in spite of a unit": answer(raw, counted{c.source, value.Unit{Value: 0.5, Advantage: 0.25}}),
		} {
			if !slices.Equal(r.Tokens, want.Tokens) || r.KL != want.KL {
				t.Errorf("%s, %s: %q at KL %v, not %q at %v", c.name, name, r.Text, r.KL, want.Text, want.KL)
			}
		}
	}
}
