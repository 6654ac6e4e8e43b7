package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// tilted is q(y) ~ p(y) exp(beta a(y)) by its definition.
func tilted(p []float64, advantages []float32, beta float64) []float64 {
	best := math.Inf(-1)
	for id := range p {
		if p[id] > 0 {
			best = max(best, math.Log(p[id])+beta*float64(advantages[id]))
		}
	}
	q, z := make([]float64, len(p)), 0.0
	for id := range p {
		if p[id] > 0 {
			q[id] = math.Exp(math.Log(p[id]) + beta*float64(advantages[id]) - best)
			z += q[id]
		}
	}
	for id := range q {
		q[id] /= z
	}
	return q
}

// Whatever is asked of a tilted policy agrees with its definition, and its draws follow it
// (chi-squared): with any number of sorted candidates, truncated or not, penalties or none, in a
// vocabulary of several stretches.
func TestTilt(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const n = 2*stretch + 100
	logits, advantages := make([]float32, n), make([]float32, n)
	for i := range logits {
		logits[i] = float32(3 * rng.NormFloat64())
		advantages[i] = float32(0.3 * rng.NormFloat64())
	}
	logits[5] = 13 // the likeliest by far, until it is penalised
	recent := []int32{5, 5, 2000}
	for _, s := range []Sampling{
		{Temp: 1}, {Temp: 0.7}, {Temp: 0.3}, {Temp: 0.02}, {Temp: 0.7, TopK: 5}, {Temp: 1, TopK: 30, TopP: 0.9}, {Temp: 1, TopP: 0.9}, {Temp: 0.8, MinP: 0.1}, {},
		{Temp: 0.9, RepeatLastN: -1, RepeatPenalty: 1.3, PresencePenalty: 0.4}, {Temp: 0.9, RepeatLastN: -1, PresencePenalty: -9}, {Temp: 0.9, RepeatLastN: -1, PresencePenalty: 12},
	} {
		of := slices.Clone(logits)
		for _, id := range []int{5, 2000} {
			if p := float32(s.RepeatPenalty); p != 0 && of[id] > 0 {
				of[id] /= p
			} else if p != 0 {
				of[id] *= p
			}
			of[id] -= float32(s.PresencePenalty)
		}
		base := make([]float64, n)
		if s.Temp > 0 {
			base = distribution(of, s)
		} else {
			base[slices.Index(of, slices.Max(of))] = 1
		}
		for _, beta := range []float64{0, 1, 7, -4, 200, 1e9, -1e9} {
			want := tilted(base, advantages, beta)
			for _, candidates := range []int{1, 64, n} {
				what := fmt.Sprintf("%+v, beta %v, %d candidates", s, beta, candidates)
				b := Sampler{Sampling: s}
				at := func() {
					b.At(rowOf(logits, candidates, max(s.Temp, 1e-3)), recent)
					b.Tilt(advantages, beta)
				}
				near := func(of string, got, want float64) {
					t.Helper()
					if !(math.Abs(got-want) < 1e-4*max(1, math.Abs(want))) {
						t.Fatalf("%s: %s is %v, not %v", what, of, got, want)
					}
				}
				at()
				kl := 0.0
				for id, q := range want {
					near("a probability", math.Exp(b.LogP(int32(id))), q)
					near("a probability of the base policy", math.Exp(b.BaseLogP(int32(id))), base[id])
					if q > 0 {
						kl += q * math.Log(q/base[id])
					}
				}
				if !math.IsInf(kl, 1) { // base probabilities underflow here, and do not there
					near("KL", b.TiltKL(), kl)
				}
				const draws = 3000
				count := make([]float64, n)
				for range draws {
					count[b.Draw(rng)]++
				}
				chi2, cells, rare, rareWant := 0.0, 0, 0.0, 0.0
				for id, q := range want {
					if q < 1e-12 && count[id] > 0 {
						t.Fatalf("%s: %d was drawn", what, id)
					}
					if q*draws < 5 { // together: chi-squared wants cells that are hit
						rare, rareWant = rare+count[id], rareWant+draws*q
						continue
					}
					chi2, cells = chi2+(count[id]-draws*q)*(count[id]-draws*q)/(draws*q), cells+1
				}
				if rareWant > 5 {
					chi2, cells = chi2+(rare-rareWant)*(rare-rareWant)/rareWant, cells+1
				}
				if df := float64(max(1, cells-1)); chi2 > df+6*math.Sqrt(2*df)+6 {
					t.Fatalf("%s: chi-squared %.1f on %d cells", what, chi2, cells)
				}
				sorted := slices.Clone(want)
				slices.Sort(sorted)
				for _, k := range []int{1, 20} {
					at()
					ids, p, rest := b.Likeliest(k)
					sum := 0.0
					for i, id := range ids {
						near("a likely token's probability", p[i], want[id])
						near("a probability by rank", p[i], sorted[n-1-i])
						sum += p[i]
					}
					near("the rest", rest, 1-sum)
					for range 5 {
						if rest < 1e-3 {
							break
						}
						if other := b.DrawRest(len(ids), rest, rng.Float64()); slices.Contains(ids, other) || want[other] == 0 {
							t.Fatalf("%s: drew %d of the rest", what, other)
						}
					}
				}
			}
		}
	}
	// The next state is the base policy's again.
	b := Sampler{Sampling: Sampling{Temp: 1}}
	b.At(rowOf(logits, 64, 1), nil)
	b.Tilt(advantages, 3)
	b.At(rowOf(logits, 64, 1), nil)
	if got, want := b.LogP(3), b.BaseLogP(3); got != want || b.TiltKL() != 0 {
		t.Errorf("at the next state log-probability %v, base %v, KL %v", got, want, b.TiltKL())
	}
}

func BenchmarkTilt(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{49152, 262144} {
		logits, advantages := make([]float32, n), make([]float32, n)
		for i := range logits {
			logits[i], advantages[i] = float32(3*rng.NormFloat64()), float32(0.03*rng.NormFloat64())
		}
		row := rowOf(logits, 64, 0.7)
		for _, beta := range []float64{0, 20} {
			b.Run(fmt.Sprintf("%d/beta%v", n, beta), func(b *testing.B) {
				s := Sampler{Sampling: Sampling{Temp: 0.7}}
				for b.Loop() {
					s.At(row, nil)
					s.Tilt(advantages, beta)
					s.LogP(s.Draw(rng))
					s.TiltKL()
				}
			})
		}
	}
}
