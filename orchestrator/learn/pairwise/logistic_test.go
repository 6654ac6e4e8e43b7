package pairwise

import (
	"math"
	"math/rand/v2"
	"testing"
)

// newton minimises what design.fit does, for one penalty and the rows that are not left out, by
// Newton's method in double precision: the oracle.
func newton(x [][]float64, margin []float64, penalty float64) []float64 {
	p := len(x[0])
	w := make([]float64, p)
	for range 50 {
		a := make([][]float64, p) // the Hessian and, behind it, the gradient
		for j := range a {
			a[j] = make([]float64, p+1)
			a[j][j], a[j][p] = penalty, penalty*w[j]
		}
		for i, row := range x {
			z := -margin[i]
			for j, v := range row {
				z += v * w[j]
			}
			s := 1 / (1 + math.Exp(z)) // sigma(m - x.w)
			for j := range row {
				a[j][p] -= s * row[j] / float64(len(x))
				for k := range row {
					a[j][k] += s * (1 - s) * row[j] * row[k] / float64(len(x))
				}
			}
		}
		for j := range p { // Gauss-Jordan
			for k := range p {
				if k == j {
					continue
				}
				f := a[k][j] / a[j][j]
				for l := j; l <= p; l++ {
					a[k][l] -= f * a[j][l]
				}
			}
		}
		for j := range p {
			w[j] -= a[j][p] / a[j][j]
		}
	}
	return w
}

// All penalties and folds that are fitted at once are where Newton's method finds each alone.
func TestLogistic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n, p = 80, 4
	var x []float32
	margin, fold := make([]float64, n), make([]int, n)
	for i := range n {
		common := rng.NormFloat64() // columns that nearly say the same
		x = append(x, float32(3*(common+0.2*rng.NormFloat64()+0.5)), float32(common+0.2*rng.NormFloat64()), float32(rng.NormFloat64()), 0)
		margin[i], fold[i] = rng.Float64(), rng.IntN(folds)
	}
	d := newDesign(x, p, margin, fold)
	w, columns, err := d.fit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for k := range folds + 1 {
		var some [][]float64
		var margins []float64
		for i := range n {
			if fold[i] == k {
				continue
			}
			row := make([]float64, p)
			for j, v := range d.x[i*p : (i+1)*p] {
				row[j] = float64(v)
			}
			some, margins = append(some, row), append(margins, margin[i])
		}
		for l, penalty := range penalties {
			want := newton(some, margins, penalty)
			for j := range want {
				if got := float64(w[j*columns+k*len(penalties)+l]); math.Abs(got-want[j]) > 5e-3*max(1, math.Abs(want[j])) {
					t.Errorf("fold %d, penalty %g: w[%d] is %g, not %g", k, penalty, j, got, want[j])
				}
			}
		}
	}
	// What the folds say of pairs is what the weights of the others do.
	differences := d.validated(w, columns, 3)
	for i := range n {
		want := 0.0
		for j, v := range d.column(w, columns, fold[i]*len(penalties)+3) {
			want += v * d.unit[j] * float64(d.x[i*p+j])
		}
		if math.Abs(differences[i]-want) > 1e-5 {
			t.Errorf("pair %d: %g, not %g", i, differences[i], want)
		}
	}
}

// Sides that do not differ say nothing, and are no trouble.
func TestNoDifferences(t *testing.T) {
	d := newDesign(make([]float32, 20), 2, make([]float64, 10), make([]int, 10))
	w, _, err := d.fit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range w {
		if v != 0 {
			t.Fatalf("a weight is %v", v)
		}
	}
}
