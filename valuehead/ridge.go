package valuehead

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// RidgeReport tells how a linear head was fitted in closed form. R2 are of cross-validation over
// the prompts of training.
type RidgeReport struct {
	Columns  int     `json:"columns"`
	Ends     bool    `json:"ends"`     // fitted to the last states alone
	Squashed bool    `json:"squashed"` // the value stays within the returns
	Lambda   float64 `json:"lambda"`   // penalty of a standardised column, in units of a state's weight
	R2       float64 `json:"r2"`
	R2Last   float64 `json:"r2_last"`
	Tried    int     `json:"tried"`
}

var errFolds = fmt.Errorf("valuehead: too few prompts to part them in %d (collect more prompts)", folds)

// mostColumns bounds the matrix of the normal equations, of which there is one for each fold.
const mostColumns = 3072

var gridRidge = []float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 100, 300}

// ridge fits a linear head by the normal equations:
//
//	w = argmin sum_i 1/T_i sum_t (w . x_it + b - R_i)^2 + lambda n |w|^2
//
// in which every response has the same weight. The columns are standardised, and b is free. Where
// the value is a sum of what was said, the last states know all that the others do and have less
// noise, so that they alone are the better teachers (R - V(s_t) is R - V(s_T) and the sum of what
// came after t); where it is not, they are others than those to be valued. Both are tried, and
// held against all states. Where returns have ends, R may be the sum whose squashed value is the
// return: that is tried too, and kept where it explains more of the returns.
//
// With the target [TDLambda] R_i gives way to the lambda-returns of the values themselves,
//
//	w = argmin sum_i 1/T_i sum_t (w . x_it + b - G_it(w))^2 + lambda n |w|^2
//
// the values in G being those of this w: all states teach, and the value is not squashed. G is linear in w, so that the
// products of the states with what stands in it are all that has to be summed up (least squares TD, Boyan, 2002). With [CDQ] it is the same at
// lambda 0: the token that was drawn stands for the mean over those that could have been, whose values no state is stored
// for, and what w solves is the same on average.
type ridge struct {
	head    *Head
	tokens  *additive // whose sums of embeddings are columns too; nil for none
	by      float32   // what makes their columns as large as the others
	squash  squash    // of the returns
	d       int       // columns with 1, the return and the sum whose value it is
	states  []float32 // [folds][d][d], sums of 1/T [x 1 R S][x 1 R S]^T over all states
	ends    []float32 // the same of the last ones; nil of lambda-returns
	lambda  float32   // of these; 0 of CD-Q
	next    []float32 // [folds][d][d], sums of 1/T [x 1 R S] z^T, G = z . [w b] and z's own R; nil of returns
	workers int
}

// fitRidge sets the parameters of a linear head whose scales are known; with tokens, also what
// each token of the vocabulary adds, as long as the columns are not too many.
func fitRidge(ctx context.Context, h *Head, src Source, train []entry, tokens *additive, o *TrainOptions) (*RidgeReport, error) {
	columns := h.features.width
	if tokens != nil && columns+tokens.width <= mostColumns {
		columns += tokens.width
	} else {
		tokens = nil // there is no room for them
	}
	if columns > mostColumns {
		return nil, fault.New(op, "layers", nil, "choose fewer {layers}, or another kind of head", "a linear head of %d columns; the normal equations are for at most %d", columns, mostColumns)
	}
	r := &ridge{head: h, tokens: tokens, d: columns + 3, workers: o.Workers}
	if tokens != nil { // at the last states the variance of a sum is about twice that of all states
		r.by = float32(math.Sqrt(2 * float64(tokens.width)))
	}
	var returns []float32
	for _, e := range train {
		returns = append(returns, e.ret)
	}
	switch r.squash = squashOf(returns); o.Target {
	case TDLambda:
		r.lambda = float32(o.Lambda)
		fallthrough
	case CDQ:
		r.squash, r.next = squash{}, make([]float32, folds*r.d*r.d)
	}
	if err := r.collect(ctx, src, train); err != nil {
		return nil, err
	}
	report, err := r.search(ctx, src, train, squash{})
	if err != nil {
		return nil, err
	}
	if r.squash.reach > 0 {
		other, err := r.search(ctx, src, train, r.squash)
		if err != nil {
			return nil, err
		}
		other.Tried += report.Tried
		if report.Tried = other.Tried; other.explained() > report.explained() {
			report, h.squash = other, r.squash
		}
	}
	teachers := r.states
	if report.Ends {
		teachers = r.ends
	}
	w, err := r.solve(teachers, report.Lambda, r.target(h.squash), -1)
	if err != nil {
		return nil, err
	}
	own := h.features.width
	for j, v := range w[:own] {
		h.params[j] = float32(v)
	}
	h.params[own] = float32(w[columns])
	if tokens != nil {
		s := &solution{}
		for _, v := range w[own:columns] {
			s.u = append(s.u, r.by*float32(v))
		}
		t, err := tokens.table(ctx, s, h.features, o.Embeddings)
		if err != nil {
			return nil, err
		}
		h.tokens = t.table
	}
	return report, nil
}

