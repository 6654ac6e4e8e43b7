package eval_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// Of data in which prompts, seeds and chance have known parts, the interval is as wide as the variance of
// the mean says, for sp prompts and ss seeds: the pigeonhole bootstrap's is sp^2/P + ss^2/S + about 3 e^2/PS
// (Owen 2007, theorem 4.1), never less than the true one. What two methods have in common falls out of
// their difference.
func TestResampling(t *testing.T) {
	const prompts, seeds, trials = 40, 4, 50
	rng := rand.New(rand.NewPCG(5, 6))
	covered, apart := 0, 0
	for trial := range trials {
		a, b := make([][]float64, seeds), make([][]float64, seeds)
		ofPrompt := make([]float64, prompts)
		for p := range ofPrompt {
			ofPrompt[p] = 2 * rng.NormFloat64()
		}
		for s := range seeds {
			ofSeed := 0.1 * rng.NormFloat64()
			for p := range prompts {
				a[s] = append(a[s], 1+ofPrompt[p]+ofSeed+0.5*rng.NormFloat64())
				b[s] = append(b[s], 0.7+ofPrompt[p]+ofSeed+0.5*rng.NormFloat64())
			}
		}
		r := eval.NewResampling(prompts, seeds, uint64(trial))
		of := r.Of(a)
		if i := of.Interval(); i.Lo <= 1 && 1 <= i.Hi {
			covered++
		}
		d := of.Minus(r.Of(b)).Interval()
		if d.Lo <= 0.3 && 0.3 <= d.Hi {
			apart++
		}
		if math.Abs(d.Mean-(of.Mean-r.Of(b).Mean)) > 1e-12 || d.Hi-d.Lo > 0.5*(of.Interval().Hi-of.Interval().Lo) {
			t.Errorf("the difference %v is no better known than the mean %v", d, of.Interval())
		}
	}
	// 95 of 100, here 47.5 of 50 with a standard deviation of 1.5; that of the difference covers more often, for the two methods' chance counts three times.
	if covered < 43 || apart < 47 {
		t.Errorf("the mean was covered %d times, the difference %d times of %d", covered, apart, trials)
	}
}

// With one seed it is the bootstrap over prompts: the textbook interval.
func TestResamplingOfOneSeed(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	x := make([]float64, 400)
	sum, squares := 0.0, 0.0
	for i := range x {
		x[i] = rng.NormFloat64()
		sum, squares = sum+x[i], squares+x[i]*x[i]
	}
	mean := sum / 400
	half := 1.96 * math.Sqrt((squares/400-mean*mean)/400)
	got := eval.NewResampling(400, 1, 1).Of([][]float64{x}).Interval()
	if math.Abs(got.Mean-mean) > 1e-12 || math.Abs(got.Lo-(mean-half)) > 0.1*half || math.Abs(got.Hi-(mean+half)) > 0.1*half {
		t.Errorf("%v, textbook %g +- %g", got, mean, half)
	}
}

// What is infinite for some prompts is so in the draws that have one of them, and in the mean.
func TestResamplingOfInfinite(t *testing.T) {
	r := eval.NewResampling(3, 1, 1)
	far := math.Inf(1)
	if got := r.Of([][]float64{{1, far, 2}}).Interval(); got.Mean != far || got.Hi != far || !(got.Lo < 3) {
		t.Errorf("%+v", got)
	}
	if got := r.Of([][]float64{{far, far, far}}).Interval(); got != (eval.Interval{Mean: far, Lo: far, Hi: far}) {
		t.Errorf("%+v", got)
	}
}
