package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever is asked of the base policy agrees with its definition over the whole sorted
// vocabulary, with any number of sorted candidates and any penalties.
func TestBasePolicy(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	penalties := []Sampling{
		{},
		{RepeatLastN: 8, RepeatPenalty: 1.3},
		{RepeatLastN: -1, FrequencyPenalty: 0.4, PresencePenalty: 0.7},
		{RepeatLastN: 64, RepeatPenalty: 0.8, PresencePenalty: -1.5}, // raises them
		{RepeatLastN: 64, PresencePenalty: 30},
	}
	chains := []Sampling{
		{Temp: 1}, {Temp: 0.7}, {Temp: 0.7, TopK: 5}, {Temp: 1, TopK: 30}, {Temp: 1, TopP: 0.5}, {Temp: 1, TopP: 0.97}, {Temp: 0.8, MinP: 0.1},
		{Temp: 0.8, TopK: 20, TopP: 0.8, MinP: 0.1}, {},
	}
	for range 40 {
		logits := make([]float32, 50)
		for i := range logits {
			logits[i] = float32(2 * rng.NormFloat64())
		}
		recent := make([]int32, rng.IntN(20))
		for i := range recent {
			recent[i] = int32(rng.IntN(len(logits)))
		}
		for _, penalty := range penalties {
			changed := slices.Clone(logits)
			window := recent
			if n := penalty.RepeatLastN; n > 0 && n < len(window) {
				window = window[len(window)-n:]
			}
			for id := range changed {
				n := 0
				for _, r := range window {
					if int(r) == id {
						n++
					}
				}
				if n == 0 || penalty.RepeatLastN == 0 {
					continue
				}
				if p := float32(penalty.RepeatPenalty); p != 0 && changed[id] > 0 {
					changed[id] /= p
				} else if p != 0 {
					changed[id] *= p
				}
				changed[id] -= float32(n)*float32(penalty.FrequencyPenalty) + float32(penalty.PresencePenalty)
			}
			for _, s := range chains {
				s = withPenalties(s, penalty)
				want := make([]float64, len(logits))
				if s.Temp > 0 {
					want = distribution(changed, s)
				} else {
					best := 0
					for id, l := range changed {
						if l > changed[best] {
							best = id
						}
					}
					want[best] = 1
				}
				for _, candidates := range []int{1, 10, 50} {
					b := Sampler{Sampling: s}
					b.At(rowOf(logits, candidates, max(s.Temp, 1e-3)), recent)
					near := func(what string, got, want float64) {
						if math.Abs(got-want) > 1e-4 {
							t.Fatalf("%+v, %d candidates: %s is %v, not %v", s, candidates, what, got, want)
						}
					}
					for id, p := range want {
						near("a probability", math.Exp(b.LogP(int32(id))), p)
					}
					for _, temp := range []float64{0.5, 1} {
						for _, other := range []Sampling{{Temp: temp}, withPenalties(Sampling{Temp: temp, TopK: s.TopK, TopP: s.TopP, MinP: s.MinP}, penalty), {Temp: temp, TopK: 3}} {
							of := logits
							if other.Penalizes() {
								of = changed
							}
							kl, ref := 0.0, distribution(of, other)
							for id, p := range want {
								if p > 0 {
									kl += p * math.Log(p/ref[id])
								}
							}
							near(fmt.Sprintf("exp(-KL from %+v)", other), math.Exp(-b.KL(&Sampler{Sampling: other}, recent)), math.Exp(-kl))
						}
					}
					for _, k := range []int{1, 7, 20} {
						b.At(rowOf(logits, candidates, max(s.Temp, 1e-3)), recent)
						ids, p, rest := b.Likeliest(k)
						sorted := slices.Clone(want)
						slices.Sort(sorted)
						sum := 0.0
						for i, id := range ids {
							near("a likely token's probability", p[i], want[id])
							near("a probability by rank", p[i], sorted[len(sorted)-1-i])
							sum += p[i]
						}
						near("the rest", rest, 1-sum)
						if rest < 1e-3 {
							continue
						}
						for range 5 {
							if other := b.DrawRest(len(ids), rest, rng.Float64()); slices.Contains(ids, other) || want[other] == 0 {
								t.Fatalf("%+v, %d candidates: drew %d of the rest", s, candidates, other)
							}
						}
					}
				}
			}
		}
	}
}

func withPenalties(s, of Sampling) Sampling {
	s.RepeatLastN, s.RepeatPenalty, s.FrequencyPenalty, s.PresencePenalty = of.RepeatLastN, of.RepeatPenalty, of.FrequencyPenalty, of.PresencePenalty
	return s
}

// Draws from a large vocabulary follow the policy in every stretch of it, and where rounding
// leaves nothing to draw, some token outside the list is drawn.
func TestDrawOutside(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	logits := make([]float32, 5000)
	for i := range logits {
		logits[i] = float32(rng.NormFloat64())
	}
	b := Sampler{Sampling: Sampling{Temp: 0.9}}
	b.At(rowOf(logits, 64, 0.9), nil)
	_, _, rest := b.Likeliest(64)
	want, count := make([]float64, 50), make([]float64, 50)
	for id := range logits {
		if !slices.Contains(b.ids, int32(id)) {
			want[id/100] += math.Exp(b.LogP(int32(id))) / rest
		}
	}
	const n = 20000
	for range n {
		id := b.DrawRest(64, rest, rng.Float64())
		if slices.Contains(b.ids, id) {
			t.Fatalf("%d is one of the likeliest", id)
		}
		count[id/100]++
	}
	chi2 := 0.0
	for i, p := range want {
		chi2 += (count[i] - n*p) * (count[i] - n*p) / (n * p)
	}
	if chi2 > 49+6*math.Sqrt(2*49)+6 {
		t.Errorf("chi-squared %.1f on 50 cells", chi2)
	}
	if id := b.drawFrom(64, 2); id < 0 || slices.Contains(b.ids, id) {
		t.Errorf("beyond the last token: %d", id)
	}
}
