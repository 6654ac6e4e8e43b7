package valuehead

import (
	"math"
	"math/rand/v2"
	"testing"
)

// correlated makes n rows of w columns that share a few causes.
func correlated(n, w int) []float32 {
	rng := rand.New(rand.NewPCG(4, 4))
	mix := make([]float64, 4*w)
	for i := range mix {
		mix[i] = rng.NormFloat64()
	}
	rows := make([]float32, n*w)
	for i := range n {
		for k, strength := range []float64{3, 2, 1, 0.7} {
			cause := strength * rng.NormFloat64()
			for j := range w {
				rows[i*w+j] += float32(cause * mix[k*w+j])
			}
		}
		for j := range w {
			rows[i*w+j] += float32(5 + 0.3*rng.NormFloat64())
		}
	}
	return rows
}

// Every pair satisfies A v = l v, the vectors are orthonormal, and the values fall.
func TestEigen(t *testing.T) {
	const n = 9
	rng := rand.New(rand.NewPCG(1, 1))
	a := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			a[i*n+j] = rng.NormFloat64()
			a[j*n+i] = a[i*n+j]
		}
	}
	values, vectors := eigen(append([]float64(nil), a...), n)
	for k := range n {
		if k > 0 && values[k] > values[k-1] {
			t.Errorf("eigenvalues %v", values)
		}
		for l := range n {
			dot := 0.0
			for i := range n {
				dot += vectors[i*n+k] * vectors[i*n+l]
			}
			if want := map[bool]float64{true: 1}[k == l]; math.Abs(dot-want) > 1e-12 {
				t.Errorf("vectors %d and %d have the product %v", k, l, dot)
			}
		}
		for i := range n {
			av := 0.0
			for j := range n {
				av += a[i*n+j] * vectors[j*n+k]
			}
			if math.Abs(av-values[k]*vectors[i*n+k]) > 1e-12 {
				t.Errorf("A v is not l v in row %d of vector %d", i, k)
			}
		}
	}
}

// Over the rows, z has the mean 0 and the unit matrix as its covariance, and each direction is
// the eigenvector of the correlation matrix that has its rank.
func TestDirections(t *testing.T) {
	const n, w, rank = 200, 20, 3
	rows := correlated(n, w)
	d := fitDirections(rows, n, rank)
	if d.rank() != rank {
		t.Fatalf("%d directions", d.rank())
	}
	var z []float32
	for i := range n {
		z = d.of(z, rows[i*w:(i+1)*w])
	}
	for k := range rank {
		for l := range rank {
			mean, dot := 0.0, 0.0
			for i := range n {
				mean += float64(z[i*rank+k]) / n
				dot += float64(z[i*rank+k]) * float64(z[i*rank+l]) / n
			}
			if want := map[bool]float64{true: 1}[k == l]; math.Abs(mean) > 1e-4 || math.Abs(dot-want) > 1e-3 {
				t.Errorf("direction %d has the mean %v, and with %d the covariance %v", k, mean, l, dot)
			}
		}
	}
	var c scaler
	c.add(rows, w)
	mean, inverse := c.scales()
	x := scaling{mean, inverse}.appendTo(nil, rows)
	corr := make([]float64, w*w)
	for i := range n {
		for j := range w {
			for k := range w {
				corr[j*w+k] += float64(x[i*w+j]) * float64(x[i*w+k]) / n
			}
		}
	}
	values, vectors := eigen(corr, w)
	for k := range rank {
		own, dot := 0.0, 0.0
		for j := range w {
			axis := float64(d.axes[k*w+j]) / float64(inverse[j]) * math.Sqrt(values[k])
			own += axis * axis
			dot += axis * vectors[j*w+k]
		}
		if math.Abs(own-1) > 1e-3 || math.Abs(dot) < 0.999 {
			t.Errorf("direction %d has the length %v and the cosine %v with the eigenvector", k, own, dot)
		}
	}
}

// No more directions come out than the rows have.
func TestDirectionsOfFewRows(t *testing.T) {
	for _, test := range []struct{ n, w, rank, want int }{{1, 4, 2, 0}, {2, 4, 3, 1}, {6, 2, 9, 2}, {5, 30, 32, 4}, {4, 3, 0, 0}} {
		rows := make([]float32, test.n*test.w)
		normal(rows, rand.New(rand.NewPCG(2, 2)), 1)
		if d := fitDirections(rows, test.n, test.rank); d.rank() != test.want {
			t.Errorf("%d rows of %d, at most %d: %d directions, want %d", test.n, test.w, test.rank, d.rank(), test.want)
		}
	}
}
