package valuehead

// MonteCarlo fills in the regression targets of a trajectory's T states: each gets the
// reward of the whole response, so that the loss is 1/2 sum_t (V(s_t) - R(x,y))^2
// (Monte Carlo value estimation, arXiv 2503.02368).
func MonteCarlo(targets []float32, reward float32) {
	for t := range targets {
		targets[t] = reward
	}
}
