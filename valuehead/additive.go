package valuehead

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Embeddings are the token embeddings of a model, one row for each token of the vocabulary.
type Embeddings interface {
	Len() int
	Width() int
	// Rows writes the rows from one on to dst, as many as it has room for.
	Rows(from int, dst []float32) error
}

const (
	folds       = 5
	mostRank    = 32
	leastGain   = 0.01 // in R2 at the last state, for which a table is made to depend on the prompt
	tightly     = 1e-4 // residual of a solution, as a share of the right side, in cross-validation
	veryTightly = 1e-6 // and of the one that is kept
)

// additive holds the responses that an additive value is fitted to. The value at the end of
// response i is
//
//	v0 + <U f_i, S_i> + <q, g_i>,  f = [1 sqrt(product/rank) z], g = sqrt(prompt/dirs) z,
//
// S being the sum of its tokens' embeddings, of each token as often as it is said or once: all made of length 1, less their mean over all
// responses, so that the response's length does not matter, and half-way whitened, by the
// fourth root of their covariance, for the directions of commas and of articles are large. The
// penalty is lambda (|U|^2 + |q|^2). In the dual, which is solved
// by conjugate gradients, the kernel is <S, S'> (1 + product/rank <z, z'>) + prompt/dirs
// <z, z'>: products with it need the factors alone.
type additive struct {
	n, width, dirs int
	sums           []float32 // [n][width], scaled to a mean square length of 1
	z              []float32 // [n][dirs]
	returns        []float32
	fold           []int
	texts          [][]int32 // tokens, as rows of embedded; again where one does not count again
	once           bool      // each token of a response counts once
	plain          []float32 // [distinct tokens][width], embeddings of length 1
	embedded       []float32 // [distinct tokens][width], (embedding - mean) metric
	mean           []float32 // [width] of the tokens' embeddings
	metric         []float32 // [width][width], symmetric
	prompts        directions
	rows           map[int32]int // of embedded
}

// collectAdditive reads the responses of entries.
func collectAdditive(ctx context.Context, src Source, entries []entry, embeddings Embeddings, workers int) (*additive, error) {
	a := &additive{n: len(entries), width: embeddings.Width(), rows: make(map[int32]int)}
	prompt := make(map[string]int)
	var of []int
	var states []float32
	row := make([]float32, a.width)
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ex, err := src.At(e.index)
		if err != nil {
			return nil, err
		}
		var text []int32
		for _, y := range ex.Trajectory.Tokens {
			i, ok := a.rows[y]
			if !ok {
				if y < 0 || int(y) >= embeddings.Len() {
					return nil, fault.New(op, "model", nil, "train with the {model} that wrote the responses", "token %d of a response is not among the %d embeddings", y, embeddings.Len())
				}
				if err := embeddings.Rows(int(y), row); err != nil {
					return nil, err
				}
				unitRows(row, a.width)
				i = len(a.rows)
				a.rows[y], a.plain = i, append(a.plain, row...)
			}
			text = append(text, int32(i))
		}
		a.texts, a.returns = append(a.texts, text), append(a.returns, ex.Return)
		a.fold = append(a.fold, foldOf(e.prompt))
		if ex.Prompt == nil || src.Features().promptWidth == 0 {
			continue
		}
		p, ok := prompt[e.prompt]
		if !ok {
			p = len(prompt)
			prompt[e.prompt], states = p, append(states, src.Features().promptMean(ex.Prompt)...)
		}
		of = append(of, p)
	}
	a.shape(workers)
	if len(of) < a.n { // some prompts have no states
		return a, nil
	}
	a.prompts = fitDirections(states, len(prompt), min(mostRank, len(prompt)/4))
	a.dirs = a.prompts.rank()
	w := src.Features().promptWidth
	for _, p := range of {
		a.z = a.prompts.of(a.z, states[p*w:(p+1)*w])
	}
	return a, nil
}

// foldOf is the part of the cross-validation that a prompt is left out of, by its name.
func foldOf(prompt string) int { return foldOfN(prompt, folds) }

func foldOfN(prompt string, n int) int { return int(xxhash.Sum64String(prompt) % uint64(n)) }

// leastVariance is added to all variances before they are levelled, as a share of their mean.
const leastVariance = 1e-2

// again stands for a token that was said before, where each counts once.
const again = -1

// different is the same data, of which each token of a response counts once: a value in which
// saying a good word again gains nothing.
func (a *additive) different(workers int) *additive {
	b := *a
	b.once, b.texts = true, nil
	for _, text := range a.texts {
		text = slices.Clone(text)
		for i, t := range text {
			if slices.Contains(text[:i], t) {
				text[i] = again
			}
		}
		b.texts = append(b.texts, text)
	}
	b.shape(workers)
	return &b
}

