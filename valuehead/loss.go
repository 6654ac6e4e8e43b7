package valuehead

import "math"

// loss is the loss of one state whose outputs are out and whose target is a return. It
// writes weight times its gradient to dout unless that is nil. out is overwritten.
//
//	without atoms  1/2 (V - R)^2 in units of the reward's variance
//	with atoms     sum_i q_i log(q_i / p_i), q standing for R (see Spread)
func (h *Head) loss(out []float32, ret, weight float32, dout, q []float32) float64 {
	if h.atoms == nil {
		v := h.mean(out[0])
		e := (v - ret) / h.rewardScale
		if dout != nil {
			dout[0] = weight * e * h.squash.slope(v)
		}
		return 0.5 * float64(e) * float64(e)
	}
	spread(h.spread, h.atoms, q, ret)
	total := 0.0
	for i, v := range q {
		if v > 0 {
			total += float64(v) * (math.Log(float64(v)) - float64(out[i]))
		}
	}
	total += softmax(out)
	if dout != nil {
		for i, p := range out {
			dout[i] = weight * (p - q[i])
		}
	}
	return total
}

// mean is the value of an output, of a head without atoms.
func (h *Head) mean(out float32) float32 { return h.squash.of(h.rewardMean + h.rewardScale*out) }

// value turns a state's outputs into one number. out is overwritten.
func (h *Head) value(out []float32, r Reading) float32 {
	if h.atoms == nil {
		return h.bound(h.mean(out[0]), r)
	}
	softmax(out)
	d := Distribution{h.atoms, out}
	if h.spread == HLGauss && r.Beta != 0 {
		return h.bound(d.sharpSoft(r.Beta), r)
	}
	return h.bound(d.Read(r), r)
}

// bound keeps a value within what a reading allows.
func (h *Head) bound(v float32, r Reading) float32 {
	if r.Within == 0 {
		return v
	}
	room := float32(r.Within) * h.rewardScale
	return min(max(v, h.rewardMean-room), h.rewardMean+room)
}
