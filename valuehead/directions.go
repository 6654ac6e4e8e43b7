package valuehead

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// directions are the first principal directions of the prompts' mean states: z = axes (x -
// mean), where x is the mean of a prompt's rows. Over the prompts they were fitted to, z has
// the mean 0 and the unit matrix as its covariance.
type directions struct {
	mean []float32 // [width]
	axes []float32 // [rank][width]
}

// rank is the number of directions.
func (d *directions) rank() int {
	if len(d.mean) == 0 {
		return 0
	}
	return len(d.axes) / len(d.mean)
}

// of appends z of a mean state to dst.
func (d *directions) of(dst, x []float32) []float32 {
	w := len(d.mean)
	for at := 0; at < len(d.axes); at += w {
		sum := 0.0
		for j, v := range d.axes[at : at+w] {
			sum += float64(v) * float64(x[j]-d.mean[j])
		}
		dst = append(dst, float32(sum))
	}
	return dst
}

// oversampled is how many more directions are iterated than are kept, and iterations how
// often: enough for eigenvalues that fall as slowly as those of states do. What is missed
// then is the last directions' order, not that they are uncorrelated.
const (
	oversampled = 8
	iterations  = 24
)

// fitDirections finds the first directions of n rows, at most rank of them and only such as
// vary, by subspace iteration (Golub and Van Loan, Matrix Computations, 8.2.4) on the
// standardised columns.
func fitDirections(rows []float32, n, rank int) directions {
	if n < 2 || rank < 1 || len(rows) == 0 {
		return directions{}
	}
	w := len(rows) / n
	var c scaler
	c.add(rows, w)
	s := scaling{}
	s.mean, s.inverse = c.scales()
	x := s.appendTo(nil, rows)
	k := min(rank+oversampled, n, w)
	v, y := make([]float32, k*w), make([]float32, n*k) // V [k][w], Y = X V^T
	normal(v, rand.New(rand.NewPCG(1, 2)), 1)
	for range iterations {
		orthonormalise(v, k)
		gemm(false, true, n, k, w, 1, x, w, v, w, 0, y, k)
		gemm(true, false, k, w, n, 1/float32(n), y, k, x, w, 0, v, w)
	}
	orthonormalise(v, k)
	gemm(false, true, n, k, w, 1, x, w, v, w, 0, y, k)
	cov := make([]float64, k*k)
	for at := 0; at < len(y); at += k {
		row := y[at : at+k]
		for i, a := range row {
			for j, b := range row {
				cov[i*k+j] += float64(a) * float64(b) / float64(n)
			}
		}
	}
	values, vectors := eigen(cov, k)
	d := directions{mean: s.mean}
	for i := range min(rank, k) {
		if values[i] <= 1e-6*values[0] {
			break
		}
		axis := make([]float64, w)
		for j := range k {
			q := vectors[j*k+i] / math.Sqrt(values[i])
			for l, b := range v[j*w : (j+1)*w] {
				axis[l] += q * float64(b)
			}
		}
		for l, b := range axis {
			d.axes = append(d.axes, float32(b)*s.inverse[l])
		}
	}
	if len(d.axes) == 0 {
		return directions{}
	}
	return d
}

// orthonormalise makes the k rows of v orthogonal and of length 1 (Gram-Schmidt, twice
// over, which is enough). Rows that depend on earlier ones become zero.
func orthonormalise(v []float32, k int) {
	w := len(v) / k
	row := make([]float64, w)
	for i := range k {
		own, before := v[i*w:(i+1)*w], 0.0
		for j, a := range own {
			row[j] = float64(a)
			before += row[j] * row[j]
		}
		for range 2 {
			for o := 0; o < i*w; o += w {
				other, dot := v[o:o+w], 0.0
				for j, a := range other {
					dot += float64(a) * row[j]
				}
				for j, a := range other {
					row[j] -= dot * float64(a)
				}
			}
		}
		after := 0.0
		for _, a := range row {
			after += a * a
		}
		by := 0.0
		if after > 1e-10*before {
			by = 1 / math.Sqrt(after)
		}
		for j, a := range row {
			own[j] = float32(a * by)
		}
	}
}

// eigen gives the eigenvalues of a symmetric matrix [n][n], largest first, and its
// eigenvectors as columns, by cyclic Jacobi rotations (Golub and Van Loan, 8.5). a is
// overwritten. For small n.
func eigen(a []float64, n int) (values, vectors []float64) {
	q := make([]float64, n*n)
	for i := range n {
		q[i*n+i] = 1
	}
	for range 60 {
		off, all := 0.0, 0.0
		for i := range n {
			for j := range n {
				all += a[i*n+j] * a[i*n+j]
				if i != j {
					off += a[i*n+j] * a[i*n+j]
				}
			}
		}
		if off <= 1e-26*all {
			break
		}
		for i := range n {
			for j := i + 1; j < n; j++ {
				if a[i*n+j] == 0 {
					continue
				}
				tau := (a[j*n+j] - a[i*n+i]) / (2 * a[i*n+j])
				t := math.Copysign(1, tau) / (math.Abs(tau) + math.Sqrt(1+tau*tau))
				c := 1 / math.Sqrt(1+t*t)
				s := t * c
				for l := range n {
					x, y := a[l*n+i], a[l*n+j]
					a[l*n+i], a[l*n+j] = c*x-s*y, s*x+c*y
					x, y = q[l*n+i], q[l*n+j]
					q[l*n+i], q[l*n+j] = c*x-s*y, s*x+c*y
				}
				for l := range n {
					x, y := a[i*n+l], a[j*n+l]
					a[i*n+l], a[j*n+l] = c*x-s*y, s*x+c*y
				}
			}
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(a[j*n+j], a[i*n+i]) })
	values, vectors = make([]float64, n), make([]float64, n*n)
	for to, from := range order {
		values[to] = a[from*n+from]
		for l := range n {
			vectors[l*n+to] = q[l*n+from]
		}
	}
	return values, vectors
}

// promptMean is the mean of a prompt's rows.
func (f *Features) promptMean(p *states.Prompt) []float32 {
	if f.promptWidth == 0 {
		return nil
	}
	return meanOf(f.appendPrompt(nil, p), f.promptWidth)
}

// meanOf is the mean of rows of some width.
func meanOf(rows []float32, width int) []float32 {
	out, share := make([]float32, width), 1/float32(len(rows)/width)
	for at := 0; at < len(rows); at += width {
		for j, v := range rows[at : at+width] {
			out[j] += v * share
		}
	}
	return out
}
