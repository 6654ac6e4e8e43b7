package valuehead

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The solution is that of Gauss's elimination, for sizes below, at and above the blocks.
func TestSolveSymmetric(t *testing.T) {
	for _, n := range []int{1, 5, 64, 65, 200, 261} {
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		x := make([]float32, (n+3)*n)
		normal(x, rng, 1)
		a := make([]float32, n*n)
		plainGemm(true, false, n, n, n+3, 1, x, n, x, n, 0, a, n)
		full, b := make([]float64, n*n), make([]float64, n)
		for i := range n {
			b[i] = rng.NormFloat64()
			for j := range n {
				a[i*n+j] = a[j*n+i] // exactly symmetric
				full[i*n+j] = float64(a[i*n+j])
			}
			full[i*n+i] += 0.5
		}
		got, err := solveSymmetric(a, make([]float32, n*n), n, 0.5, b, 3)
		if err != nil {
			t.Fatal(err)
		}
		want := eliminate(full, append([]float64(nil), b...))
		for i := range n {
			if math.Abs(got[i]-want[i]) > 1e-6*(1+math.Abs(want[i])) {
				t.Fatalf("n %d: x[%d] is %v, want %v", n, i, got[i], want[i])
			}
		}
	}
	if _, err := solveSymmetric([]float32{1, 2, 2, 1}, make([]float32, 4), 2, 0, []float64{1, 1}, 1); err == nil {
		t.Error("an indefinite matrix was factored")
	}
}
