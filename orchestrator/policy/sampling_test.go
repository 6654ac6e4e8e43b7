package policy

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

// rowOf is the row that the engine gives for these logits: n sorted candidates, LSET
// at the temperature.
func rowOf(logits []float32, n int, temp float64) *llama.Row {
	r := &llama.Row{Logits: logits}
	z, zt := math.Inf(-1), math.Inf(-1)
	for id, l := range logits {
		z, zt = logAdd(z, float64(l)), logAdd(zt, float64(l)/temp)
		r.Top = append(r.Top, int32(id))
	}
	r.LSE, r.LSET = float32(z), float32(zt)
	slices.SortStableFunc(r.Top, func(a, b int32) int {
		if logits[a] != logits[b] {
			if logits[a] > logits[b] {
				return -1
			}
			return 1
		}
		return 0
	})
	r.Top = r.Top[:n]
	for _, id := range r.Top {
		r.TopLogits = append(r.TopLogits, logits[id])
	}
	return r
}

// distribution is what llama.cpp's chain makes of the logits, computed over the whole
// sorted vocabulary: top-k, top-p over what is left, min-p, temperature.
func distribution(logits []float32, s Sampling) []float64 {
	ids := make([]int, len(logits))
	for i := range ids {
		ids[i] = i
	}
	slices.SortStableFunc(ids, func(a, b int) int {
		if logits[a] > logits[b] {
			return -1
		}
		if logits[a] < logits[b] {
			return 1
		}
		return 0
	})
	if s.TopK > 0 {
		ids = ids[:min(s.TopK, len(ids))]
	}
	if s.TopP > 0 && s.TopP < 1 {
		z, sum := 0.0, 0.0
		for _, id := range ids {
			z += math.Exp(float64(logits[id]))
		}
		for n, id := range ids {
			if sum += math.Exp(float64(logits[id])) / z; sum >= s.TopP {
				ids = ids[:n+1]
				break
			}
		}
	}
	if s.MinP > 0 {
		best := math.Exp(float64(logits[ids[0]]))
		ids = slices.DeleteFunc(ids, func(id int) bool { return math.Exp(float64(logits[id])) < s.MinP*best })
	}
	p, z := make([]float64, len(logits)), 0.0
	for _, id := range ids {
		p[id] = math.Exp(float64(logits[id]) / s.Temp)
		z += p[id]
	}
	for id := range p {
		p[id] /= z
	}
	return p
}

// Draws follow the chain's distribution (chi-squared), and what it rules out is never
// drawn, whether the sorted candidates suffice or the whole vocabulary is needed.
func TestDrawDistribution(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 50)
	for i := range logits {
		logits[i] = float32(1.5 * rng.NormFloat64())
	}
	logits[7] = logits[3] // a tie
	for _, s := range []Sampling{
		{Temp: 1}, {Temp: 0.7}, {Temp: 2}, {Temp: 0.7, TopK: 5}, {Temp: 1, TopK: 30}, {Temp: 1, TopP: 0.5}, {Temp: 1, TopP: 0.99},
		{Temp: 0.8, MinP: 0.2}, {Temp: 0.8, MinP: 0.001}, {Temp: 0.8, TopK: 20, TopP: 0.8, MinP: 0.1}, {Temp: 1, TopK: 15, TopP: 0.6}, {Temp: 2, TopK: 12, TopP: 0.7}, {Temp: 1, TopK: 500, TopP: 0.9},
		{Temp: 1, TopP: 1},
	} {
		for _, candidates := range []int{1, 10, 50} {
			row := rowOf(logits, candidates, s.Temp)
			sampler := Sampler{Sampling: s}
			sampler.At(row, nil)
			const n = 12000
			count := make([]float64, len(logits))
			for range n {
				count[sampler.Draw(rng)]++
			}
			chi2, cells := 0.0, 0
			for id, p := range distribution(logits, s) {
				if p == 0 {
					if count[id] > 0 {
						t.Errorf("%+v: token %d drawn though ruled out", s, id)
					}
					continue
				}
				d := count[id] - n*p
				chi2 += d * d / (n * p)
				cells++
			}
			// Mean cells-1, standard deviation sqrt(2(cells-1)): six of them above is no chance.
			if df := float64(cells - 1); chi2 > df+6*math.Sqrt(2*df)+6 {
				t.Errorf("%+v, %d candidates: chi-squared %.1f on %d cells", s, candidates, chi2, cells)
			}
		}
	}
}

// drawn is what greedy sampling takes.
func drawn(s Sampling, row *llama.Row, recent []int32) int32 {
	b := Sampler{Sampling: s}
	b.At(row, recent)
	return b.Draw(nil)
}

func TestDrawGreedy(t *testing.T) {
	row := rowOf([]float32{1, 5, 2, 5}, 2, 1)
	for _, s := range []Sampling{{}, {TopK: 3}, {TopP: 0.1}, {MinP: 0.9}} {
		if got := drawn(s, row, nil); got != 1 {
			t.Errorf("%+v drew %d", s, got)
		}
	}
}

