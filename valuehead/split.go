package valuehead

import (
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
)

// defaultHeldOut is the share of the prompts that [Train] holds out unless told otherwise.
const defaultHeldOut = 0.1

// HeldOutPrompts says which prompts [Train] holds out of trajectories of these prompts, so that
// value functions of other kinds are measured on the same ones. share is
// [TrainOptions.HeldOut]; a prompt may be named more than once.
func HeldOutPrompts(prompts []string, share float64) (map[string]bool, error) {
	if share == 0 {
		share = defaultHeldOut
	}
	if !(share > 0 && share < 1) {
		return nil, fmt.Errorf("valuehead: a fraction %v of the prompts held out (choose one between 0 and 1, such as 0.1)", share)
	}
	var lowest, highest string // by hash: they keep either part from being empty
	low, high := uint64(math.MaxUint64), uint64(0)
	for _, p := range prompts {
		h := xxhash.Sum64String(p)
		if h <= low {
			low, lowest = h, p
		}
		if h >= high {
			high, highest = h, p
		}
	}
	if low >= high {
		return nil, fmt.Errorf("valuehead: the trajectories of %d prompts cannot be parted (collect from at least two prompts)", min(len(prompts), 1))
	}
	limit := uint64(share * (1 << 63) * 2)
	held := make(map[string]bool)
	for _, p := range prompts {
		if p == lowest || p != highest && xxhash.Sum64String(p) < limit {
			held[p] = true
		}
	}
	return held, nil
}

// split parts entries by prompt: about the fraction heldOut of the prompts go to held,
// the others to train, and never the same prompt to both. Where a prompt goes is decided
// by a hash of its name and by nothing else, so a prompt that is held out stays so in
// later rounds and for other seeds.
func split(all []entry, heldOut float64) (train, held []entry, err error) {
	names := make([]string, len(all))
	for i, e := range all {
		names[i] = e.prompt
	}
	out, err := HeldOutPrompts(names, heldOut)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range all {
		if out[e.prompt] {
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
