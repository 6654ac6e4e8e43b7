package decode

import (
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// BestOfN draws n responses from the base policy and keeps the one whose last state
// has the highest value,
//
//	argmax_i V(x, y_i),  y_i ~ pi_base(. | x).
func BestOfN(e *engine.Engine, req Request, n int, done func(Response)) (engine.Job, error) {
	if err := req.check(e, true); err != nil {
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
		r.Decoded = decoded
		if emit != nil {
			emit([]byte(r.Text))
		}
		done(r)
	})
}