// search looks for the penalty and for the states that teach: with each of both as far as the loss
// on the folds that are left out falls. Of what was tried it takes what explains most of the returns.
func (r *ridge) search(ctx context.Context, src Source, train []entry, by squash) (*RidgeReport, error) {
	var tried []*ridgeTrial
	teachers := [][]float32{r.states, r.ends}
	if r.next != nil {
		teachers = teachers[:1]
	}
	for _, grams := range teachers {
		best := math.Inf(1)
		err := climb(gridRidge, 1, func(lambda float64) (better bool, err error) {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			t := &ridgeTrial{RidgeReport: RidgeReport{Columns: r.d - 3, Ends: &grams[0] != &r.states[0], Squashed: by.reach > 0, Lambda: lambda}}
			loss := 0.0
			for k := range folds {
				if t.weights[k], err = r.solve(grams, lambda, r.target(by), k); err != nil {
					return false, err
				}
				loss += r.loss(t.weights[k], r.target(by), k)
			}
			tried = append(tried, t)
			better, best = loss < best, min(loss, best)
			return better, nil
		})
		if err != nil {
			return nil, err
		}
	}
	if err := r.validate(ctx, src, train, by, tried); err != nil {
		return nil, err
	}
	best := slices.MaxFunc(tried, func(a, b *ridgeTrial) int { return cmp.Compare(a.explained(), b.explained()) })
	best.Tried = len(tried)
	return &best.RidgeReport, nil
}

// ridgeTrial is a choice, and what it gives without each of the folds.
type ridgeTrial struct {
	RidgeReport
	weights   [folds][]float64
	all, last pairs
}

// explained is what fits are compared by.
func (r *RidgeReport) explained() float64 { return Trial{R2: r.R2, R2Last: r.R2Last}.Explained() }

// target is the column that values of such a squash are fitted to.
func (r *ridge) target(by squash) int {
	if by.reach > 0 {
		return r.d - 1
	}
	return r.d - 2
}

// climb tries the values of a grid from one on, downwards and upwards, as long as they are
// better than all before.
func climb(grid []float64, from float64, try func(v float64) (better bool, err error)) error {
	if _, err := try(from); err != nil {
		return err
	}
	start := indexOf(grid, from)
	for _, step := range []int{-1, 1} {
		for at := start + step; at >= 0 && at < len(grid); at += step {
			if better, err := try(grid[at]); err != nil {
				return err
			} else if !better {
				break
			} else if step < 0 {
				start = -1 // nothing better lies the other way
			}
		}
		if start < 0 {
			break
		}
	}
	return nil
}

func indexOf(grid []float64, v float64) int {
	for i, g := range grid {
		if g == v {
			return i
		}
	}
	return -1
}

// collect sums up the matrices of the folds.
func (r *ridge) collect(ctx context.Context, src Source, train []entry) error {
	const block = 1024
	r.states = make([]float32, folds*r.d*r.d)
	if r.next == nil {
		r.ends = make([]float32, folds*r.d*r.d)
	}
	var rows, lasts, later [folds][]float32
	// add adds the products of rows x and y to a fold's matrix.
	add := func(grams, x, y []float32, k int) {
		const stripe = 128
		gram := r.gram(grams, k)
		parallel(r.workers, (r.d+stripe-1)/stripe, func(s int) {
			from := s * stripe
			gemm(true, false, min(stripe, r.d-from), r.d, len(x)/r.d, 1, x[from:], r.d, y, r.d, 1, gram[from*r.d:], r.d)
		})
	}
	flush := func(k, least int) {
		if n := len(lasts[k]) / r.d; n >= least {
			add(r.ends, lasts[k], lasts[k], k)
			lasts[k] = lasts[k][:0]
		}
		if n := len(rows[k]) / r.d; n >= least {
			add(r.states, rows[k], rows[k], k)
			if r.next != nil {
				add(r.next, rows[k], later[k], k)
			}
			rows[k], later[k] = rows[k][:0], later[k][:0]
		}
	}
	var z []float32
	err := r.each(ctx, src, train, func(e entry, buf []float32) {
		weight := float32(math.Sqrt(1 / float64(e.tokens)))
		k := foldOf(e.prompt)
		if r.next == nil {
			lasts[k] = append(lasts[k], buf[len(buf)-r.d:]...)
		} else {
			z = r.lambdaReturns(z, buf)
		}
		for at := 0; at < len(buf); at += r.d {
			rows[k] = appendScaled(rows[k], buf[at:at+r.d], weight)
			if r.next != nil {
				later[k] = appendScaled(later[k], z[at:at+r.d], weight)
			}
			flush(k, block)
		}
	})
	if err != nil {
		return err
	}
	for k := range folds {
		flush(k, 1)
	}
	return nil
}

