package valuehead

import (
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
)

// Split parts the dataset by prompt: about the fraction heldOut of the prompts go to
// held, the others to train, and never the same prompt to both. Where a prompt goes is
// decided by a hash of its name and by nothing else, so a prompt that is held out stays
// so in later rounds and for other seeds. The parts share their rows with d.
func (d *Dataset) Split(heldOut float64) (train, held *Dataset, err error) {
	if !(heldOut > 0 && heldOut < 1) {
		return nil, nil, fmt.Errorf("valuehead: a fraction %v of the prompts held out (choose one between 0 and 1, such as 0.1)", heldOut)
	}
	var lowest, highest string // by hash: they keep either part from being empty
	low, high := uint64(math.MaxUint64), uint64(0)
	for _, t := range d.trajectories {
		h := xxhash.Sum64String(t.prompt)
		if h <= low {
			low, lowest = h, t.prompt
		}
		if h >= high {
			high, highest = h, t.prompt
		}
	}
	if low >= high {
		return nil, nil, fmt.Errorf("valuehead: the trajectories of %d prompts cannot be parted (collect from at least two prompts)", d.prompts())
	}
	limit := uint64(heldOut * (1 << 63) * 2)
	train, held = NewDataset(d.features), NewDataset(d.features)
	for _, t := range d.trajectories {
		part := train
		if t.prompt == lowest || t.prompt != highest && xxhash.Sum64String(t.prompt) < limit {
			part = held
		}
		part.trajectories = append(part.trajectories, t)
		part.states += len(t.targets)
	}
	return train, held, nil
}

// prompts is the number of different prompts.
func (d *Dataset) prompts() int {
	seen := make(map[string]bool)
	for _, t := range d.trajectories {
		seen[t.prompt] = true
	}
	return len(seen)
}
