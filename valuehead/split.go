package valuehead

import (
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
)

// split parts entries by prompt: about the fraction heldOut of the prompts go to held,
// the others to train, and never the same prompt to both. Where a prompt goes is decided
// by a hash of its name and by nothing else, so a prompt that is held out stays so in
// later rounds and for other seeds.
func split(all []entry, heldOut float64) (train, held []entry, err error) {
	if !(heldOut > 0 && heldOut < 1) {
		return nil, nil, fmt.Errorf("valuehead: a fraction %v of the prompts held out (choose one between 0 and 1, such as 0.1)", heldOut)
	}
	var lowest, highest string // by hash: they keep either part from being empty
	low, high := uint64(math.MaxUint64), uint64(0)
	for _, e := range all {
		h := xxhash.Sum64String(e.prompt)
		if h <= low {
			low, lowest = h, e.prompt
		}
		if h >= high {
			high, highest = h, e.prompt
		}
	}
	if low >= high {
		return nil, nil, fmt.Errorf("valuehead: the trajectories of %d prompts cannot be parted (collect from at least two prompts)", prompts(all))
	}
	limit := uint64(heldOut * (1 << 63) * 2)
	for _, e := range all {
		if e.prompt == lowest || e.prompt != highest && xxhash.Sum64String(e.prompt) < limit {
			held = append(held, e)
		} else {
			train = append(train, e)
		}
	}
	return train, held, nil
}

// prompts is the number of different prompts.
func prompts(entries []entry) int {
	seen := make(map[string]bool)
	for _, e := range entries {
		seen[e.prompt] = true
	}
	return len(seen)
}

// tokens is the number of states.
func tokens(entries []entry) (n int) {
	for _, e := range entries {
		n += e.tokens
	}
	return n
}