// Penalties change logits as llama.cpp's sampler does: positive ones are divided by the
// repeat penalty, negative ones multiplied; frequency counts, presence does not.
func TestPenalties(t *testing.T) {
	logits := []float32{2, 1.9, -1, 0}
	for _, c := range []struct {
		s      Sampling
		recent []int32
		want   int32
	}{
		{Sampling{RepeatLastN: 64, RepeatPenalty: 1.1}, nil, 0},
		{Sampling{RepeatLastN: 64, RepeatPenalty: 1.1}, []int32{0}, 1},        // 2/1.1 < 1.9
		{Sampling{RepeatLastN: 64, RepeatPenalty: 1.04}, []int32{0, 0}, 0},    // 2/1.04 > 1.9, however often
		{Sampling{RepeatLastN: 1, RepeatPenalty: 1.1}, []int32{0, 2}, 0},      // out of the window
		{Sampling{RepeatLastN: 64, FrequencyPenalty: 0.06}, []int32{0, 0}, 1}, // 2 - 0.12
		{Sampling{RepeatLastN: 64, FrequencyPenalty: 0.06}, []int32{0}, 0},    // 2 - 0.06
		{Sampling{RepeatLastN: 64, PresencePenalty: 0.06}, []int32{0, 0}, 0},
		{Sampling{RepeatLastN: 64, PresencePenalty: 3}, []int32{0, 1}, 3},
		{Sampling{RepeatLastN: 0, PresencePenalty: 3}, []int32{0, 1}, 0},
		{Sampling{RepeatLastN: -1, PresencePenalty: 3}, []int32{0, 1, 2, 2, 2}, 3},
	} {
		if got := drawn(c.s, rowOf(logits, 2, 1), c.recent); got != c.want {
			t.Errorf("%+v after %v drew %d, want %d", c.s, c.recent, got, c.want)
		}
	}
}

// At temperatures and penalties far from what is usual the probabilities are still what the
// chain says, though the row's LSET is a float32.
func TestExtremes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	logits := make([]float32, 50)
	for i := range logits {
		logits[i] = float32(100 + 3*rng.NormFloat64())
	}
	recent := []int32{3, 3, 4}
	for _, s := range []Sampling{
		{Temp: 1e-60}, {Temp: 1e-5}, {Temp: 0.001}, {Temp: 0.02}, {Temp: 50}, {Temp: 1e6}, {Temp: 1e-5, TopK: 3},
		{Temp: 1, RepeatLastN: -1, PresencePenalty: -2000}, {Temp: 0.001, RepeatLastN: -1, PresencePenalty: -2}, {Temp: 0.01, RepeatLastN: -1, RepeatPenalty: 0.1},
		{Temp: 1e-5, RepeatLastN: -1, RepeatPenalty: 1.5}, {RepeatLastN: -1, PresencePenalty: -2000},
	} {
		changed := slices.Clone(logits)
		for _, id := range []int{3, 4} {
			if s.RepeatPenalty != 0 {
				changed[id] /= float32(s.RepeatPenalty)
			}
			changed[id] -= float32(s.PresencePenalty)
		}
		want := make([]float64, len(logits))
		z := 0.0
		for id, l := range changed {
			want[id] = math.Exp(float64(l-slices.Max(changed)) / max(s.Temp, 1e-100))
			z += want[id]
		}
		for _, candidates := range []int{1, 10, 50} {
			row := rowOf(logits, candidates, max(s.Temp, 1e-3))
			if float32(s.Temp) == 0 {
				row.LSET = row.LSE
			}
			b := Sampler{Sampling: s}
			b.At(row, recent)
			for id, p := range want {
				if got := math.Exp(b.LogP(int32(id))); math.Abs(got-p/z) > 1e-3 && s.TopK == 0 {
					t.Errorf("%+v, %d candidates: probability %g of token %d, want %g", s, candidates, got, id, p/z)
				}
			}
			if id := b.Draw(rng); want[id] == 0 {
				t.Errorf("%+v, %d candidates: drew %d", s, candidates, id)
			}
			if kl := b.KL(&Sampler{Sampling: Sampling{Temp: 1}}, nil); !(kl >= 0) || math.IsInf(kl, 1) {
				t.Errorf("%+v, %d candidates: KL %v", s, candidates, kl)
			}
		}
	}
}

func TestStreams(t *testing.T) {
	seen := map[uint64]bool{}
	for _, key := range []uint64{Key(1, 1, "a", 0), Key(2, 1, "a", 0), Key(1, 2, "a", 0), Key(1, 1, "b", 0), Key(1, 1, "a", 1), Key(1, 1, "aa", 0), Key(1, 1, "", 97)} {
		for _, rng := range []*rand.Rand{Stream(key), Stream(key, 0), Stream(key, 1), Stream(key, 0, 1), Stream(key, 1, 0)} {
			x := rng.Uint64()
			if seen[x] {
				t.Errorf("two streams begin alike")
			}
			seen[x] = true
		}
	}
	if Stream(5, 1, 2).Uint64() != Stream(5, 1, 2).Uint64() {
		t.Error("a stream is not the same twice")
	}
}
