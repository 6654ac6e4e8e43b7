package reward

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// ensemble makes one score of those that several rewards of the same thing give. Each has mistakes of
// its own, and a policy that is pushed towards one of them finds these first; what all agree on is
// harder to mistake (Coste et al. 2024, arXiv 2310.02743).
type ensemble struct {
	term  // in one spelling
	parts // its members, of weight 1
	combination
	info Info
}

// combination is how scores become one.
type combination struct {
	one func(values []float64) float64
	// bounds are those of the score, by those of the members' scores.
	bounds func(lo, hi []float64) (float64, float64)
}

// least takes the least score.
func least(argument string) (combination, error) {
	if argument != "" {
		return combination{}, badArgument("min", argument, "min(A, B, ...)")
	}
	smallest := func(values []float64) float64 {
		x := math.Inf(1)
		for _, v := range values {
			x = min(x, v)
		}
		return x
	}
	return combination{smallest, func(lo, hi []float64) (float64, float64) { return smallest(lo), smallest(hi) }}, nil
}

// lower takes a lower confidence bound, mean - k s, with s^2 = sum (x - mean)^2 / (n - 1).
func lower(argument string) (combination, error) {
	k := 1.0
	if argument != "" {
		var err error
		if k, err = strconv.ParseFloat(argument, 64); err != nil || !(k >= 0) || math.IsInf(k, 1) {
			return combination{}, badArgument("lower", argument, "lower:K(A, B, ...), with a number K of standard deviations")
		}
	}
	mean := func(values []float64) (m float64) {
		for _, v := range values {
			m += v / float64(len(values))
		}
		return m
	}
	return combination{
		one: func(values []float64) float64 {
			m, squares := mean(values), 0.0
			for _, v := range values {
				squares += (v - m) * (v - m)
			}
			return m - k*math.Sqrt(squares/float64(len(values)-1))
		},
		// s is largest where half of the scores are the least and half the greatest that there are.
		bounds: func(lo, hi []float64) (float64, float64) {
			n, from, to := float64(len(lo)), math.Inf(1), math.Inf(-1)
			for i := range lo {
				from, to = min(from, lo[i]), max(to, hi[i])
			}
			if k == 0 {
				return mean(lo), mean(hi)
			}
			return mean(lo) - k*(to-from)/2*math.Sqrt(n/(n-1)), mean(hi)
		},
	}, nil
}

// openEnsemble opens a term that has members.
func openEnsemble(t term, o Options) (Model, error) {
	if len(t.of) < 2 {
		return nil, fault.New("", "reward", nil, "give {reward} as "+kinds[t.kind].form, "an ensemble of one reward")
	}
	how, err := kinds[t.kind].combine(t.argument)
	if err != nil {
		return nil, err
	}
	e := &ensemble{term: term{weight: 1, kind: t.kind, argument: t.argument}, combination: how, info: Info{Prefixes: true}}
	hash := sha256.New()
	var lo, hi []float64
	for _, of := range t.of {
		m, err := openSum(of, o)
		if err != nil {
			e.parts.Close()
			return nil, err
		}
		e.parts = append(e.parts, part{m.info.Name, 1, m})
		e.of = append(e.of, m.terms())
		fmt.Fprintf(hash, "%q\n", m.info.Fingerprint)
		lo, hi = append(lo, m.info.Lo), append(hi, m.info.Hi)
		e.info.Prefixes = e.info.Prefixes && m.info.Prefixes
	}
	e.info.Lo, e.info.Hi = how.bounds(lo, hi)
	e.info.Name, e.info.Fingerprint = e.String(), fmt.Sprintf("%s 1 %x", name(t.kind, t.argument), hash.Sum(nil))
	return e, nil
}

func (e *ensemble) Info() Info { return e.info }

func (e *ensemble) Score(ctx context.Context, items []Item) ([]Score, error) {
	return e.join(e.parts.score(ctx, items))
}

// Follow is Score of responses that grow.
func (e *ensemble) Follow(ctx context.Context, place any, items []Item) ([]Score, error) {
	return e.join(e.parts.follow(ctx, place, items))
}

func (e *ensemble) join(scores [][]Score, err error) ([]Score, error) {
	return e.parts.combine(scores, err, func(values []float64) (float64, error) {
		x := e.one(values)
		if math.IsInf(x, 0) || math.IsNaN(x) {
			return 0, fmt.Errorf("the scores %v are too large to be combined (scale them down by weights)", values)
		}
		return x, nil
	})
}
