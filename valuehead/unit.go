package valuehead

import (
	"context"
	"math"
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
	return h.advantages.start(h.advantages.directionsOf(e.Prompt)), true
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

// measure is the unit of the advantages over the responses of entries.
func (a *Advantages) measure(ctx context.Context, src Source, entries []entry) (float64, error) {
	var path steps
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
		path.begin(a.start(a.directionsOf(ex.Prompt)), true)
		for _, v := range values {
			path.add(v)
		}
	}
	return path.unit(), nil
}
