package valuehead

import (
	"math"
	"slices"
)

// look is attention of each response token over its prompt's tokens and a null slot, for
// when nothing there is worth finding. Prompt token j scores
//
//	q_t k_j / sqrt(keys) + bias[L],   q = Wq x, k = Wk e
//
// L being the number of tokens for which response and prompt agree up to t and j (see
// matcher). What is read is r_t = sum alpha v_j with v = Wv e; m_t holds the weight that
// fell on matches of each length, and on nothing.
func (m *recallNet) look(p [][]float32, s *scratch, t *recallTape) {
	sh, n := m.shape, s.n
	dk, dv := sh.Keys, sh.Values
	t.query = s.floats(n * dk)
	m.digest(p, s, t)
	fully(n, dk, m.in, t.x, p[tQuery], nil, t.query)
	t.alpha, t.matches = t.alpha[:0], make([][]match, 0, n)
	read := s.floats(n * dv)
	var all []match
	for i := range len(s.starts) - 1 {
		from, T := s.starts[i], s.starts[i+1]-s.starts[i]
		pf, P := s.promptRows(i)
		var now []match
		for _, token := range s.tokens[from : from+T] {
			at := len(all)
			all = appendMatches(all, s.promptIDs[s.prompt[i]], now, token)
			now = all[at:]
			t.matches = append(t.matches, now)
		}
		alpha := s.floats(T * (P + 1))
		m.attend(p, P, t.query[from*dk:], digest{key: t.key[pf*dk:], val: t.val[pf*dv:]}, t.matches[from:], alpha, read[from*dv:], t.z[from*m.z:])
		t.alpha = append(t.alpha, alpha)
	}
	m.products(p, s, t, read)
}

// attend fills alpha [n][P+1] and read [n][values] for n queries over a prompt of P tokens,
// and the weights by length in the rows of z, from the matches of each query.
func (m *recallNet) attend(p [][]float32, P int, query []float32, d digest, matches [][]match, alpha, read, z []float32) {
	n, dk, dv := len(matches), m.shape.Keys, m.shape.Values
	gemm(false, true, n, P, dk, m.temper(), query, dk, d.key, dk, 0, alpha, P+1)
	for k, now := range matches {
		weigh(alpha[k*(P+1):(k+1)*(P+1)], now, p[tBias], z[k*m.z+m.atM:][:matchLevels+1])
	}
	gemm(false, false, n, dv, P, 1, alpha, P+1, d.val, dv, 0, read, dv)
	for k := range n {
		nothing, row := alpha[k*(P+1)+P], read[k*dv:(k+1)*dv]
		for j, v := range p[tNull] {
			row[j] += nothing * v
		}
	}
}

// products puts what was read, and its products with what was said, into the rows of z.
func (m *recallNet) products(p [][]float32, s *scratch, t *recallTape, read []float32) {
	n, g, dv := s.n, m.shape.Products, m.shape.Values
	t.saidHere, t.foundNow = s.floats(n*g), s.floats(n*g)
	fully(n, g, m.in, t.x, p[tSaid], nil, t.saidHere)
	fully(n, g, dv, read, p[tFound], nil, t.foundNow)
	for i := range n {
		row := t.z[i*m.z:]
		copy(row[m.atRead:], read[i*dv:(i+1)*dv])
		multiply(row[m.atG:m.atG+g], t.saidHere[i*g:], t.foundNow[i*g:])
	}
}

