// Package eval compares policies: it answers test prompts by each method, scores the
// answers, and states means with intervals. It knows nothing of training.
package eval

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Interval is a mean with its 95 % confidence interval.
type Interval struct {
	Mean float64 `json:"mean"`
	Lo   float64 `json:"lo"`
	Hi   float64 `json:"hi"`
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

// WinRate is the share of prompts on which a beats b; a tie counts one half.
func WinRate(a, b []float64) float64 {
	wins := 0.0
	for i := range a {
		switch {
		case a[i] > b[i]:
			wins++
		case a[i] == b[i]:
			wins += 0.5
		}
	}
	return wins / float64(len(a))
}
