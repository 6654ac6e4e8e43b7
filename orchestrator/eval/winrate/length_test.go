package winrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/reward/judge"
)

// Of two groups of pairs the regression is the one line through their log-odds, and its value at no difference
// is half-way between them.
func TestFitClosedForm(t *testing.T) {
	logit := func(p float64) float64 { return math.Log(p / (1 - p)) }
	for _, c := range []struct{ x, p1, p2 float64 }{{0.5, 0.3, 0.8}, {0.9, 0.6, 0.6}, {0.2, 0.55, 0.45}} {
		const many = 1e5 // pairs in each, so many that the prior weighs nothing
		r := new(regression).fit([]float64{-c.x, c.x}, []float64{c.p1, c.p2}, []float64{many, many})
		better, length := (logit(c.p1)+logit(c.p2))/2, (logit(c.p2)-logit(c.p1))/(2*c.x)
		if math.Abs(r.better-better) > 1e-4 || math.Abs(r.length-length) > 1e-4 {
			t.Errorf("%+v: %+v, want %v and %v", c, r, better, length)
		}
	}
}

// A second implementation solves the two score equations by bisection, one inside of the other.
func TestFitSecondImplementation(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	root := func(f func(float64) float64) float64 { // of an increasing function
		lo, hi := -100.0, 100.0
		for range 80 {
			if mid := (lo + hi) / 2; f(mid) < 0 {
				lo = mid
			} else {
				hi = mid
			}
		}
		return (lo + hi) / 2
	}
	for range 20 {
		n := 2 + rng.IntN(40)
		xs, ys, ws := make([]float64, n), make([]float64, n), make([]float64, n)
		for i := range xs {
			xs[i], ys[i], ws[i] = math.Tanh(2*rng.NormFloat64()), float64(rng.IntN(5))/4, float64(rng.IntN(3))
		}
		score := func(better, length float64, with func(x float64) float64) (sum float64) {
			for i, x := range xs {
				sum += ws[i] * (1/(1+math.Exp(-better-length*x)) - ys[i]) * with(x)
			}
			return sum
		}
		best := func(length float64) float64 {
			return root(func(better float64) float64 {
				return 0.01*better + score(better, length, func(float64) float64 { return 1 })
			})
		}
		length := root(func(length float64) float64 {
			return 0.01*length + score(best(length), length, func(x float64) float64 { return x })
		})
		if r := new(regression).fit(xs, ys, ws); math.Abs(r.better-best(length)) > 1e-6 || math.Abs(r.length-length) > 1e-6 {
			t.Errorf("%+v, want %v and %v", r, best(length), length)
		}
	}
}

// The answers of a are longer. A judge that loves length sees them win, however it does so; with the length taken out
// the win rate is what the quality is worth.
func TestLengthControlled(t *testing.T) {
	const n = 300
	rng := rand.New(rand.NewPCG(3, 4))
	pairs := pairsOf(n, func(int) (a, b string) {
		return strings.Repeat("a", 100+rng.IntN(120)), strings.Repeat("b", 80+rng.IntN(120))
	})
	xs, ok := lengths(pairs)
	if !ok {
		t.Fatal("no lengths")
	}
	feature := map[string]float64{}
	for i, p := range pairs {
		feature[p.Prompt.ID] = xs[i]
	}
	quality := func(better, length float64) *Report {
		return compared(t, fake{odds: true, verdict: func(p judge.Pair) judge.Verdict {
			x := feature[p.Prompt.ID]
			if i := p.Prompt.ID; p.A != pairs[atoi(t, i)].A.Text {
				return judge.Verdict{Value: -(better + length*x)}
			}
			return judge.Verdict{Value: better + length*x}
		}}, pairs, 0)
	}
	for _, c := range []struct{ better, length float64 }{{0, 2}, {0.5, 1.5}, {-0.7, 3}, {0.4, 0}} {
		r := quality(c.better, c.length)
		l, want := r.LengthControlled, sigmoid(c.better)
		if math.Abs(l.WinRate.Mean-want) > 2e-3 || math.Abs(l.Coefficient-c.length) > 5e-2 {
			t.Errorf("%+v: %+v, want %.3f", c, l, want)
		}
		if raw := r.Weighted.Mean; c.length > 0 && raw < want+0.03 || c.length == 0 && math.Abs(raw-want) > 1e-9 {
			t.Errorf("%+v: the raw rate is %.3f", c, raw)
		}
	}
	// One that takes the longer answer, always, and a coin's word where they are equal.
	blind := compared(t, fake{verdict: func(p judge.Pair) judge.Verdict {
		return judge.Verdict{Value: float64(len(p.A) - len(p.B))}
	}}, pairs, 0)
	if l := blind.LengthControlled; blind.WinRate.Mean < 0.6 || l.WinRate.Mean < 0.4 || l.WinRate.Mean > 0.6 || l.WinRate.Lo > 0.5 || l.WinRate.Hi < 0.5 {
		t.Errorf("the longer answer wins %.3f, and with length controlled %+v", blind.WinRate.Mean, l)
	}
	// One that knows no length, by verdicts: the interval holds the truth.
	fair := compared(t, fake{verdict: func(p judge.Pair) judge.Verdict {
		if rng.Float64() < 0.5 {
			return judge.Verdict{Value: 1}
		}
		return judge.Verdict{Value: -1}
	}}, pairs, 0)
	if l := fair.LengthControlled.WinRate; l.Lo > 0.5 || l.Hi < 0.5 || l.Hi-l.Lo > 0.2 {
		t.Errorf("%+v", l)
	}
	// All wins stay all but all wins, and no difference in length is none to control.
	if all := compared(t, fake{odds: false, verdict: func(p judge.Pair) judge.Verdict {
		return judge.Verdict{Value: map[bool]float64{true: 1, false: -1}[p.A == pairs[atoi(t, p.Prompt.ID)].A.Text]}
	}}, pairs, 0); all.WinRate.Mean != 1 || all.LengthControlled.WinRate.Mean < 0.99 {
		t.Errorf("%+v, %+v", all.WinRate, all.LengthControlled)
	}
	if same := compared(t, fake{verdict: func(judge.Pair) judge.Verdict { return judge.Verdict{} }}, pairsOf(9, func(int) (a, b string) { return "aaa", "b" }), 0); same.LengthControlled != nil || same.Ties != 9 {
		t.Errorf("%+v", same)
	}
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
