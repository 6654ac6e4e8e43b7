package valuehead

// Gemm computes C = alpha op(A) op(B) + beta C on row-major matrices: op(A) is [m][k],
// op(B) is [k][n], C is [m][n]; with tA, A is stored as [k][m], with tB, B as [n][k].
// lda, ldb and ldc are the distances between stored rows. With beta 0, C is not read. It
// must be safe to call from several goroutines at once and give the same result each time.
type Gemm func(tA, tB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int)

var gemm Gemm = plainGemm

// Use makes g the matrix product of all heads. Call it once, before any head is used:
// a program that links C has a faster one than the default in plain Go.
func Use(g Gemm) { gemm = g }

// plainGemm works on four rows of C at a time, so that each row of op(B) that is loaded
// serves four.
func plainGemm(tA, tB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	at := func(i, p int) float32 {
		if tA {
			return a[p*lda+i]
		}
		return a[i*lda+p]
	}
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		if beta == 0 {
			clear(row)
		} else if beta != 1 {
			for j := range row {
				row[j] *= beta
			}
		}
	}
	if tB { // one pass of transposing is cheap against m of multiplying
		packed := make([]float32, k*n)
		for j := range n {
			for p, v := range b[j*ldb : j*ldb+k] {
				packed[p*n+j] = v
			}
		}
		b, ldb = packed, n
	}
	i := 0
	for ; i+4 <= m; i += 4 {
		c0, c1 := c[i*ldc:i*ldc+n], c[(i+1)*ldc:(i+1)*ldc+n]
		c2, c3 := c[(i+2)*ldc:(i+2)*ldc+n], c[(i+3)*ldc:(i+3)*ldc+n]
		for p := range k {
			x0, x1, x2, x3 := alpha*at(i, p), alpha*at(i+1, p), alpha*at(i+2, p), alpha*at(i+3, p)
			row := b[p*ldb : p*ldb+n]
			d0, d1, d2, d3 := c0[:len(row)], c1[:len(row)], c2[:len(row)], c3[:len(row)]
			for j, v := range row {
				d0[j] += x0 * v
				d1[j] += x1 * v
				d2[j] += x2 * v
				d3[j] += x3 * v
			}
		}
	}
	for ; i < m; i++ {
		row := c[i*ldc : i*ldc+n]
		for p := range k {
			x := alpha * at(i, p)
			for j, v := range b[p*ldb : p*ldb+n] {
				row[j] += x * v
			}
		}
	}
}
