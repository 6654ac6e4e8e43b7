package eval_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// On normal data the bootstrap's interval is the textbook one, mean +- 1.96 s/sqrt(n),
// and it covers the true mean about 95 times in 100.
func TestBootstrap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n, trials = 200, 200
	covered := 0
	for trial := range trials {
		x := make([]float64, n)
		sum, squares := 0.0, 0.0
		for i := range x {
			x[i] = 3 + 2*rng.NormFloat64()
			sum += x[i]
			squares += x[i] * x[i]
		}
		mean := sum / n
		half := 1.96 * math.Sqrt((squares/n-mean*mean)/n)
		got := eval.Bootstrap(x, uint64(trial))
		if math.Abs(got.Mean-mean) > 1e-9 {
			t.Fatalf("mean %g, not %g", got.Mean, mean)
		}
		if math.Abs(got.Lo-(mean-half)) > 0.15*half || math.Abs(got.Hi-(mean+half)) > 0.15*half {
			t.Errorf("[%g, %g], textbook [%g, %g]", got.Lo, got.Hi, mean-half, mean+half)
		}
		if got.Lo <= 3 && 3 <= got.Hi {
			covered++
		}
	}
	// 95 % of 200 is 190, with a standard deviation of 3.
	if covered < 178 {
		t.Errorf("the true mean was covered %d times of %d", covered, trials)
	}
	if a, b := eval.Bootstrap([]float64{1, 2, 5}, 7), eval.Bootstrap([]float64{1, 2, 5}, 7); a != b {
		t.Errorf("the same seed gave %v and %v", a, b)
	}
	if got := eval.Bootstrap(nil, 1); !math.IsNaN(got.Mean) {
		t.Errorf("no data gave %v", got)
	}
}

// Of prompts that differ much and policies that differ little, the paired interval is the
// textbook one of the differences, covers the true difference 95 times in 100, and is far narrower
// than what the two intervals leave open; turned around it changes its sign.
func TestPaired(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const n, trials, gain = 150, 200, 0.2
	covered := 0
	for trial := range trials {
		a, b := make([]float64, n), make([]float64, n)
		sum, squares := 0.0, 0.0
		for i := range a {
			prompt := 3 * rng.NormFloat64()
			a[i], b[i] = prompt+gain+0.5*rng.NormFloat64(), prompt+0.5*rng.NormFloat64()
			d := a[i] - b[i]
			sum += d
			squares += d * d
		}
		mean := sum / n
		half := 1.96 * math.Sqrt((squares/n-mean*mean)/n)
		got := eval.Paired(a, b, uint64(trial))
		if math.Abs(got.Mean-mean) > 1e-9 || math.Abs(got.Lo-(mean-half)) > 0.15*half || math.Abs(got.Hi-(mean+half)) > 0.15*half {
			t.Errorf("%v, textbook %g [%g, %g]", got, mean, mean-half, mean+half)
		}
		if got.Lo <= gain && gain <= got.Hi {
			covered++
		}
		if alone := eval.Bootstrap(a, 1); got.Hi-got.Lo > (alone.Hi-alone.Lo)/2 {
			t.Errorf("the difference is known to %g, one policy to %g", got.Hi-got.Lo, alone.Hi-alone.Lo)
		}
		if turned := eval.Paired(b, a, uint64(trial)); math.Abs(turned.Mean+mean) > 1e-9 || math.Abs(turned.Lo+got.Hi) > 0.15*half {
			t.Errorf("turned around %v is %v", got, turned)
		}
	}
	if covered < 178 { // see TestBootstrap
		t.Errorf("the true difference was covered %d times of %d", covered, trials)
	}
}

func TestWinRate(t *testing.T) {
	if got := eval.WinRate([]float64{1, 2, 3, 4}, []float64{0, 2, 4, 0}); got != 0.625 {
		t.Errorf("two wins, a tie and a loss are %g", got)
	}
	// Rounding is no win, whatever the scale; a small difference that is none is.
	for _, scale := range []float64{1e-9, 1, 1e9} {
		for _, c := range []struct{ a, b, want float64 }{{0.3, 0.1 + 0.2, 0.5}, {0.1 + 0.2, 0.3, 0.5}, {0.301, 0.3, 1}, {0.3, 0.301, 0}} {
			for _, others := range [][]float64{{}, {-1, 2}} {
				a, b := []float64{scale * c.a}, []float64{scale * c.b}
				want := c.want
				for _, x := range others {
					a, b = append(a, scale*x), append(b, scale*x)
					want += 0.5
				}
				if got := eval.WinRate(a, b); math.Abs(got-want/float64(len(a))) > 1e-12 {
					t.Errorf("%v against %v: %v", a, b, got)
				}
			}
		}
	}
}
