// Package eval compares policies: it answers test prompts by each method, scores the
// answers, and states means with intervals. It knows nothing of training.
package eval

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/internal/number"
)

// Interval is a mean with its 95 % confidence interval.
type Interval struct {
	Mean float64
	Lo   float64
	Hi   float64
}

type interval struct {
	Mean number.Float `json:"mean"`
	Lo   number.Float `json:"lo"`
	Hi   number.Float `json:"hi"`
}

func (i Interval) MarshalJSON() ([]byte, error) {
	return json.Marshal(interval{number.Float(i.Mean), number.Float(i.Lo), number.Float(i.Hi)})
}

func (i *Interval) UnmarshalJSON(text []byte) error {
	var in interval
	err := json.Unmarshal(text, &in)
	*i = Interval{float64(in.Mean), float64(in.Lo), float64(in.Hi)}
	return err
}

// resamples of the bootstrap: enough that the ends of an interval move by less than a
// fiftieth of its width from seed to seed.
const resamples = 4000

// Bootstrap is the mean of one number a prompt with its percentile bootstrap interval
// (Efron and Tibshirani 1993, section 13.3), prompts being what is resampled. Several
// answers to one prompt are not independent: average them first.
func Bootstrap(perPrompt []float64, seed uint64) Interval {
	n := len(perPrompt)
	if n == 0 {
		return Interval{math.NaN(), math.NaN(), math.NaN()}
	}
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	means := make([]float64, resamples)
	for i := range means {
		sum := 0.0
		for range n {
			sum += perPrompt[rng.IntN(n)]
		}
		means[i] = sum / float64(n)
	}
	slices.Sort(means)
	sum := 0.0
	for _, x := range perPrompt {
		sum += x
	}
	return Interval{sum / float64(n), means[resamples*25/1000], means[resamples*975/1000-1]}
}

// Paired is the mean of a - b over prompts with its interval, as [Bootstrap]'s: a[i] and b[i] are
// what two policies got for prompt i. How hard the prompts are falls out of the difference, so
// it tells policies apart whose own intervals overlap.
func Paired(a, b []float64, seed uint64) Interval {
	differences := make([]float64, len(a))
	for i := range a {
		differences[i] = a[i] - b[i]
	}
	return Bootstrap(differences, seed)
}

// Tied is the largest difference of two rewards that is none.
type Tied float64

// Tie is that of some rewards: a millionth of the range of all of them. Sums and float32s are not exact
// in the last digits, and what is less is no difference that a reward is made to show.
func Tie(rewards ...[]float64) Tied {
	lo, hi, largest := math.Inf(1), math.Inf(-1), 0.0
	for _, xs := range rewards {
		for _, x := range xs {
			lo, hi, largest = min(lo, x), max(hi, x), max(largest, math.Abs(x))
		}
	}
	return Tied(max(1e-6*(hi-lo), 1e-12*largest)) // the latter where all are the same
}

// Win is 1 where a is the larger reward, and one half where both tie.
func (t Tied) Win(a, b float64) float64 {
	switch d := a - b; {
	case d > float64(t):
		return 1
	case d >= -float64(t):
		return 0.5
	}
	return 0
}

// WinRate is the share of prompts on which a beats b; a tie counts one half.
func WinRate(a, b []float64) float64 {
	tie, wins := Tie(a, b), 0.0
	for i := range a {
		wins += tie.Win(a[i], b[i])
	}
	return wins / float64(len(a))
}
