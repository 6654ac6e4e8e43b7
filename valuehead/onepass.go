package valuehead

import "fmt"

// CanScoreCandidates reports whether the head values tokens before they are fed; see
// [CandidateFeatures].
func (h *Head) CanScoreCandidates() bool {
	return h.kind == Additive || h.kind == Recall && h.features.ahead()
}

// Candidates is [Head.CandidatesOf] for one response: scalars is
// [k][len(Schema.Scalars)], out [k].
func (h *Head) Candidates(m *Memory, tokens []int32, scalars []float32, r Reading, out []float32) error {
	return h.CandidatesOf([]*Memory{m}, [][]int32{tokens}, [][]float32{scalars}, r, [][]float32{out})
}

// CandidatesOf writes to out[i][j] the value Q(s_t, a) of the response in memories[i]
// continued by the token tokens[i][j], without feeding any, in one small product for all.
// scalars[i] is [len(tokens[i])][len(Schema.Scalars)], of which those whose names begin
// with "next-" are not read. The responses may have different numbers of candidates.
func (h *Head) CandidatesOf(memories []*Memory, tokens [][]int32, scalars [][]float32, r Reading, out [][]float32) error {
	n, ns := len(memories), len(h.features.schema.Scalars)
	if err := h.check(memories, r, n); err != nil {
		return err
	}
	switch {
	case !h.CanScoreCandidates():
		return fmt.Errorf("valuehead: the head needs the state after a token to value it (train one with the features of CandidateFeatures)")
	case len(tokens) != n || len(scalars) != n || len(out) != n:
		return fmt.Errorf("valuehead: %d rows of candidates, %d of scalars and %d of values for %d responses", len(tokens), len(scalars), len(out), n)
	}
	for i, some := range tokens {
		if len(scalars[i]) != len(some)*ns || len(out[i]) < len(some) {
			return fmt.Errorf("valuehead: %d scalars and room for %d values of %d candidates of %d scalars each", len(scalars[i]), len(out[i]), len(some), ns)
		}
	}
	if h.kind == Additive {
		for i, m := range memories {
			for j, token := range tokens[i] {
				out[i][j] = h.bound(h.advantages.squash.of(m.value+h.advantages.token(m.z, m.said, token)), r)
			}
		}
		return nil
	}
	s := h.scratch.Get().(*scratch)
	defer h.scratch.Put(s)
	h.candidates(s, memories, tokens, scalars)
	k, row := h.shape.outputs(), 0
	for i, some := range tokens {
		for j := range some {
			out[i][j] = h.value(s.out[row*k:(row+1)*k], r)
			row++
		}
	}
	return nil
}

// candidates leaves the outputs of all candidates in s.out.
func (h *Head) candidates(s *scratch, memories []*Memory, tokens [][]int32, scalars [][]float32) {
	net, ns := h.model.(*recallNet), len(h.features.schema.Scalars)
	h.prepare(s, memories, (*Accumulator).appendAhead)
	narrow := s.floats(4 * len(h.features.scalars))
	for i, m := range memories {
		for j, token := range tokens[i] {
			next := m.acc.ahead(narrow, scalars[i][j*ns:(j+1)*ns])
			s.narrow = next.appendNarrow(s.narrow)
			s.row(m, token)
		}
		s.starts = append(s.starts, s.n)
	}
	if s.n == 0 {
		return
	}
	h.narrow().apply(s.narrow)
	s.out = s.floats(s.n * h.shape.outputs())
	h.combine(s, func(k int, params []float32) {
		p := s.turn(h, k, params, memories)
		c, _ := net.next(p, s)
		net.read(p, s, c, &mlpTape{})
	})
}
