package valuehead

import "math"

// roots returns the square root of a symmetric positive definite a [n][n] and the inverse of it, by the
// coupled Newton-Schulz iteration (Higham, Functions of Matrices, 6.35): products alone.
func roots(a []float32, n, workers int) (root, inverse []float32) {
	norm := 0.0
	for _, v := range a {
		norm += float64(v) * float64(v)
	}
	norm = math.Sqrt(norm)
	y, z, t := make([]float32, n*n), make([]float32, n*n), make([]float32, n*n)
	spare := make([]float32, n*n)
	for i, v := range a {
		y[i] = float32(float64(v) / norm)
	}
	for i := range n {
		z[i*n+i] = 1
	}
	before := math.Inf(1)
	for range 60 {
		multiplySquare(t, z, y, n, workers)
		off := 0.0
		for i, v := range t {
			t[i] = -v / 2
			if i%(n+1) == 0 {
				t[i] += 1.5
				v--
			}
			off += float64(v) * float64(v)
		}
		if off = math.Sqrt(off); off < 1e-6 || off > before && off < 1e-2 { // it stays at what rounding allows
			break
		}
		before = off
		multiplySquare(spare, y, t, n, workers)
		y, spare = spare, y
		multiplySquare(spare, t, z, n, workers)
		z, spare = spare, z
	}
	by := float32(math.Sqrt(norm))
	scale(y, by)
	scale(z, 1/by)
	return y, z
}

// multiplySquare sets c to a b, all [n][n].
func multiplySquare(c, a, b []float32, n, workers int) {
	const stripe = 64
	parallel(workers, (n+stripe-1)/stripe, func(s int) {
		i := s * stripe
		gemm(false, false, min(stripe, n-i), n, n, 1, a[i*n:], n, b, n, 0, c[i*n:], n)
	})
}
