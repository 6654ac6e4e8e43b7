package valuehead

func (m *recallNet) backward(params []float32, s *scratch, grad []float32) {
	p, g, t, sh, n := parts(m, params), parts(m, grad), s.tape.(*recallTape), m.shape, s.n
	ch, outs := sh.Channels, sh.outputs()
	dc := s.floats(n * ch)
	if sh.Advantages {
		m.layerBack(s, s.dout, t.c, p, g, m.top, outs, ch, dc)
	} else {
		d := s.floats(n * sh.Hidden)
		m.layerBack(s, s.dout, t.t.act, p, g, m.top+2, outs, sh.Hidden, d)
		siluBack(t.t.z, t.t.sig, t.t.keep, d)
		m.layerBack(s, d, t.c, p, g, m.top, sh.Hidden, ch, dc)
	}
	var dp []float32 // of the prompts' projected rows
	if sh.looks() {
		dp = s.zeros(len(t.p))
	}
	m.accumulateBack(p, g, s, t, dc, dp) // dc is now that of u
	if !sh.Advantages {
		for i, u := range t.u {
			dc[i] *= 1 - u*u
		}
	}
	d := s.floats(n * sh.Hidden)
	m.layerBack(s, dc, t.h.act, p, g, m.hidden+2, ch, sh.Hidden, d)
	siluBack(t.h.z, t.h.sig, t.h.keep, d)
	m.layerBack(s, d, t.z, p, g, m.hidden, sh.Hidden, m.z, nil)

	dx := s.floats(n * m.in)
	gemm(false, false, n, m.in, sh.Hidden, 1, d, sh.Hidden, p[m.hidden], m.z, 0, dx, m.in)
	if sh.looks() {
		cols := m.z - m.atRead
		dz := s.floats(n * cols) // of [r m g]
		gemm(false, false, n, cols, sh.Hidden, 1, d, sh.Hidden, p[m.hidden][m.atRead:], m.z, 0, dz, cols)
		m.lookBack(p, g, s, t, dz, dx, dp)
	}
	joined, j, e := cut(s, dx, n, m.in, 0, m.joined), sh.Project, sh.Embedding
	if sh.Scan > 0 {
		m.said.backward(p[m.scans:], g[m.scans:], s, s.starts, t.joined, t.said, cut(s, dx, n, m.in, m.joined, sh.Scan), joined)
	}
	gemm(true, false, j, m.width, n, 1, joined, m.joined, s.x, m.width, 0, g[m.project], m.width)
	if e > 0 {
		table := g[m.embedding]
		clear(table)
		for i := range n {
			row := table[m.bucket(s.tokens[i])*e:][:e]
			for j, v := range joined[i*m.joined+j : (i+1)*m.joined] {
				row[j] += v
			}
		}
	}
}

// cut copies columns [from, from+count) of the n rows of x, [n][cols].
func cut(s *scratch, x []float32, n, cols, from, count int) []float32 {
	out := s.floats(n * count)
	for i := range n {
		copy(out[i*count:(i+1)*count], x[i*cols+from:])
	}
	return out
}

// layerBack is the backward pass of the layer whose weight is tensor i and whose bias is
// the next: gradients of both, and dx [n][ins] from dy [n][outs] unless it is nil.
func (m *recallNet) layerBack(s *scratch, dy, x []float32, p, g [][]float32, i, outs, ins int, dx []float32) {
	gemm(true, false, outs, ins, s.n, 1, dy, outs, x, ins, 0, g[i], ins)
	sumRows(s.n, dy, g[i+1])
	if dx != nil {
		gemm(false, false, s.n, ins, outs, 1, dy, outs, p[i], ins, 0, dx, ins)
	}
}

// accumulateBack turns dc, the gradient by way of the outputs, into that of u, and adds
// to dp.
func (m *recallNet) accumulateBack(p, g [][]float32, s *scratch, t *recallTape, dc, dp []float32) {
	ch := m.shape.Channels
	dd := s.zeros(ch)
	gs := g[m.start]
	clear(gs)
	if m.promptRow > 0 {
		clear(g[m.start+1])
	}
	for i := range len(s.starts) - 1 {
		from, to := s.starts[i], s.starts[i+1]
		for k := to - 1; k >= from; k-- {
			now := dc[k*ch : (k+1)*ch]
			before := t.start[i*ch : (i+1)*ch]
			if k > from {
				before = t.c[(k-1)*ch : k*ch]
				prev := dc[(k-1)*ch : k*ch]
				for j, v := range now {
					prev[j] += v * t.decay[j]
				}
			}
			for j, v := range now {
				dd[j] += v * before[j]
			}
		}
		first := s.floats(ch) // the gradient of c_0
		for j, v := range dc[from*ch : (from+1)*ch] {
			first[j] = v * t.decay[j]
			gs[j] += first[j]
		}
		if last, j := m.lastOfPrompt(s, t, i), m.shape.Project; last != nil {
			gemm(true, false, ch, j, 1, 1, first, ch, last, j, 1, g[m.start+1], j)
			gemm(false, false, 1, j, ch, 1, first, ch, p[m.start+1], j, 1, dp[m.lastRow(s, i)*j:], j)
		}
	}
	for j, d := range t.decay {
		g[m.decay][j] = dd[j] * d * (1 - d) // 0 where d is fixed at 1
	}
}
