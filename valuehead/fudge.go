package valuehead

import "github.com/ivo-decoding/ivo/valuehead/states"

// OutcomeOfFirst reports whether a trajectory serves FUDGE's predictor, and fills in its
// targets if so: every prefix is labelled with the outcome of its text, and there is one
// text for each prompt (arXiv 2104.05218, section 3; with a real reward in place of a
// class, the regression of arXiv 2310.17022). It is Monte Carlo estimation from the first
// sample of each prompt alone.
func OutcomeOfFirst(targets []float32, t *states.Trajectory) bool {
	if t.Sample != 0 {
		return false
	}
	MonteCarlo(targets, t.Reward)
	return true
}
