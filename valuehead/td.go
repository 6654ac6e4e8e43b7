package valuehead

// LambdaReturns fills in the TD(lambda) targets of a trajectory's T states from the
// head's own values of them (value-augmented sampling, arXiv 2405.06639; the
// lambda-return of Sutton and Barto, section 12.1, without discount and with a reward at the
// end only):
//
//	G_T = R,  G_t = (1-lambda) V(s_{t+1}) + lambda G_{t+1}
//
// With lambda 1 it is [MonteCarlo]. values and targets may be the same slice.
func LambdaReturns(targets, values []float32, reward float32, lambda float64) {
	l := float32(lambda)
	g, next := reward, float32(0)
	for t := len(targets) - 1; t >= 0; t-- {
		if t < len(targets)-1 {
			g = (1-l)*next + l*g
		}
		next = values[t]
		targets[t] = g
	}
}
