package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/llama"
)

// A policy of which a grammar, biases and the ruled-out end leave a part is that of logits of which the others are at
// minus infinity: with any number of sorted candidates, truncated, tilted, and as a reference.
func TestRestricted(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	const n = 3*stretch + 100
	logits, advantages := make([]float32, n), make([]float32, n)
	for i := range logits {
		logits[i], advantages[i] = float32(3*rng.NormFloat64()), float32(rng.NormFloat64())
	}
	set := func(share float64) *llama.TokenSet {
		var tokens []int32
		for id := range int32(n) {
			if rng.Float64() < share {
				tokens = append(tokens, id)
			}
		}
		return llama.NewTokenSet(n, tokens...)
	}
	best := int32(slices.Index(logits, slices.Max(logits)))
	recent := []int32{best, 7, 7}
	for _, only := range []*llama.TokenSet{nil, llama.NewTokenSet(n, 5, 100, 2000), set(0.002), set(0.3), set(0.9), set(0.999)} {
		for _, s := range []Sampling{
			{Temp: 1}, {Temp: 0.7}, {Temp: 0.02}, {Temp: 1, TopK: 4}, {Temp: 0.8, TopK: 40, TopP: 0.9, MinP: 0.05}, {Temp: 1, TopP: 0.8}, {Temp: 1, MinP: 0.1}, {},
			{Temp: 0.7, RepeatLastN: -1, RepeatPenalty: 1.2, FrequencyPenalty: 0.3},
			{Temp: 0.7, LogitBias: map[int32]number.Float{best: number.Float(math.Inf(-1)), 9: 3, 100: -1}},
			{Temp: 0.7, LogitBias: map[int32]number.Float{9: 100}, TopK: 10},
			{Temp: 0.7, LogitBias: map[int32]number.Float{best: 2, 7: 3}, RepeatLastN: -1, RepeatPenalty: 1.2},
		} {
			for _, never := range [][]int32{nil, {best, 3}} {
				of := slices.Clone(logits)
				for id := range of {
					of[id] += float32(s.LogitBias[int32(id)])
					if k := count(recent, int32(id)); k > 0 && s.RepeatLastN != 0 {
						if p := float32(s.RepeatPenalty); of[id] > 0 {
							of[id] /= p
						} else {
							of[id] *= p
						}
						of[id] -= float32(k) * float32(s.FrequencyPenalty)
					}
					if only != nil && !only.Has(int32(id)) || slices.Contains(never, int32(id)) || math.IsInf(float64(of[id]), -1) {
						of[id] = -1e30
					}
				}
				want := make([]float64, n)
				if s.Temp > 0 {
					want = distribution(of, s)
				} else {
					want[slices.Index(of, slices.Max(of))] = 1
				}
				for _, candidates := range []int{1, 64, n} {
					b := Sampler{Sampling: s, Only: only, Never: never}
					what := fmt.Sprintf("%+v, %d candidates, never %v", s, candidates, never)
					if only != nil {
						what += fmt.Sprintf(", only %d", only.Len())
					}
					near := func(of string, got, want float64) {
						t.Helper()
						if !(math.Abs(got-want) < 1e-4*max(1, math.Abs(want))) {
							t.Fatalf("%s: %s is %v, not %v", what, of, got, want)
						}
					}
					at := func() { b.At(rowOf(logits, candidates, max(s.Temp, 1e-3)), recent) }
					at()
					if !b.Possible() {
						t.Fatalf("%s: nothing is possible", what)
					}
					for id, p := range want {
						near("a probability", math.Exp(b.LogP(int32(id))), p)
					}
					for range 50 {
						if id := b.Draw(rng); want[id] == 0 {
							t.Fatalf("%s: drew %d", what, id)
						}
					}
					ids, p, rest := b.Likeliest(20)
					sum := 0.0
					for i, id := range ids {
						near("a likely token's probability", p[i], want[id])
						sum += p[i]
					}
					near("the rest", rest, 1-sum)
					if rest > 1e-3 {
						if id := b.DrawRest(len(ids), rest, rng.Float64()); want[id] == 0 || slices.Contains(ids, id) {
							t.Fatalf("%s: drew %d of the rest", what, id)
						}
					}
					ref := distribution(of, Sampling{Temp: 2})
					if len(s.LogitBias) > 0 || s.RepeatLastN != 0 {
						ref = nil // the reference is not biased
					}
					kl := 0.0
					for id, p := range want {
						if p > 0 && ref != nil {
							kl += p * math.Log(p/ref[id])
						}
					}
					if ref != nil {
						near("KL", b.KL(&Sampler{Sampling: Sampling{Temp: 2}}, recent), kl)
					}
					at()
					b.Tilt(advantages, 0.5)
					q := want
					if s.Temp > 0 {
						q = tilted(want, advantages, 0.5)
					}
					for id, p := range q {
						near("a tilted probability", math.Exp(b.LogP(int32(id))), p)
						near("a base probability", math.Exp(b.BaseLogP(int32(id))), want[id])
					}
					for range 50 {
						if id := b.Draw(rng); q[id] == 0 {
							t.Fatalf("%s: drew %d of the tilted", what, id)
						}
					}
				}
			}
		}
	}
	b := Sampler{Sampling: Sampling{Temp: 1}, Only: llama.NewTokenSet(n, 5), Never: []int32{5}}
	if b.At(rowOf(logits, 64, 1), nil); b.Possible() {
		t.Error("something is possible where all is ruled out")
	}
}

func count(in []int32, x int32) (n int) {
	for _, y := range in {
		if x == y {
			n++
		}
	}
	return n
}
