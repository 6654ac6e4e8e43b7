package valuehead

import "math"

// Rerolled is a state with the returns of M >= 2 responses that the policy continued from
// it. Position is the state's relative one in its response, 0 <= Position < 1.
type Rerolled struct {
	Position float64
	Returns  []float32
}

// Ceiling is the R^2 that the true value function V(s) = E[R | s] would reach: no head can
// do better, since what comes after s is chance.
type Ceiling struct {
	States int     `json:"states"`
	R2     float64 `json:"r2"`
	// Deviation is that of V(s) over states, in units of reward.
	Deviation float64 `json:"deviation"`
}

// Ceilings are those of all states, and of the quarters of a response, which compare with
// [Metrics].
type Ceilings struct {
	All      Ceiling    `json:"all"`
	Quarters [4]Ceiling `json:"quarters"`
}

// OracleCeiling estimates the ceiling of states drawn at random from responses of the
// policy, by the law of total variance:
//
//	R^2 = 1 - E[Var(R | s)] / Var(R)
//
// Var(R | s) is estimated without bias from each state's M returns, so the noise of a
// mean over few continuations does not enter; Var(R) is that of all returns, every state
// having the same weight.
func OracleCeiling(states []Rerolled) Ceilings {
	var parts [4][]Rerolled
	for _, s := range states {
		q := min(max(int(4*s.Position), 0), 3)
		parts[q] = append(parts[q], s)
	}
	c := Ceilings{All: ceiling(states)}
	for q, part := range parts {
		c.Quarters[q] = ceiling(part)
	}
	return c
}

func ceiling(states []Rerolled) Ceiling {
	var within, total, mean, n float64
	for _, s := range states {
		if len(s.Returns) < 2 {
			continue
		}
		m, v := meanVariance(s.Returns)
		within += v
		mean += m
		n++
	}
	if n == 0 {
		return Ceiling{}
	}
	mean /= n
	for _, s := range states {
		if len(s.Returns) < 2 {
			continue
		}
		sum := 0.0
		for _, r := range s.Returns {
			d := float64(r) - mean
			sum += d * d
		}
		total += sum / float64(len(s.Returns))
	}
	if total == 0 {
		return Ceiling{States: int(n)}
	}
	return Ceiling{States: int(n), R2: 1 - within/total, Deviation: math.Sqrt(max(0, (total-within)/n))}
}

// meanVariance returns the mean and the unbiased variance.
func meanVariance(x []float32) (mean, variance float64) {
	n := float64(len(x))
	for _, v := range x {
		mean += float64(v) / n
	}
	for _, v := range x {
		d := float64(v) - mean
		variance += d * d / (n - 1)
	}
	return mean, variance
}

// SoftReturn is the Monte Carlo estimate 1/beta log (1/M sum exp(beta R_i)) of V_beta from
// the returns of continuations; it is biased towards the mean, the more the larger beta
// and the smaller M.
func SoftReturn(returns []float32, beta float64) float64 {
	atoms := make([]float32, len(returns))
	p := make([]float32, len(returns))
	for i, r := range returns {
		atoms[i], p[i] = r, 1/float32(len(returns))
	}
	return float64(Distribution{atoms, p}.Soft(beta))
}
