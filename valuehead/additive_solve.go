package valuehead

import (
	"context"
	"fmt"
	"math"
)

// solution is a fit: U [rank+1][width], q [dirs], and what they were made from.
type solution struct {
	fit    AdditiveFit
	v0     float64
	f, g   []float32 // [n][rank+1], [n][dirs]
	u, q   []float32
	words  []float64 // [distinct tokens], what <c, H> is of each; nil without
	unseen float64   // and of a token that no response says
}

// factors makes the solution's f and g.
func (a *additive) factors(fit AdditiveFit) *solution {
	s := &solution{fit: fit, u: make([]float32, (fit.Rank+1)*a.width)}
	by := float32(math.Sqrt(fit.Product / float64(max(fit.Rank, 1))))
	start := float32(math.Sqrt(fit.Prompt / float64(max(a.dirs, 1))))
	for i := range a.n {
		s.f = append(s.f, 1)
		z := a.z[i*a.dirs : (i+1)*a.dirs]
		s.f = appendScaled(s.f, z[:fit.Rank], by)
		if fit.Prompt > 0 {
			s.g = appendScaled(s.g, z, start)
		}
	}
	s.q = make([]float32, len(s.g)/max(a.n, 1))
	if fit.Words > 0 {
		s.words = make([]float64, len(a.rows))
	}
	return s
}

// combine sets U = sum_i x_i f_i S_i, c = words sum_i x_i H_i and q = sum_i x_i g_i.
func (a *additive) combine(s *solution, x []float64) {
	const block = 512
	k, d, w := s.fit.Rank+1, len(s.q), a.width
	clear(s.u)
	q := make([]float64, d)
	weighted := make([]float32, block*k)
	for from := 0; from < a.n; from += block {
		n := min(block, a.n-from)
		for i := range n {
			v := x[from+i]
			for j, f := range s.f[(from+i)*k:][:k] {
				weighted[i*k+j] = float32(v) * f
			}
			for j, g := range s.g[(from+i)*d:][:d] {
				q[j] += v * float64(g)
			}
		}
		gemm(true, false, k, w, n, 1, weighted, k, a.sums[from*w:], w, 1, s.u, w)
	}
	for j, v := range q {
		s.q[j] = float32(v)
	}
	if s.words != nil {
		a.combineWords(s, x)
	}
}

// combineWords sets c, less what the mean token has of it.
func (a *additive) combineWords(s *solution, x []float64) {
	clear(s.words)
	said := 0.0
	for i, text := range a.texts {
		for _, t := range text {
			if t != again {
				s.words[t] += x[i]
				said += x[i]
			}
		}
	}
	by := s.fit.Words / max(a.apart, 1e-12)
	s.unseen = 0
	for t, p := range a.share {
		s.words[t] = by * (s.words[t] - said*p)
		s.unseen -= p * s.words[t]
	}
	for t := range s.words {
		s.words[t] += s.unseen
	}
}

// predict writes the values at the end of all responses, less v0, to y.
func (a *additive) predict(s *solution, y []float64) {
	const block = 512
	k, d, w := s.fit.Rank+1, len(s.q), a.width
	dot := make([]float32, block*k)
	for from := 0; from < a.n; from += block {
		n := min(block, a.n-from)
		gemm(false, true, n, k, w, 1, a.sums[from*w:], w, s.u, w, 0, dot, k)
		for i := range n {
			v := 0.0
			for j, f := range s.f[(from+i)*k:][:k] {
				v += float64(f) * float64(dot[i*k+j])
			}
			for j, g := range s.g[(from+i)*d:][:d] {
				v += float64(g) * float64(s.q[j])
			}
			if s.words != nil {
				for _, t := range a.texts[from+i] {
					if t != again {
						v += s.words[t]
					}
				}
			}
			y[from+i] = v
		}
	}
}

// solve fits the responses but those of a fold, -1 for all, until the residual is the share
// of the returns' own length that is given.
func (a *additive) solve(fit AdditiveFit, without int, tolerance float64) *solution {
	s := a.factors(fit)
	in, n, squash := make([]bool, a.n), 0.0, a.squashOf(fit)
	for i, f := range a.fold {
		if in[i] = f != without; in[i] {
			s.v0 += squash.stretch(a.returns[i])
			n++
		}
	}
	s.v0 /= max(n, 1)
	x, r, p, kp := make([]float64, a.n), make([]float64, a.n), make([]float64, a.n), make([]float64, a.n)
	rr := 0.0
	for i, v := range a.returns {
		if in[i] {
			r[i] = squash.stretch(v) - s.v0
			rr += r[i] * r[i]
		}
	}
	copy(p, r)
	for enough, step := rr*tolerance*tolerance, 0; rr > enough && step < 1000; step++ {
		a.combine(s, p)
		a.predict(s, kp)
		pkp := 0.0
		for i := range kp {
			if kp[i] += fit.Lambda * p[i]; !in[i] {
				kp[i] = 0
			}
			pkp += p[i] * kp[i]
		}
		alpha, before := rr/pkp, rr
		rr = 0
		for i := range x {
			x[i] += alpha * p[i]
			r[i] -= alpha * kp[i]
			rr += r[i] * r[i]
		}
		for i := range p {
			p[i] = r[i] + rr/before*p[i]
		}
	}
	a.combine(s, x)
	return s
}

