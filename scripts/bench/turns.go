package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// turns times the runs in turns, in another order each round, after a round to warm up:
// seconds of each run, one of each round.
func turns(ctx context.Context, rounds int, runs ...func() error) ([][]float64, error) {
	times := make([][]float64, len(runs))
	for round := range rounds + 1 {
		for k := range runs {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			i := (k + round) % len(runs)
			begin := time.Now()
			if err := runs[i](); err != nil {
				return nil, err
			}
			if round > 0 {
				times[i] = append(times[i], time.Since(begin).Seconds())
			}
		}
	}
	return times, nil
}

// share prints how fast b is as a share of a's speed, both taken in turns.
func share(a, b []float64) string {
	lo, hi := interval(a, b)
	return fmt.Sprintf("%.3f [%.3f, %.3f]", median(a)/median(b), lo, hi)
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// interval is the 95 % bootstrap interval of the ratio of medians of times that were
// taken in turns.
func interval(bare, other []float64) (lo, hi float64) {
	rng := rand.New(rand.NewPCG(1, 2))
	a, b := make([]float64, len(bare)), make([]float64, len(bare))
	var ratios []float64
	for range 400 {
		for i := range a {
			k := rng.IntN(len(bare))
			a[i], b[i] = bare[k], other[k]
		}
		ratios = append(ratios, median(a)/median(b))
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/40], ratios[len(ratios)-1-len(ratios)/40]
}
