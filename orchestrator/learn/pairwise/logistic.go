package pairwise

import (
	"context"
	"math"

	"github.com/ivo-decoding/ivo/llama/blas"
)

// design is the differences of the sides' pooled states, one row a pair, in units of each column's
// root mean square: Bradley-Terry is a logistic regression on them without an intercept.
type design struct {
	n, p   int
	x      []float32 // [n][p]
	unit   []float64 // [p]
	margin []float64 // [n], as they are weighted
	fold   []int     // [n]
}

// penalties are those that cross-validation chooses from, of a column of unit size.
var penalties = []float64{0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10}

// folds is the number of parts of cross-validation.
const folds = 5

// most and enough bound the iterations: their number, and the gradient in units of that at 0.
const (
	mostSteps = 300
	enough    = 1e-3
)

// newDesign takes differences and brings them to unit size.
func newDesign(x []float32, p int, margin []float64, fold []int) *design {
	d := &design{n: len(margin), p: p, x: x, unit: make([]float64, p), margin: margin, fold: fold}
	for i := 0; i < len(x); i += p {
		for j, v := range x[i : i+p] {
			d.unit[j] += float64(v) * float64(v)
		}
	}
	for j, s := range d.unit {
		if d.unit[j] = math.Sqrt(s / float64(d.n)); d.unit[j] == 0 {
			d.unit[j] = 1
		}
	}
	for i := 0; i < len(x); i += p {
		for j := range p {
			x[i+j] = float32(float64(x[i+j]) / d.unit[j])
		}
	}
	return d
}

// fit minimises, for every penalty and with each fold left out as well as none (the last),
//
//	1/n sum log(1 + exp(m - x . w)) + penalty/2 |w|^2
//
// all of them at once, as columns of one matrix, by Nesterov's method for strongly convex functions
// with restarts (O'Donoghue and Candes 2015). It returns w [p][columns], column k*len(penalties)+l of
// fold k and penalty l.
func (d *design) fit(ctx context.Context) (w []float32, columns int, err error) {
	c := (folds + 1) * len(penalties)
	count := make([]float64, folds+1)
	for k := range count {
		for _, f := range d.fold {
			if f != k {
				count[k]++
			}
		}
	}
	top := d.largest()
	step, momentum, penalty := make([]float32, c), make([]float32, c), make([]float32, c)
	for i := range c {
		lambda := penalties[i%len(penalties)]
		l := top/(4*max(1, count[i/len(penalties)])) + lambda
		step[i], penalty[i] = float32(1/l), float32(lambda)
		momentum[i] = float32((math.Sqrt(l) - math.Sqrt(lambda)) / (math.Sqrt(l) + math.Sqrt(lambda)))
	}
	w = make([]float32, d.p*c)
	at, gradient := make([]float32, d.p*c), make([]float32, d.p*c)
	z := make([]float32, d.n*c)
	along, norm, first := make([]float64, c), make([]float64, c), make([]float64, c)
	for t := range mostSteps {
		if err := ctx.Err(); err != nil {
			return nil, 0, context.Cause(ctx)
		}
		blas.Gemm(false, false, d.n, c, d.p, 1, d.x, d.p, at, c, 0, z, c)
		for i := range d.n {
			row := z[i*c : (i+1)*c]
			for j := range row {
				k := j / len(penalties)
				if d.fold[i] == k {
					row[j] = 0
				} else {
					row[j] = float32(-sigma(d.margin[i]-float64(row[j])) / count[k])
				}
			}
		}
		blas.Gemm(true, false, d.p, c, d.n, 1, d.x, d.p, z, c, 0, gradient, c)
		clear(along)
		clear(norm)
		for i, g := range gradient {
			j := i % c
			g += penalty[j] * at[i]
			next := at[i] - step[j]*g
			moved := next - w[i]
			along[j] += float64(g) * float64(moved)
			norm[j] += float64(g) * float64(g)
			at[i], w[i] = next+momentum[j]*moved, next
		}
		done := true
		for j := range c {
			if t == 0 {
				first[j] = norm[j]
			}
			done = done && norm[j] <= enough*enough*first[j]
			if along[j] > 0 { // it runs uphill: begin again from here
				for i := j; i < len(w); i += c {
					at[i] = w[i]
				}
			}
		}
		if done {
			break
		}
	}
	return w, c, nil
}

// largest is the largest eigenvalue of x^T x, by the power method, a little more than less.
func (d *design) largest() float64 {
	v, y, z := make([]float32, d.p), make([]float32, d.n), make([]float32, d.p)
	for j := range v {
		v[j] = float32(1 + 0.1*math.Sin(float64(j))) // no direction is missing
	}
	top := 0.0
	for range 30 {
		norm := 0.0
		for _, x := range v {
			norm += float64(x) * float64(x)
		}
		if norm = math.Sqrt(norm); norm == 0 { // the sides do not differ
			return 1
		}
		for j := range v {
			v[j] = float32(float64(v[j]) / norm)
		}
		blas.Gemm(false, false, d.n, 1, d.p, 1, d.x, d.p, v, 1, 0, y, 1)
		blas.Gemm(true, false, d.p, 1, d.n, 1, d.x, d.p, y, 1, 0, z, 1)
		top = 0
		for j := range v {
			top += float64(v[j]) * float64(z[j])
		}
		v, z = z, v
	}
	return 1.1 * top
}

// column is a fitted w in units of the differences as they were.
func (d *design) column(w []float32, columns, j int) []float64 {
	out := make([]float64, d.p)
	for i := range out {
		out[i] = float64(w[i*columns+j]) / d.unit[i]
	}
	return out
}

// validated are the differences of the rewards that each pair has by the weights of the folds
// without it, for a penalty.
func (d *design) validated(w []float32, columns, penalty int) []float64 {
	out := make([]float64, d.n)
	for i := range out {
		j := d.fold[i]*len(penalties) + penalty
		for k, v := range d.x[i*d.p : (i+1)*d.p] {
			out[i] += float64(v) * float64(w[k*columns+j])
		}
	}
	return out
}

func sigma(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