// each calls f with the rows of each response's states, which hold until it returns.
func (r *ridge) each(ctx context.Context, src Source, train []entry, f func(e entry, rows []float32)) error {
	memory := r.head.features.NewAccumulator()
	var buf []float32
	for _, e := range train {
		if err := ctx.Err(); err != nil {
			return err
		}
		ex, err := src.At(e.index)
		if err != nil {
			return err
		}
		if buf, err = r.rows(buf[:0], memory, ex); err != nil {
			return err
		}
		f(e, buf)
	}
	return nil
}

// gram is the matrix of a fold.
func (r *ridge) gram(grams []float32, k int) []float32 { return grams[k*r.d*r.d:][:r.d*r.d] }

// rows appends the rows [x said 1 R S] of an example's states.
func (r *ridge) rows(dst []float32, memory *Accumulator, e Example) ([]float32, error) {
	h := r.head
	raw, err := h.rows(nil, memory, e)
	if err != nil {
		return nil, err
	}
	h.input.apply(raw)
	var said []float32
	if r.tokens != nil {
		said = make([]float32, r.tokens.width)
	}
	w := h.features.width
	sum := float32(r.squash.stretch(e.Return))
	for i, y := range e.Trajectory.Tokens {
		if r.tokens != nil {
			for j, v := range r.tokens.embedded[r.tokens.rows[y]*len(said):][:len(said)] {
				said[j] += r.by * v
			}
		}
		dst = append(append(append(dst, raw[i*w:(i+1)*w]...), said...), 1, (e.Return-h.rewardMean)/h.rewardScale, (sum-h.rewardMean)/h.rewardScale)
	}
	return dst, nil
}

// solve returns w and b of all folds but one, which give the target; -1 leaves none out.
func (r *ridge) solve(grams []float32, lambda float64, target, without int) ([]float64, error) {
	if r.next != nil {
		return r.fixed(lambda, target, without)
	}
	d, n := r.d, r.d-3
	sum := r.sum(grams, without)
	count := float64(sum[n*d+n])
	if count == 0 {
		return nil, errFolds
	}
	mean, a, b := make([]float64, n), make([]float32, n*n), make([]float64, n)
	for i := range n {
		mean[i] = float64(sum[i*d+n]) / count
	}
	fitted := float64(sum[n*d+target])
	for i := range n {
		b[i] = float64(sum[i*d+target]) - mean[i]*fitted
		for j := range n {
			a[i*n+j] = float32(float64(sum[i*d+j]) - count*mean[i]*mean[j])
		}
	}
	w, err := solveSymmetric(a, sum[:n*n], n, lambda*count, b, r.workers)
	if err != nil {
		return nil, fmt.Errorf("valuehead: the normal equations: %w (choose other features)", err)
	}
	bias := fitted / count
	for i, v := range w {
		bias -= v * mean[i]
	}
	return append(w, bias), nil
}

// sum is that of all folds' products but one's, [d][d].
func (r *ridge) sum(grams []float32, without int) []float32 {
	sum := make([]float32, r.d*r.d)
	for k := range folds {
		if k == without {
			continue
		}
		for i, v := range r.gram(grams, k) {
			sum[i] += v
		}
	}
	return sum
}

// loss is the weighted squared error of all states in a fold: v^T G v with v = [w b], and -1 at the target.
func (r *ridge) loss(w []float64, target, k int) float64 {
	v := append(append([]float64(nil), w...), 0, 0)
	v[target] = -1
	sum := 0.0
	for i, g := 0, r.gram(r.states, k); i < r.d; i++ {
		row := 0.0
		for j, x := range g[i*r.d : (i+1)*r.d] {
			row += float64(x) * v[j]
		}
		sum += v[i] * row
	}
	return sum
}

// validate fills in the R2 of each fold's states by the weights of the others.
func (r *ridge) validate(ctx context.Context, src Source, train []entry, by squash, tried []*ridgeTrial) error {
	h := r.head
	err := r.each(ctx, src, train, func(e entry, buf []float32) {
		parallel(r.workers, len(tried), func(i int) {
			t := tried[i]
			w := t.weights[foldOf(e.prompt)]
			for at := 0; at < len(buf); at += r.d {
				v := 0.0
				for j, x := range w {
					v += x * float64(buf[at+j])
				}
				value := by.of(h.rewardMean + h.rewardScale*float32(v))
				t.all.add(value, e.ret)
				if at+r.d == len(buf) {
					t.last.add(value, e.ret)
				}
			}
		})
	})
	for _, t := range tried {
		t.R2, t.R2Last = t.all.r2(), t.last.r2()
	}
	return err
}
