package valuehead

import (
	"errors"
	"math"
)

// errIndefinite says that a matrix has no Cholesky factor.
var errIndefinite = errors.New("the matrix is not positive definite")

// cholesky overwrites the lower triangle of a symmetric a [n][n] with L, a = L L^T (blocked,
// right-looking: Golub and Van Loan, Matrix Computations, 4.2.5). What is above the blocks of
// the diagonal is left alone.
func cholesky(a []float32, n, workers int) error {
	const nb, stripe = 64, 128
	for k := 0; k < n; k += nb {
		m := min(nb, n-k)
		for i := k; i < k+m; i++ {
			for j := k; j <= i; j++ {
				sum := float64(a[i*n+j])
				for l := k; l < j; l++ {
					sum -= float64(a[i*n+l]) * float64(a[j*n+l])
				}
				if i != j {
					a[i*n+j] = float32(sum / float64(a[j*n+j]))
				} else if sum > 0 {
					a[i*n+i] = float32(math.Sqrt(sum))
				} else {
					return errIndefinite
				}
			}
		}
		from := k + m
		stripes := (n - from + stripe - 1) / stripe
		parallel(workers, stripes, func(s int) {
			for i := from + s*stripe; i < min(from+(s+1)*stripe, n); i++ {
				row := a[i*n : i*n+k+m]
				for j := k; j < k+m; j++ {
					sum := float64(row[j])
					for l, v := range a[j*n+k : j*n+j] {
						sum -= float64(row[k+l]) * float64(v)
					}
					row[j] = float32(sum / float64(a[j*n+j]))
				}
			}
		})
		parallel(workers, stripes, func(s int) {
			i := from + s*stripe
			rows := min(stripe, n-i)
			gemm(false, true, rows, i+rows-from, m, -1, a[i*n+k:], n, a[from*n+k:], n, 1, a[i*n+from:], n)
		})
	}
	return nil
}

// solveCholesky overwrites b with the solution of L L^T x = b.
func solveCholesky(l []float32, n int, b []float64) {
	for i := range n {
		sum := b[i]
		for j, v := range l[i*n : i*n+i] {
			sum -= float64(v) * b[j]
		}
		b[i] = sum / float64(l[i*n+i])
	}
	for i := n - 1; i >= 0; i-- {
		b[i] /= float64(l[i*n+i])
		x := b[i]
		for j, v := range l[i*n : i*n+i] {
			b[j] -= float64(v) * x
		}
	}
}

// solveSymmetric returns the solution of (a + shift I) x = b for a symmetric positive
// semidefinite a [n][n]. work holds as much as a does. What single precision costs the
// factor is won back by refinement with residuals in double precision.
func solveSymmetric(a, work []float32, n int, shift float64, b []float64, workers int) ([]float64, error) {
	copy(work, a)
	for i := range n {
		work[i*n+i] += float32(shift)
	}
	if err := cholesky(work, n, workers); err != nil {
		return nil, err
	}
	x, r := make([]float64, n), append([]float64(nil), b...)
	for range 3 {
		solveCholesky(work, n, r)
		for i, v := range r {
			x[i] += v
		}
		for i := range n {
			sum := b[i] - shift*x[i]
			for j, v := range a[i*n : (i+1)*n] {
				sum -= float64(v) * x[j]
			}
			r[i] = sum
		}
	}
	return x, nil
}
