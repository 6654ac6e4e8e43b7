package valuehead

import (
	"math"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Distribution is what a categorical head believes of the return R of a state: the
// probability of each of its atoms, in rising order of returns.
type Distribution struct {
	Atoms []float32 // [K] returns, equally spaced
	P     []float32 // [K], sum 1
}

// Mean is E[R].
func (d Distribution) Mean() float32 {
	sum := 0.0
	for i, p := range d.P {
		sum += float64(p) * float64(d.Atoms[i])
	}
	return float32(sum)
}

// Soft is V_beta = 1/beta log E[exp(beta R)], the value whose tilt is optimal for reward
// minus KL/beta (the soft value of KL-regularised control, arXiv 2310.17022). It is the mean at
// beta 0, the largest return of any probability at +Inf and the least at -Inf: a negative beta is
// averse to risk.
func (d Distribution) Soft(beta float64) float32 {
	low, high := math.Inf(1), math.Inf(-1) // of the returns of any probability
	total, mean := 0.0, 0.0                // P sums to 1 in single precision only
	for i, p := range d.P {
		if a := float64(d.Atoms[i]); p > 0 {
			low, high = min(low, a), max(high, a)
			total, mean = total+float64(p), mean+float64(p)*a
		}
	}
	mean /= total
	if math.Abs(beta)*(high-low) < 1e-5 {
		// The logarithm would have lost all digits: the first two cumulants. The third is beta^2 of
		// at most a tenth of the range cubed.
		variance := 0.0
		for i, p := range d.P {
			variance += float64(p) * (float64(d.Atoms[i]) - mean) * (float64(d.Atoms[i]) - mean)
		}
		return float32(mean + beta/2*variance/total)
	}
	top := high
	if beta < 0 {
		top = low
	}
	if math.IsInf(beta, 0) {
		return float32(top)
	}
	sum := 0.0
	for i, p := range d.P {
		if p > 0 {
			sum += float64(p) * math.Exp(beta*(float64(d.Atoms[i])-top))
		}
	}
	return float32(top + math.Log(sum/total)/beta)
}

// Quantile is the least atom r with P(R <= r) >= q, for q from 0 to 1.
func (d Distribution) Quantile(q float64) float32 {
	const rounding = 1e-6 // of probabilities in single precision
	sum, last := 0.0, float32(math.NaN())
	for i, p := range d.P {
		if p <= rounding {
			continue
		}
		sum, last = sum+float64(p), d.Atoms[i]
		if sum >= q-rounding {
			break
		}
	}
	return last
}

// Pessimistic is the mean of the worst share of the returns, 0 < share <= 1 (conditional
// value at risk); with share 1 it is the mean.
func (d Distribution) Pessimistic(share float64) float32 {
	sum, left := 0.0, share
	for i, p := range d.P {
		w := min(float64(p), left)
		sum += w * float64(d.Atoms[i])
		if left -= w; left <= 0 {
			break
		}
	}
	return float32(sum / (share - max(left, 0)))
}

// Reading says which number of the distribution a value is, and how far values may go. The zero value
// is the mean, which is all that a head without atoms can give, wherever it lies.
type Reading struct {
	Beta        float64 // V_beta; 0 for none
	Pessimistic float64 // share of the worst returns; 0 for none
	Quantile    float64 // q of the least return r with P(R <= r) >= q; 0 for none
	// Within is how many standard deviations of the rewards of training a value may be from their mean: one that says more
	// is as far as that. 0 for any. What is added up over a response has no end by itself, and rewards have.
	Within float64 `json:",omitzero"`
}

// distribution says whether it takes one.
func (r Reading) distribution() bool { return r.Beta != 0 || r.Pessimistic != 0 || r.Quantile != 0 }

// Check returns an error unless the reading is of one kind and in range.
func (r Reading) Check() error {
	chosen := 0
	for _, v := range []float64{r.Beta, r.Pessimistic, r.Quantile} {
		if v != 0 {
			chosen++
		}
	}
	switch {
	case chosen > 1:
		return fault.New(op, "value_beta", nil, "choose one; a negative {value_beta} is averse to risk", "a value that is two of soft, pessimistic and a quantile at once")
	case math.IsNaN(r.Beta) || !(r.Pessimistic >= 0 && r.Pessimistic <= 1) || !(r.Quantile >= 0 && r.Quantile <= 1):
		return fault.New(op, "quantile", 1, "share and quantile lie between 0 and 1", "beta %v, pessimistic share %v, quantile %v", r.Beta, r.Pessimistic, r.Quantile)
	case !(r.Within >= 0):
		return fault.New(op, "value_within", nil, "set {value_within} to a number of standard deviations, or to 0 for values of any size", "values within %v standard deviations", r.Within)
	}
	return nil
}

// CheckReading returns an error unless the head can give this value: one without atoms knows
// the mean alone.
func (h *Head) CheckReading(r Reading) error {
	if err := r.Check(); err != nil {
		return err
	}
	if r.distribution() && h.atoms == nil {
		return fault.New(op, "value_head", nil, "train one with {atoms}, or ask for the mean", "the head knows the mean of the return alone, not its distribution")
	}
	return nil
}

// Read is the number of the distribution that r says.
func (d Distribution) Read(r Reading) float32 {
	switch {
	case r.Beta != 0:
		return d.Soft(r.Beta)
	case r.Pessimistic != 0:
		return d.Pessimistic(r.Pessimistic)
	case r.Quantile != 0:
		return d.Quantile(r.Quantile)
	}
	return d.Mean()
}

// Spread says how a categorical head's target, one return, becomes a distribution.
type Spread string

const (
	// HLGauss integrates a normal distribution around the return, of deviation 0.75
	// atoms, over each atom's interval (arXiv 2403.03950, section 3.1).
	HLGauss Spread = "hl-gauss"
	// TwoHot shares the weight between the two atoms on either side, so that the mean is
	// the return (the same, section 3.1; arXiv 1707.06887 projects so).
	TwoHot Spread = "two-hot"
)

// The deviation of HL-Gauss and the room that its tails have beyond the returns, in atoms.
const (
	hlGaussDeviation = 0.75
	hlGaussMargin    = 2
)

// sharpSoft is Soft without what HL-Gauss put in: its targets are returns with a
// noise of variance v, so that V_beta of what the head learned is larger by beta v / 2 (the
// cumulant of a normal distribution; the atoms' width adds that of a uniform one). A tilt moves
// the noise by beta v: where that is beyond the two atoms' room that it has, beyond a beta of three
// in units of an atom, the noise hides what a larger one would see, and the value stays. The
// result lies on its side of the mean.
func (d Distribution) sharpSoft(beta float64) float32 {
	const v = hlGaussDeviation*hlGaussDeviation + 1./12 // in atoms squared
	step := float64(d.Atoms[1]) - float64(d.Atoms[0])
	beta = min(max(beta, -hlGaussMargin/v/step), hlGaussMargin/v/step)
	sharp := d.Soft(beta) - float32(beta*v*step*step/2)
	if mean := d.Mean(); beta > 0 {
		return max(sharp, mean)
	} else {
		return min(sharp, mean)
	}
}

// atomsFor places k atoms over the returns from low to high, with room for the tails of
// HL-Gauss on either side.
func atomsFor(k int, low, high float32, s Spread) []float32 {
	if high-low < 1e-3 {
		low, high = low-0.5e-3, high+0.5e-3
	}
	margin := 0
	if s == HLGauss && k > 9 {
		margin = hlGaussMargin
	}
	step := (float64(high) - float64(low)) / float64(k-1-2*margin)
	atoms := make([]float32, k)
	for i := range atoms {
		atoms[i] = float32(float64(low) + step*float64(i-margin))
	}
	return atoms
}

// spread fills q with the distribution that stands for a return. Returns beyond the
// atoms count as the nearest one.
func spread(s Spread, atoms, q []float32, ret float32) {
	clear(q)
	last := len(atoms) - 1
	step := float64(atoms[last]-atoms[0]) / float64(last)
	at := min(max(float64(ret-atoms[0])/step, 0), float64(last))
	if s == TwoHot {
		i := min(int(at), last-1)
		f := float32(at - float64(i))
		q[i], q[i+1] = 1-f, f
		return
	}
	below := func(edge float64) float64 { // P(N(at, deviation) < edge)
		return 0.5 * math.Erfc((at-edge)/(hlGaussDeviation*math.Sqrt2))
	}
	first, end := below(-0.5), below(float64(last)+0.5)
	prev := first
	for i := range q {
		next := below(float64(i) + 0.5)
		q[i] = float32((next - prev) / (end - first))
		prev = next
	}
}

// softmax turns logits into probabilities in place and returns the log of their sum.
func softmax(logits []float32) float64 {
	top := largest(logits)
	sum := exps(logits, top)
	for i := range logits {
		logits[i] /= sum
	}
	return float64(top) + math.Log(float64(sum))
}