// digest computes the keys and values of the prompts.
func (m *recallNet) digest(p [][]float32, s *scratch, t *recallTape) {
	total, k, w := s.pstarts[len(s.pstarts)-1], m.shape.Scan, m.shape.Project
	t.p = s.floats(total * w)
	fully(total, w, m.promptRow, s.p, p[tPrompt], nil, t.p)
	t.e = t.p
	if k > 0 {
		t.forth = m.forth.forward(p[m.scans+scanTensors:], s, s.pstarts, t.p)
		t.back = m.back.forward(p[m.scans+2*scanTensors:], s, s.pstarts, t.p)
		t.e = s.floats(total * m.found)
		for i := range total {
			row := t.e[i*m.found:]
			copy(row, t.p[i*w:(i+1)*w])
			copy(row[w:], m.forth.row(t.forth.s, i))
			copy(row[w+k:], m.back.row(t.back.s, i))
		}
	}
	t.key, t.val = s.floats(total*m.shape.Keys), s.floats(total*m.shape.Values)
	fully(total, m.shape.Keys, m.found, t.e, p[tKey], nil, t.key)
	fully(total, m.shape.Values, m.found, t.e, p[tValue], nil, t.val)
}

// digestOf computes the keys and values of one prompt, whose rows are standardised.
func (m *recallNet) digestOf(p [][]float32, rows []float32) digest {
	var s scratch
	s.reset()
	s.p, s.pstarts = rows, append(s.pstarts, len(rows)/m.promptRow)
	var t recallTape
	m.digest(p, &s, &t)
	return digest{slices.Clone(t.key), slices.Clone(t.val), slices.Clone(t.p[len(t.p)-m.shape.Project:])}
}

// digestBack is the backward pass of digest. dp holds the gradient of the prompts'
// projected rows by other ways.
func (m *recallNet) digestBack(p, g [][]float32, s *scratch, t *recallTape, dkey, dval, dp []float32) {
	total, k, w, dk, dv := s.pstarts[len(s.pstarts)-1], m.shape.Scan, m.shape.Project, m.shape.Keys, m.shape.Values
	gemm(true, false, dk, m.found, total, 1, dkey, dk, t.e, m.found, 0, g[tKey], m.found)
	gemm(true, false, dv, m.found, total, 1, dval, dv, t.e, m.found, 0, g[tValue], m.found)
	back := func(at, cols int, d []float32) { // adds the gradient of some columns of e
		gemm(false, false, total, cols, dk, 1, dkey, dk, p[tKey][at:], m.found, 1, d, cols)
		gemm(false, false, total, cols, dv, 1, dval, dv, p[tValue][at:], m.found, 1, d, cols)
	}
	back(0, w, dp)
	if k > 0 {
		for i, c := range []scan{m.forth, m.back} {
			d, from := s.zeros(total*k), m.scans+(i+1)*scanTensors
			back(w+i*k, k, d)
			c.backward(p[from:], g[from:], s, s.pstarts, t.p, []scanTape{t.forth, t.back}[i], d, dp)
		}
	}
	gemm(true, false, w, m.promptRow, total, 1, dp, w, s.p, m.promptRow, 0, g[tPrompt], m.promptRow)
}

// temper is the factor of the scores of attention.
func (m *recallNet) temper() float32 { return float32(1 / math.Sqrt(float64(m.shape.Keys))) }

func multiply(dst, a, b []float32) {
	for j := range dst {
		dst[j] = a[j] * b[j]
	}
}

// weigh turns the scores q k of one token, [P] and room for the null slot, into weights
// of attention, and sums them by the length of the match. Where nothing matches, which is
// nearly everywhere, the bias is left out, and taken from all others instead.
func weigh(scores []float32, matches []match, bias, byLevel []float32) {
	last := len(scores) - 1
	scores[last] = bias[matchLevels] - bias[0]
	for _, m := range matches {
		scores[m.at] += bias[m.length] - bias[0]
	}
	share := 1 / exps(scores, largest(scores))
	for j := range scores {
		scores[j] *= share
	}
	clear(byLevel)
	byLevel[matchLevels] = scores[last]
	rest := 1 - scores[last]
	for _, m := range matches {
		byLevel[m.length] += scores[m.at]
		rest -= scores[m.at]
	}
	byLevel[0] = max(rest, 0)
}

