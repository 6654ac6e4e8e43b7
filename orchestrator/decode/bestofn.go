package decode

import (
	"math"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// BestOfN draws n responses from the base policy and keeps the one whose last state
// has the highest value,
//
//	argmax_i V(x, y_i),  y_i ~ pi_base(. | x).
//
// Its KL from the base policy is at most log n - (n-1)/n (arXiv 2401.01879).
func BestOfN(e *engine.Engine, req Request, n int, done func(Response)) (engine.Job, error) {
	s := Strategy{Method: MethodBestOfN, N: n}
	if err := s.check(e, req, true); err != nil {
		return engine.Job{}, err
	}
	emit := req.Emit
	req.Emit = nil // which response wins is known at the end only
	return Sample(e, req, n, func(rs []Response) {
		best, decoded := 0, 0
		for i, r := range rs {
			decoded += r.Decoded
			if r.Value > rs[best].Value {
				best = i
			}
		}
		r := rs[best]
		r.Decoded, r.KL, r.KLKind = decoded, bestOfKL(n), KLBound
		if emit != nil {
			emit([]byte(r.Text))
		}
		done(r)
	})
}

// bestOfKL bounds the KL from a policy of taking the best of n of its samples.
func bestOfKL(n int) float64 { return math.Log(float64(n)) - float64(n-1)/float64(n) }
