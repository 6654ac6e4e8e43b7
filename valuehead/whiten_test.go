package valuehead

import (
	"math"
	"slices"
	"testing"
)

// The root times itself is the matrix, and times the inverse root the unit matrix, also where
// the eigenvalues lie a thousand apart.
func TestRoots(t *testing.T) {
	const n, w = 300, 70
	rows := correlated(n, w)
	var c scaler
	c.add(rows, w)
	mean, _ := c.scales()
	for i := range rows {
		rows[i] -= mean[i%w]
	}
	a := make([]float32, w*w)
	plainGemm(true, false, w, w, n, 1./n, rows, w, rows, w, 0, a, w)
	root, inverse := roots(a, w, 2)
	product := make([]float32, w*w)
	largest := float64(slices.Max(a))
	multiplySquare(product, root, root, w, 1)
	for i, v := range product {
		if math.Abs(float64(v-a[i])) > 1e-4*largest {
			t.Fatalf("element %d of the root's square is %v, want %v", i, v, a[i])
		}
	}
	multiplySquare(product, root, inverse, w, 1)
	for i, v := range product {
		if want := map[bool]float64{true: 1}[i%(w+1) == 0]; math.Abs(float64(v)-want) > 1e-2 {
			t.Fatalf("element %d of root and inverse is %v, want %v", i, v, want)
		}
	}
}
