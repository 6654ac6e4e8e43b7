package valuehead

import (
	"cmp"
	"slices"
)

// Bin is one point of a reliability diagram: states of similar value.
type Bin struct {
	States int     `json:"states"`
	Value  float64 `json:"value"`  // mean
	Return float64 `json:"return"` // mean of what followed; equal to Value where the head is calibrated
}

// calibrationBins is the number of bins of a reliability diagram.
const calibrationBins = 15

// reliability sorts states by value into bins of equally many. States of equal value may
// fall on both sides of an edge; they do so in the order of their returns' appearance.
func reliability(p *pairs) []Bin {
	order := make([]int, len(p.values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.values[a], p.values[b]) })
	bins := make([]Bin, min(calibrationBins, len(order)))
	for b := range bins {
		part := order[len(order)*b/len(bins) : len(order)*(b+1)/len(bins)]
		for _, i := range part {
			bins[b].Value += float64(p.values[i])
			bins[b].Return += float64(p.returns[i])
		}
		bins[b].States = len(part)
		bins[b].Value /= float64(len(part))
		bins[b].Return /= float64(len(part))
	}
	return bins
}
