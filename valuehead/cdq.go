package valuehead

import "math"

// NextValues fills in the CD-Q targets of a trajectory's T states (controlled decoding,
// CD-Q of arXiv 2310.17022): a state is worth what its successors are worth on
// average under the policy, and the last one its reward,
//
//	G_T = R,  G_t = sum_a p(a | s_t) V(s_t, a) / sum_a p(a | s_t)
//
// the sums running over the k likeliest next tokens a. Row t of values and logps, [T][k],
// holds V(s_t, a) and log p(a | s_t); the row of the last state is not read. No states
// of tokens that were not taken are stored, so V(s_t, a) must come from a head that
// scores candidates without them; see [Head.Candidates].
func NextValues(targets, values, logps []float32, k int, reward float32) {
	for t := range targets {
		if t == len(targets)-1 {
			targets[t] = reward
			return
		}
		var sum, mass float64
		for j := t * k; j < (t+1)*k; j++ {
			p := math.Exp(float64(logps[j]))
			sum += p * float64(values[j])
			mass += p
		}
		targets[t] = float32(sum / mass)
	}
}
