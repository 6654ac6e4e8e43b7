package valuehead

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// steps measures how far values move along responses.
type steps struct {
	responses int
	squares   float64
	last      float32
	known     bool
}

// begin starts a response whose V_0 is known or not.
func (s *steps) begin(v float32, known bool) {
	s.responses++
	s.last, s.known = v, known
}

func (s *steps) add(v float32) {
	if s.known {
		d := float64(v) - float64(s.last)
		s.squares += d * d
	}
	s.last, s.known = v, true
}

// unit is the root of the mean over responses of sum_t (V_t - V_{t-1})^2.
func (s *steps) unit() float64 { return math.Sqrt(s.squares / float64(max(s.responses, 1))) }

// UnitOf is the unit of values along responses, those of one after the other, by their steps from
// one to the next: see [Head.Unit].
func UnitOf(values [][]float32) float64 {
	var path steps
	for _, vs := range values {
		path.begin(0, false)
		for _, v := range vs {
			path.add(v)
		}
	}
	return path.unit()
}

// start is V_0 of an example's response, of a head that knows it.
func (h *Head) start(e Example) (v float32, known bool) {
	if h.kind != Additive {
		return 0, false
	}
	return h.advantages.squash.of(h.advantages.start(h.advantages.directionsOf(e.Prompt))), true
}

// valueRows appends to dst the rows of an Additive head: the values of the states, in units
// of the reward's deviation. Without a table yet they are 0.
func (h *Head) valueRows(dst []float32, e Example) ([]float32, error) {
	from := len(dst)
	if h.advantages == nil {
		return append(dst, make([]float32, len(e.Trajectory.Tokens))...), nil
	}
	dst, err := h.advantages.appendValues(dst, e)
	for i := range dst[from:] {
		dst[from+i] = (dst[from+i] - h.rewardMean) / h.rewardScale
	}
	return dst, err
}

// measure is the unit of the advantages over the responses of entries, which were drawn at a temperature.
func (a *Advantages) measure(ctx context.Context, src Source, entries []entry, temp float64) (float64, error) {
	var path steps
	choices := choices{temp: cmp.Or(temp, 1)}
	var values []float32
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		ex, err := src.At(e.index)
		if err != nil {
			return 0, err
		}
		if values, err = a.appendValues(values[:0], ex); err != nil {
			return 0, err
		}
		z := a.directionsOf(ex.Prompt)
		before := a.squash.of(a.start(z))
		path.begin(before, true)
		for _, v := range values {
			path.add(v)
		}
		choices.add(ex.Trajectory, func(said []int32, y int32) float32 {
			v := before
			if n := len(said); n > 0 {
				v = values[n-1]
			}
			return a.squash.slope(v) * a.token(z, said, y)
		})
	}
	if unit := choices.unit(path.responses); unit > 0 {
		return unit, nil
	}
	return path.unit(), nil
}

// choices are what the base policy could have said along responses: the likeliest tokens of every
// state, as far as they are stored, with their probabilities and what they add to the value.
type choices struct {
	temp   float64
	states []int // where the tokens of each begin
	p, a   []float64
}

func (c *choices) add(t *states.Trajectory, adds func(said []int32, y int32) float32) {
	n := len(t.Tokens)
	if n == 0 || len(t.Candidates) == 0 {
		return
	}
	k := len(t.Candidates) / n
	for i := range n {
		from, sum := len(c.p), 0.0
		for j, y := range t.Candidates[i*k : (i+1)*k] {
			p := math.Exp(float64(t.CandidateLogProbs[i*k+j]-t.CandidateLogProbs[i*k]) / c.temp)
			c.p, c.a, sum = append(c.p, p), append(c.a, float64(adds(t.Tokens[:i], y))), sum+p
		}
		for j := range c.p[from:] {
			c.p[from+j] /= sum
		}
		c.states = append(c.states, from)
	}
}

// kl is the sum over the states of KL(q || p), q ~ p exp(beta a).
func (c *choices) kl(beta float64) (sum float64) {
	for i, from := range c.states {
		to := len(c.p)
		if i+1 < len(c.states) {
			to = c.states[i+1]
		}
		most := slices.Max(c.a[from:to])
		z, mean := 0.0, 0.0
		for j := from; j < to; j++ {
			q := c.p[j] * math.Exp(beta*(c.a[j]-most))
			z, mean = z+q, mean+q*(c.a[j]-most)
		}
		sum += beta*mean/z - math.Log(z)
	}
	return sum
}

// unit is that of which 2 move so many responses by 2 nats each; 0 where nothing does.
func (c *choices) unit(responses int) float64 {
	const beta, nats = 2, 2
	want, low, high := nats*float64(responses), 0.0, 1.0
	for c.kl(high) < want {
		if low, high = high, 2*high; high > 1e9 {
			return 0
		}
	}
	for range 50 {
		if mid := (low + high) / 2; c.kl(mid) < want {
			low = mid
		} else {
			high = mid
		}
	}
	return beta / high
}
