package valuehead

import (
	"errors"
	"math"
)

// squash keeps values within what rewards can be, as those of a share or of a sentiment are: the value is
//
//	centre + reach tanh((v - centre) / reach)
//
// of a sum v, which near the centre is v itself. What a token adds to v is the same wherever the
// response stands, while the reward can no longer follow. A reach of 0 leaves values as they are.
type squash struct{ centre, reach float32 }

// check reports what no squash is.
func (s squash) check() error {
	if !finite(s.centre) || !finite(s.reach) || s.reach < 0 {
		return errors.New("its values cannot be squashed so")
	}
	return nil
}

// named is its tensor; none where values stay as they are.
func (s squash) named(name string) []namedTensor {
	if s.reach == 0 {
		return nil
	}
	return []namedTensor{{name, 1, 2, []float32{s.centre, s.reach}}}
}

// readSquash is the squash of such a tensor.
func readSquash(data []float32) squash {
	if len(data) != 2 {
		return squash{}
	}
	return squash{data[0], data[1]}
}

// beyond is how far squashed values may lie outside the returns, as a share of half their range, so
// that the sum of none is infinite.
const beyond = 0.03

// squashOf is that of returns; none where all are the same.
func squashOf(returns []float32) squash {
	if len(returns) == 0 {
		return squash{}
	}
	low, high := returns[0], returns[0]
	for _, r := range returns {
		low, high = min(low, r), max(high, r)
	}
	return squash{(low + high) / 2, (high - low) / 2 * (1 + beyond)}
}

// of is the value of a sum.
func (s squash) of(v float32) float32 {
	if s.reach == 0 {
		return v
	}
	return s.centre + s.reach*float32(math.Tanh(float64(v-s.centre)/float64(s.reach)))
}

// slope is the derivative of the value v by its sum.
func (s squash) slope(v float32) float32 {
	if s.reach == 0 {
		return 1
	}
	t := (v - s.centre) / s.reach
	return 1 - t*t
}

// stretch is the sum whose value is r.
func (s squash) stretch(r float32) float64 {
	if s.reach == 0 {
		return float64(r)
	}
	return float64(s.centre) + float64(s.reach)*math.Atanh(float64(r-s.centre)/float64(s.reach))
}
