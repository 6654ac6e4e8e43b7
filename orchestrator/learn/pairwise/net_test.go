package pairwise

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// nets are one of each kind with random parameters, and pairs that they may read.
func nets() map[string]struct {
	*net
	kind    string
	reading head.Reading
	pairs   []rows
} {
	out := map[string]struct {
		*net
		kind    string
		reading head.Reading
		pairs   []rows
	}{}
	rng := rand.New(rand.NewPCG(4, 4))
	for kind, n := range map[string]*net{
		MLP: newNet(6, 3, false, 0, 1), Attend: newNet(6, 0, true, 0, 1), Tokens: newNet(6, 3, false, 5, 1),
	} {
		for i := range n.params {
			n.params[i] = float32(rng.NormFloat64() * 0.5)
		}
		var pairs []rows
		for range 7 {
			var r rows
			for side := range r {
				count := 1
				if kind != MLP {
					count += rng.IntN(4)
				}
				for range count * n.in {
					r[side] = append(r[side], float32(2+3*rng.NormFloat64()))
				}
			}
			pairs = append(pairs, r)
		}
		reading := map[string]head.Reading{
			MLP: {Layers: []int{1}}, Attend: {Layers: []int{1}, Pooling: head.Attention}, Tokens: {Layers: []int{1}, Pooling: head.Sum, Longest: 5},
		}[kind]
		out[kind] = struct {
			*net
			kind    string
			reading head.Reading
			pairs   []rows
		}{n, kind, reading, pairs}
	}
	return out
}

// The gradient of each kind is that of central differences.
func TestNetGradients(t *testing.T) {
	for kind, n := range nets() {
		n.standardise(n.pairs)
		var answers [][]float32
		by := make([]float64, 2*len(n.pairs))
		for i, p := range n.pairs {
			answers = append(answers, p[chosen], p[rejected])
			by[2*i], by[2*i+1] = 0.3+float64(i), -0.2
		}
		weighted := func() (sum float64) {
			for i, r := range n.pass(answers, nil, nil) {
				sum += by[i] * r
			}
			return sum
		}
		clear(n.grad)
		n.pass(answers, func([]float64) []float64 { return by }, nil)
		got := slices.Clone(n.grad)
		for i := range n.params {
			const step = 1e-2
			at := n.params[i]
			n.params[i] = at + step
			up := weighted()
			n.params[i] = at - step
			down := weighted()
			n.params[i] = at
			if want := (up - down) / (2 * step); math.Abs(float64(got[i])-want) > 0.02*max(1, math.Abs(want)) {
				t.Errorf("%s: parameter %d has the gradient %g, not %g", kind, i, got[i], want)
			}
		}
	}
}

// A net that becomes a head says of states as they are what it said of standardised ones, but for a
// constant; and training finds what can be seen.
func TestNetsAsHeads(t *testing.T) {
	for kind, n := range nets() {
		var raw []rows
		for _, p := range n.pairs {
			raw = append(raw, rows{slices.Clone(p[chosen]), slices.Clone(p[rejected])})
		}
		n.standardise(n.pairs)
		want := n.differences(n.pairs)
		h := n.head(n.reading, kind)
		h.Trunk.Width = n.in
		for i, p := range raw {
			won, err := h.Reward(head.States{Hidden: p[chosen]})
			if err != nil {
				t.Fatal(err)
			}
			lost, err := h.Reward(head.States{Hidden: p[rejected]})
			if err != nil {
				t.Fatal(err)
			}
			if got := won - lost; math.Abs(got-want[i]) > 1e-4*max(1, math.Abs(want[i])) {
				t.Errorf("%s: pair %d differs by %g as a head, by %g as a net", kind, i, got, want[i])
			}
		}
		fresh := newNet(n.in, n.hidden, n.attends, int(n.longest), 2)
		for _, p := range n.pairs { // the chosen side is told by its first column
			for i := 0; i < len(p[chosen]); i += n.in {
				p[chosen][i] = 2
			}
			for i := 0; i < len(p[rejected]); i += n.in {
				p[rejected][i] = -2
			}
		}
		if err := fresh.train(t.Context(), n.pairs, make([]float64, len(n.pairs)), schedule{epochs: 100, batch: 4, rate: 0.02, seed: 1}, nil); err != nil {
			t.Fatal(err)
		}
		if _, accuracy := judged(fresh.differences(n.pairs), 0); accuracy < 1 {
			t.Errorf("%s: %s of the pairs are learned", kind, fmt.Sprint(accuracy))
		}
	}
}

func TestReliability(t *testing.T) {
	at := func(p float64) float64 { return math.Log(p / (1 - p)) }
	// Three pairs at .8, of which two are right, and one at .55, which is wrong.
	bins, ece := reliability([]float64{at(0.81), at(0.81), -at(0.81), -at(0.56)}, 0)
	if len(bins) != 2 || bins[1].Pairs != 3 || math.Abs(bins[1].Accuracy-2.0/3) > 1e-9 || math.Abs(bins[0].Confidence-0.56) > 1e-9 {
		t.Errorf("got %+v", bins)
	}
	if want := 0.75*(0.81-2.0/3) + 0.25*0.56; math.Abs(ece-want) > 1e-9 {
		t.Errorf("an error of %g, not %g", ece, want)
	}
}
