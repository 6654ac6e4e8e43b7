package valuehead

import "math"

// squash keeps values within what rewards can be, as those of a share or of a sentiment are: the value is
//
//	centre + reach tanh((v - centre) / reach)
//
// of a sum v, which near the centre is v itself. What a token adds to v is the same wherever the
// response stands, while the reward can no longer follow. A reach of 0 leaves values as they are.
type squash struct{ centre, reach float32 }

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

// stretch is the sum whose value is r.
func (s squash) stretch(r float32) float64 {
	if s.reach == 0 {
		return float64(r)
	}
	return float64(s.centre) + float64(s.reach)*math.Atanh(float64(r-s.centre)/float64(s.reach))
}
