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

// symmetric is a + shift I for a symmetric positive semidefinite a [n][n], with its Cholesky factor.
type symmetric struct {
	a, l  []float32
	n     int
	shift float64
	r     []float64 // scratch
}

// factor is that matrix. work holds as much as a does.
func factor(a, work []float32, n int, shift float64, workers int) (*symmetric, error) {
	copy(work, a)
	for i := range n {
		work[i*n+i] += float32(shift)
	}
	return &symmetric{a, work, n, shift, make([]float64, n)}, cholesky(work, n, workers)
}

// refine brings x nearer to the solution for b, and returns by how much, |change| / |x|. What single precision costs
// the factor is won back by the residual in double precision.
func (s *symmetric) refine(x, b []float64) float64 {
	for i := range s.n {
		sum := b[i] - s.shift*x[i]
		for j, v := range s.a[i*s.n : (i+1)*s.n] {
			sum -= float64(v) * x[j]
		}
		s.r[i] = sum
	}
	solveCholesky(s.l, s.n, s.r)
	change, size := 0.0, 0.0
	for i, v := range s.r {
		x[i] += v
		change += v * v
		size += x[i] * x[i]
	}
	if change == 0 {
		return 0
	}
	return math.Sqrt(change / size)
}

// solve is the solution for b.
func (s *symmetric) solve(b []float64) []float64 {
	x := make([]float64, s.n)
	for range 3 {
		s.refine(x, b)
	}
	return x
}
