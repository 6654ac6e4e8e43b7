package valuehead

import (
	"fmt"

	"gonum.org/v1/gonum/mat"
)

// lambdaReturns are the rows z of a response's states, [T][d]: G_t = z_t . [w b] and the R and S of z_t, see
// [LambdaReturns].
func (r *ridge) lambdaReturns(z, rows []float32) []float32 {
	z = append(z[:0], rows...)
	n, last := r.d-2, len(rows)-r.d
	clear(z[last : last+n])
	for at := last - r.d; at >= 0; at -= r.d {
		for j := range r.d {
			z[at+j] = r.lambda * z[at+r.d+j]
			if j < n {
				z[at+j] += (1 - r.lambda) * rows[at+r.d+j]
			}
		}
	}
	return z
}

// fixed are the weights w and b whose values are what the lambda-returns of these same values are fitted to, by the
// equations of all folds but one: with x the columns and 1, and the penalty on w alone,
//
//	(sum x (x - z)^T + lambda n) [w b] = sum x z_R
func (r *ridge) fixed(lambda float64, target, without int) ([]float64, error) {
	d, n := r.d, r.d-3
	all, next := r.sum(r.states, without), r.sum(r.next, without)
	count := float64(all[n*d+n])
	if count == 0 {
		return nil, errFolds
	}
	a, b := mat.NewDense(n+1, n+1, nil), mat.NewVecDense(n+1, nil)
	for i := range n + 1 {
		b.SetVec(i, float64(next[i*d+target]))
		for j := range n + 1 {
			a.Set(i, j, float64(all[i*d+j])-float64(next[i*d+j]))
		}
		if i < n {
			a.Set(i, i, a.At(i, i)+lambda*count)
		}
	}
	var w mat.VecDense
	if err := w.SolveVec(a, b); err != nil {
		return nil, fmt.Errorf("valuehead: least squares TD: %w (choose other features)", err)
	}
	return w.RawVector().Data, nil
}
