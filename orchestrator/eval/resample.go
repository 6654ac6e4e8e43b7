package eval

import (
	"math/rand/v2"
	"slices"
)

// Resampling draws prompts and seeds anew, each independently of the other, as a bootstrap of data
// that both have a part in has to (Owen 2007, the pigeonhole bootstrap; with one seed it is the
// bootstrap over prompts). All means are taken over the same draws, so that their differences are
// those of methods on the same prompts under the same seeds.
type Resampling struct {
	prompts, seeds int
	// How often each is drawn, [resample][prompt] and [resample][seed].
	ofPrompt, ofSeed [][]float64
}

// NewResampling draws them.
func NewResampling(prompts, seeds int, seed uint64) *Resampling {
	rng := rand.New(rand.NewPCG(seed, uint64(prompts)))
	r := &Resampling{prompts: prompts, seeds: seeds}
	draw := func(n int) []float64 {
		counts := make([]float64, n)
		for range n {
			counts[rng.IntN(n)]++
		}
		return counts
	}
	for range resamples {
		r.ofPrompt, r.ofSeed = append(r.ofPrompt, draw(prompts)), append(r.ofSeed, draw(seeds))
	}
	return r
}

// Means are the mean of values, [seed][prompt], and those of its resamples.
type Means struct {
	Mean  float64
	means []float64
}

// Of takes the means of values, [seed][prompt].
func (r *Resampling) Of(values [][]float64) Means {
	m := Means{means: make([]float64, resamples)}
	n := float64(r.prompts * r.seeds)
	for _, of := range values {
		for _, x := range of {
			m.Mean += x / n
		}
	}
	for i := range m.means {
		sum := 0.0
		for s, of := range values {
			weight, part := r.ofSeed[i][s], 0.0
			if weight == 0 {
				continue
			}
			for p, x := range of {
				if n := r.ofPrompt[i][p]; n > 0 { // for 0 times what is infinite is no number
					part += n * x
				}
			}
			sum += weight * part
		}
		m.means[i] = sum / n
	}
	return m
}

// Interval is the mean with its percentile interval.
func (m Means) Interval() Interval {
	sorted := slices.Sorted(slices.Values(m.means))
	return Interval{m.Mean, sorted[resamples*25/1000], sorted[resamples*975/1000-1]}
}

// Minus is the difference of two means, resample by resample: the paired bootstrap.
func (m Means) Minus(other Means) Means {
	d := Means{m.Mean - other.Mean, slices.Clone(m.means)}
	for i, x := range other.means {
		d.means[i] -= x
	}
	return d
}

// Over is the ratio of two means, resample by resample.
func (m Means) Over(other Means) Means {
	q := Means{m.Mean / other.Mean, slices.Clone(m.means)}
	for i, x := range other.means {
		q.means[i] /= x
	}
	return q
}
