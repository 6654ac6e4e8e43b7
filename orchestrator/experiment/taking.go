package experiment

import (
	"slices"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
)

// Taking says which of a prompt's samples are answers to it: all of them, or the best of every so many.
type Taking struct {
	Strategy decode.Strategy // that drew them
	Samples  int             // of a prompt
	BestOf   int             // 1 for all
	ByValue  bool            // the best by the value of its last state, not by the reward
}

func takingOf(m *recipe.Method) Taking {
	return Taking{m.Strategy, m.Samples, m.BestOf, m.By == recipe.ByValue}
}

// Best is the answer that is taken of some samples, and the KL of doing so: at most that of taking the best of
// as many from the strategy that drew them, to which the answer's log-probability under that less the base policy's
// is added, or a bound on it where the strategy searches.
func (t Taking) Best(group []Sample) (Sample, float64) {
	if t.BestOf == 1 {
		return group[0], float64(group[0].KL)
	}
	by := func(a Sample) float64 {
		if t.ByValue {
			return float64(a.Value)
		}
		return a.Rewards[0]
	}
	best := group[0]
	for _, a := range group[1:] {
		if by(a) > by(best) {
			best = a
		}
	}
	return best, decode.BestOfKL(t.BestOf) + t.Strategy.MaxDivergence(best.Emitted) + float64(best.Ratio)
}

// Cell sums up the samples of some prompts, each prompt's together. What the cell and its rewards are called is not
// known here.
func (t Taking) Cell(samples []Sample) *Cell {
	c := &Cell{Exact: t.BestOf == 1, Answers: t.Samples / t.BestOf, Rewards: make([]Scored, len(samples[0].Rewards))}
	for of := range slices.Chunk(samples, t.Samples) {
		kl := 0.0
		for g := range c.Answers {
			group := of[g*t.BestOf:][:t.BestOf]
			a, divergence := t.Best(group)
			kl += divergence / float64(c.Answers)
			for r, x := range a.Rewards {
				c.Rewards[r].Scores = append(c.Rewards[r].Scores, number.Float(x))
			}
			c.Exact = c.Exact && a.KLKind == decode.KLExact
			c.Emitted += a.Emitted
			for _, a := range group {
				c.Decoded += a.Decoded
				c.Calls += a.RewardCalls
			}
			if t.BestOf > 1 && !t.ByValue {
				c.Calls += t.BestOf
			}
		}
		c.KL = append(c.KL, number.Float(kl))
	}
	return c
}