// validate fills in the fit's R2 at the last state, by cross-validation; with all, that of
// all states too.
func (a *additive) validate(ctx context.Context, fit *AdditiveFit, all bool, workers int) error {
	out := make([]*solution, folds)
	ends := make([][]float64, folds)
	parallel(workers, folds, func(k int) {
		if ctx.Err() == nil {
			out[k], ends[k] = a.solve(*fit, k, tightly), make([]float64, a.n)
			a.predict(out[k], ends[k])
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	var last, states pairs
	squash := a.squashOf(*fit)
	for i, k := range a.fold {
		last.add(squash.of(float32(out[k].v0+ends[k][i])), a.returns[i])
		if all {
			for _, v := range a.values(out[k], i) {
				states.add(v, a.returns[i])
			}
		}
	}
	fit.R2Last, fit.R2 = last.r2(), states.r2()
	return nil
}

// values are those of the states of response i.
func (a *additive) values(s *solution, i int) []float32 {
	k, d, w := s.fit.Rank+1, len(s.q), a.width
	direction := make([]float64, w) // U f_i
	for j, f := range s.f[i*k:][:k] {
		for l, v := range s.u[j*w : (j+1)*w] {
			direction[l] += float64(f) * float64(v)
		}
	}
	v := s.v0
	for j, g := range s.g[i*d:][:d] {
		v += float64(g) * float64(s.q[j])
	}
	var out []float32
	squash := a.squashOf(s.fit)
	for _, t := range a.texts[i] {
		if t != again {
			if s.words != nil {
				v += s.words[t]
			}
			for l, e := range a.embedded[int(t)*w:][:w] {
				v += direction[l] * float64(e)
			}
		}
		out = append(out, squash.of(float32(v)))
	}
	return out
}

// squashOf is what a fit's values go through.
func (a *additive) squashOf(fit AdditiveFit) squash {
	if !fit.Squashed {
		return squash{}
	}
	return a.squash
}

// table turns a solution into advantages of the whole vocabulary.
func (a *additive) table(ctx context.Context, s *solution, features *Features, embeddings Embeddings) (*Advantages, error) {
	rank, w, n := s.fit.Rank, a.width, embeddings.Len()
	out := &Advantages{features: features, once: a.once, rank: rank, vocabulary: n, table: make([]float32, (rank+1)*n), base: float32(s.v0), squash: a.squashOf(s.fit)}
	by := math.Sqrt(s.fit.Product / float64(max(rank, 1)))
	u := make([]float32, len(s.u))
	gemm(false, false, rank+1, w, w, 1, s.u, w, a.metric, w, 0, u, w)
	const block = 1024
	rows, products := make([]float32, block*w), make([]float32, block*(rank+1))
	for from := 0; from < n; from += block {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		some := rows[:min(block, n-from)*w]
		if err := embeddings.Rows(from, some); err != nil {
			return nil, err
		}
		unitRows(some, w)
		a.shift(some)
		m := len(some) / w
		gemm(false, true, m, rank+1, w, 1, some, w, u, w, 0, products, rank+1)
		for i := range m {
			for k := range rank + 1 {
				v := float64(products[i*(rank+1)+k])
				if k > 0 {
					v *= by
				}
				out.table[k*n+from+i] = float32(v)
			}
		}
	}
	if s.words != nil {
		for y := range n {
			out.table[y] += float32(s.unseen)
		}
		for y, i := range a.rows {
			out.table[y] += float32(s.words[i] - s.unseen)
		}
	}
	if out.valuesPrompt() || s.fit.Prompt > 0 {
		out.prompts = a.prompts
	}
	if s.fit.Prompt > 0 {
		out.slope = appendScaled(nil, s.q, float32(math.Sqrt(s.fit.Prompt/float64(a.dirs))))
	}
	for _, v := range out.table {
		if !finite(v) {
			return nil, fmt.Errorf("valuehead: the advantages are not finite (check the model's embeddings and the returns)")
		}
	}
	return out, nil
}
