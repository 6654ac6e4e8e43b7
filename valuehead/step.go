package valuehead

// step is the next token of several responses that are being decoded, or of each several
// that it may be. Rows are tokens, starts tells the responses apart (see batch).
type step struct {
	turns   []turn
	narrow  []float32 // [n][columns but the wide ones], standardised
	matches [][]match // of each row
	found   []match   // all of them
	weights [][]float32
}

// turn is where a response stands before its next token, as one member of a head sees it.
type turn struct {
	digest *digest
	wide   []float32 // [project], the wide columns projected
	c, s   []float32 // [channels], [scan]
}

// row adds a row that is token after the response in m.
func (s *scratch) row(m *Memory, token int32) {
	from := len(s.found)
	s.found = appendMatches(s.found, m.past.tokens, m.matches, token)
	s.matches = append(s.matches, s.found[from:])
	s.tokens = append(s.tokens, token)
	s.n++
}

// turn makes the turns those of member k and returns its weights.
func (s *scratch) turn(h *Head, k int, params []float32, memories []*Memory) [][]float32 {
	s.turns = s.turns[:0]
	for _, m := range memories {
		s.turns = append(s.turns, m.member(k))
	}
	s.weights = appendParts(s.weights[:0], h.model, params)
	return s.weights
}

// member is what member k of the head knows of the response.
func (m *Memory) member(k int) turn {
	sh := m.head.shape
	j, ch, sc := sh.Project, sh.Channels, sh.Scan
	return turn{&m.past.digest[k], m.wide[k*j : (k+1)*j], m.c[k*ch : (k+1)*ch], m.s[k*sc : (k+1)*sc]}
}

// prepare empties the step and projects the wide columns of each response's next token,
// which wide appends to dst, unless that was done before.
func (h *Head) prepare(s *scratch, memories []*Memory, wide func(a *Accumulator, dst []float32) []float32) {
	s.rewind()
	s.reset()
	s.narrow, s.matches, s.found = s.narrow[:0], s.matches[:0], s.found[:0]
	w, j := h.features.wide, h.shape.Project
	rows := s.floats(len(memories) * w)[:0]
	n := 0
	for _, m := range memories {
		if !m.seen {
			rows = wide(m.acc, rows)
			n++
		}
	}
	if n == 0 {
		return
	}
	h.input.columns(0, w).apply(rows)
	net, out := h.model.(*recallNet), s.floats(n*j)
	for k, params := range h.members() {
		s.weights = appendParts(s.weights[:0], net, params)
		gemm(false, true, n, j, w, 1, rows, w, s.weights[net.project], net.width, 0, out, j)
		at := 0
		for _, m := range memories {
			if !m.seen {
				copy(m.wide[k*j:(k+1)*j], out[at:])
				at += j
			}
		}
	}
	for _, m := range memories {
		m.seen = true
	}
}

// narrow are the scales of the other columns.
func (h *Head) narrow() scaling { return h.input.columns(h.features.wide, h.features.width) }

// next is forward for the step in s: it leaves the memories after each token in
// c [n][channels] and said [n][scan].
func (m *recallNet) next(p [][]float32, s *scratch) (c, said []float32) {
	sh, n := m.shape, s.n
	t := &recallTape{}
	t.joined = s.floats(n * m.joined)
	s.eachRow(func(row int, turn *turn) { copy(t.joined[row*m.joined:], turn.wide) })
	narrow := len(s.narrow) / n
	gemm(false, true, n, sh.Project, narrow, 1, s.narrow, narrow, p[m.project][m.width-narrow:], m.width, 1, t.joined, m.joined)
	m.embed(p, s, t)
	if k := sh.Scan; k > 0 {
		in := m.said.inputs(p[m.scans:], s, n, t.joined)
		said = s.floats(n * k)
		s.eachRow(func(row int, turn *turn) {
			m.said.next(m.said.row(said, row), turn.s, m.said.row(in.a, row), m.said.row(in.g, row))
		})
	}
	m.inputs(s, t, said)
	if sh.looks() {
		m.lookUp(p, s, t)
	}
	m.write(p, s, t)
	decay := m.decays(s.floats(sh.Channels), p[m.decay])
	s.eachRow(func(row int, turn *turn) {
		u := t.u[row*sh.Channels : (row+1)*sh.Channels]
		for j := range u {
			u[j] += decay[j] * turn.c[j]
		}
	})
	return t.u, said
}

// lookUp is look for the step in s, whose prompts are digested.
func (m *recallNet) lookUp(p [][]float32, s *scratch, t *recallTape) {
	n, dk, dv := s.n, m.shape.Keys, m.shape.Values
	t.query = s.floats(n * dk)
	fully(n, dk, m.in, t.x, p[tQuery], nil, t.query)
	read := s.floats(n * dv)
	var alpha []float32
	for first := 0; first < len(s.turns); {
		d := s.turns[first].digest
		from, P := s.starts[first], len(d.key)/dk
		// Responses to one prompt go together, as long as their weights stay in the cache.
		const most = 1 << 16
		last := first + 1
		for last < len(s.turns) && s.turns[last].digest == d && (s.starts[last+1]-from)*(P+1) <= most {
			last++
		}
		to := s.starts[last]
		if size := (to - from) * (P + 1); size > len(alpha) {
			alpha = s.floats(size)
		}
		m.attend(p, P, t.query[from*dk:], *d, s.matches[from:to], alpha, read[from*dv:], t.z[from*m.z:])
		first = last
	}
	m.products(p, s, t, read)
}

// eachRow calls visit for every row with its response.
func (s *scratch) eachRow(visit func(row int, turn *turn)) {
	for i := range s.turns {
		for row := s.starts[i]; row < s.starts[i+1]; row++ {
			visit(row, &s.turns[i])
		}
	}
}