// lookBack takes dz, the gradient of [r m g] for each row, and adds to dx, that of
// x, and to dp, that of the prompts' projected rows.
func (m *recallNet) lookBack(p, g [][]float32, s *scratch, t *recallTape, dz, dx, dp []float32) {
	sh, n, cols := m.shape, s.n, m.z-m.atRead
	dk, dv, dg := sh.Keys, sh.Values, sh.Products
	read := s.floats(n * dv)
	dread, dsaid, dfound := s.floats(n*dv), s.floats(n*dg), s.floats(n*dg)
	for i := range n {
		copy(read[i*dv:], t.z[i*m.z+m.atRead:][:dv])
		row := dz[i*cols:]
		copy(dread[i*dv:], row[:dv])
		d := row[m.atG-m.atRead:][:dg]
		multiply(dsaid[i*dg:(i+1)*dg], d, t.foundNow[i*dg:])
		multiply(dfound[i*dg:(i+1)*dg], d, t.saidHere[i*dg:])
	}
	gemm(true, false, dg, m.in, n, 1, dsaid, dg, t.x, m.in, 0, g[tSaid], m.in)
	gemm(true, false, dg, dv, n, 1, dfound, dg, read, dv, 0, g[tFound], dv)
	gemm(false, false, n, dv, dg, 1, dfound, dg, p[tFound], dv, 1, dread, dv)

	total := s.pstarts[len(s.pstarts)-1]
	dkey, dval, dquery := s.zeros(total*dk), s.zeros(total*dv), s.zeros(n*dk)
	clear(g[tBias])
	clear(g[tNull])
	for i, alpha := range t.alpha {
		from, T := s.starts[i], s.starts[i+1]-s.starts[i]
		pf, P := s.promptRows(i)
		d := s.floats(T * (P + 1)) // of alpha, then of the scores
		gemm(false, true, T, P, dv, 1, dread[from*dv:], dv, t.val[pf*dv:], dv, 0, d, P+1)
		gemm(true, false, P, dv, T, 1, alpha, P+1, dread[from*dv:], dv, 1, dval[pf*dv:], dv)
		for k := range T {
			a, da := alpha[k*(P+1):(k+1)*(P+1)], d[k*(P+1):(k+1)*(P+1)]
			byLevel := dz[(from+k)*cols+m.atM-m.atRead:][:matchLevels+1]
			dr := dread[(from+k)*dv : (from+k+1)*dv]
			da[P] = byLevel[matchLevels]
			for j, v := range p[tNull] {
				da[P] += dr[j] * v
				g[tNull][j] += dr[j] * a[P]
			}
			matches := t.matches[from+k]
			for j := range P {
				da[j] += byLevel[0]
			}
			for _, x := range matches {
				da[x.at] += byLevel[x.length] - byLevel[0]
			}
			mean, rest := float32(0), float32(0)
			for j, v := range a {
				mean += v * da[j]
			}
			for j, v := range a {
				da[j] = v * (da[j] - mean)
				rest += da[j]
			}
			for _, x := range matches {
				g[tBias][x.length] += da[x.at]
				rest -= da[x.at]
			}
			g[tBias][matchLevels] += da[P]
			g[tBias][0] += rest - da[P]
		}
		gemm(false, false, T, dk, P, m.temper(), d, P+1, t.key[pf*dk:], dk, 0, dquery[from*dk:], dk)
		gemm(true, false, P, dk, T, m.temper(), d, P+1, t.query[from*dk:], dk, 1, dkey[pf*dk:], dk)
	}
	gemm(true, false, dk, m.in, n, 1, dquery, dk, t.x, m.in, 0, g[tQuery], m.in)
	m.digestBack(p, g, s, t, dkey, dval, dp)
	gemm(false, false, n, m.in, dk, 1, dquery, dk, p[tQuery], m.in, 1, dx, m.in)
	gemm(false, false, n, m.in, dg, 1, dsaid, dg, p[tSaid], m.in, 1, dx, m.in)
}
