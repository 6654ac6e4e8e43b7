package valuehead

import "github.com/ivo-decoding/ivo/internal/fault"

var errCandidates = fault.New(op, "one_pass", nil, "train it with {one_pass}, on states that this version collected", "the target %s asks what the candidates of every state, its likeliest tokens, are worth before they are fed", CDQ)

// nextValues fills in the CD-Q targets of an example from the slow head's values of
// its candidates. Row t of the candidates belongs to the state before token t.
func (t *trainer) nextValues(targets []float32, e Example) error {
	h, c := t.slow, e.Candidates
	if c == nil || !h.CanScoreCandidates() {
		return errCandidates
	}
	m, err := h.Begin(e.Prompt)
	if err != nil {
		return err
	}
	s, tr := h.features.schema, e.Trajectory
	n, ns, k := len(targets), len(s.Scalars), h.shape.outputs()
	values := make([]float32, n*c.K)
	var work scratch
	for i := range n - 1 {
		if err := m.Push(tr.Tokens[i], tr.Hidden[i*s.Width:(i+1)*s.Width], tr.Scalars[i*ns:(i+1)*ns]); err != nil {
			return err
		}
		from, to := (i+1)*c.K, (i+2)*c.K
		h.candidates(&work, []*Memory{m}, [][]int32{c.Tokens[from:to]}, [][]float32{c.Scalars[from*ns : to*ns]})
		for j := range c.K {
			values[i*c.K+j] = h.value(work.out[j*k:(j+1)*k], Reading{})
		}
	}
	NextValues(targets, values, c.LogProbs[min(c.K, len(c.LogProbs)):], c.K, e.Return)
	return nil
}