// shape takes the mean off the embeddings, levels their variances half-way, and adds them up.
func (a *additive) shape(workers int) {
	w, n := a.width, 0.0
	counts := make([]float64, len(a.rows))
	for _, text := range a.texts {
		for _, t := range text {
			if t != again {
				counts[t]++
			}
		}
	}
	a.mean, a.embedded = nil, slices.Clone(a.plain)
	mean := make([]float64, w)
	for i, c := range counts {
		n += c
		for j, v := range a.embedded[i*w : (i+1)*w] {
			mean[j] += c * float64(v)
		}
	}
	for _, v := range mean {
		a.mean = append(a.mean, float32(v/max(n, 1)))
	}
	a.shift(a.embedded)
	weighted := make([]float32, len(a.embedded))
	for i, c := range counts {
		copy(weighted[i*w:], a.embedded[i*w:(i+1)*w])
		scale(weighted[i*w:(i+1)*w], float32(math.Sqrt(c/n)))
	}
	cov, trace := make([]float32, w*w), 0.0
	if len(counts) > 0 {
		gemm(true, false, w, w, len(counts), 1, weighted, w, weighted, w, 0, cov, w)
	}
	for j := range w {
		trace += float64(cov[j*w+j]) / float64(w)
	}
	if trace == 0 {
		trace = 1
	}
	for j := range w {
		cov[j*w+j] += float32(leastVariance * trace)
	}
	root, _ := roots(cov, w, workers)
	_, a.metric = roots(root, w, workers)
	gemm(false, false, len(counts), w, w, 1, a.embedded, w, a.metric, w, 0, weighted, w)
	a.embedded = weighted
	a.sum()
}

// sum adds up the responses, and scales all to sums of a mean square length of 1.
func (a *additive) sum() {
	w, squares := a.width, 0.0
	a.sums = make([]float32, a.n*w)
	for i, text := range a.texts {
		sum := a.sums[i*w : (i+1)*w]
		for _, t := range text {
			if t == again {
				continue
			}
			for j, v := range a.embedded[int(t)*w:][:w] {
				sum[j] += v
			}
		}
		for _, v := range sum {
			squares += float64(v) * float64(v)
		}
	}
	if squares > 0 {
		by := float32(math.Sqrt(float64(a.n) / squares))
		scale(a.sums, by)
		scale(a.embedded, by)
		scale(a.metric, by)
	}
}

// shift takes the mean off rows of embeddings.
func (a *additive) shift(x []float32) {
	for at := 0; at < len(x); at += a.width {
		for j, m := range a.mean {
			x[at+j] -= m
		}
	}
}

// unitRows makes every row that is not zero of length 1: some tokens are long, most of them
// seldom seen.
func unitRows(x []float32, w int) {
	for at := 0; at < len(x); at += w {
		squares := 0.0
		for _, v := range x[at : at+w] {
			squares += float64(v) * float64(v)
		}
		if squares > 0 {
			scale(x[at:at+w], float32(1/math.Sqrt(squares)))
		}
	}
}

// solution is a fit: U [rank+1][width], q [dirs], and what they were made from.
type solution struct {
	fit  AdditiveFit
	v0   float64
	f, g []float32 // [n][rank+1], [n][dirs]
	u, q []float32
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
	return s
}

// combine sets U = sum_i x_i f_i S_i and q = sum_i x_i g_i.
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
			y[from+i] = v
		}
	}
}

// solve fits the responses but those of a fold, -1 for all, until the residual is the share
// of the returns' own length that is given.
func (a *additive) solve(fit AdditiveFit, without int, tolerance float64) *solution {
	s := a.factors(fit)
	in, n := make([]bool, a.n), 0.0
	for i, f := range a.fold {
		if in[i] = f != without; in[i] {
			s.v0 += float64(a.returns[i])
			n++
		}
	}
	s.v0 /= max(n, 1)
	x, r, p, kp := make([]float64, a.n), make([]float64, a.n), make([]float64, a.n), make([]float64, a.n)
	rr := 0.0
	for i, v := range a.returns {
		if in[i] {
			r[i] = float64(v) - s.v0
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
	for i, k := range a.fold {
		last.add(float32(out[k].v0+ends[k][i]), a.returns[i])
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
	for _, t := range a.texts[i] {
		if t != again {
			for l, e := range a.embedded[int(t)*w:][:w] {
				v += direction[l] * float64(e)
			}
		}
		out = append(out, float32(v))
	}
	return out
}

// table turns a solution into advantages of the whole vocabulary.
func (a *additive) table(ctx context.Context, s *solution, features *Features, embeddings Embeddings) (*Advantages, error) {
	rank, w, n := s.fit.Rank, a.width, embeddings.Len()
	out := &Advantages{features: features, once: a.once, rank: rank, vocabulary: n, table: make([]float32, (rank+1)*n), base: float32(s.v0)}
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
