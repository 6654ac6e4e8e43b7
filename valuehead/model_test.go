package valuehead

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestPlainGemm(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		return x
	}
	for _, shape := range [][3]int{{1, 1, 1}, {4, 3, 2}, {7, 5, 9}, {9, 1, 4}, {1, 6, 3}, {3, 2, 0}} {
		m, n, k := shape[0], shape[1], shape[2]
		for mode := range 16 {
			tA, tB, alpha, beta := mode&1 != 0, mode&2 != 0, float32(1), float32(0)
			if mode&4 != 0 {
				alpha = -0.5
			}
			if mode&8 != 0 {
				beta = 1.5
			}
			lda, ldb, ldc := k+2, n+1, n+3
			if tA {
				lda = m + 1
			}
			if tB {
				ldb = k + 1
			}
			a, b, c := random((max(m, k)+1)*lda), random((max(n, k)+1)*ldb), random(m*ldc)
			want := make([]float64, len(c))
			for i := range c {
				want[i] = float64(c[i])
			}
			for i := range m {
				for j := range n {
					sum := 0.0
					for p := range k {
						x, y := a[i*lda+p%lda], b[p*ldb+j%ldb]
						if tA {
							x = a[p*lda+i]
						}
						if tB {
							y = b[j*ldb+p]
						}
						sum += float64(x) * float64(y)
					}
					want[i*ldc+j] = float64(alpha)*sum + float64(beta)*want[i*ldc+j]
					if beta == 0 {
						c[i*ldc+j] = float32(math.NaN()) // must not be read
					}
				}
			}
			plainGemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
			for i := range want {
				if !(math.Abs(float64(c[i])-want[i]) < 1e-5) {
					t.Fatalf("%v tA=%v tB=%v alpha=%v beta=%v: c[%d] = %g, want %g", shape, tA, tB, alpha, beta, i, c[i], want[i])
				}
			}
		}
	}
}

func TestExp(t *testing.T) {
	for x := -87.0; x <= 88; x += 0.0137 {
		got, want := float64(exp(float32(x))), math.Exp(float64(float32(x)))
		if math.Abs(got/want-1) > 3e-7 {
			t.Fatalf("exp(%g) = %g, want %g", x, got, want)
		}
	}
}

func TestDropout(t *testing.T) {
	keep := make([]float32, 1<<16)
	dropout(keep, 0.25, rand.NewPCG(1, 1))
	zeros := 0
	for _, k := range keep {
		if k == 0 {
			zeros++
		} else if k != 4./3 {
			t.Fatalf("a factor of %g", k)
		}
	}
	// Five standard deviations of a binomial count.
	if share := float64(zeros) / float64(len(keep)); math.Abs(share-0.25) > 5*math.Sqrt(0.25*0.75/float64(len(keep))) {
		t.Errorf("%g of the units are dropped, want 0.25", share)
	}
}

// Every parameter's gradient against a central difference of the loss.
func TestGradient(t *testing.T) {
	const in, hidden, n = 5, 4, 7
	for name, test := range map[string]struct {
		m    model
		drop bool
	}{
		"linear": {linear{in}, false}, "mlp": {mlp{in, hidden}, false}, "mlp with dropout": {mlp{in, hidden}, true},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 6))
			params, grad := make([]float32, count(test.m)), make([]float32, count(test.m))
			s := newScratch(in, hidden)
			dout := make([]float32, n)
			for _, x := range [][]float32{params, s.x[:n*in], dout} {
				for i := range x {
					x[i] = float32(rng.NormFloat64())
				}
			}
			if test.drop {
				s.keep = make([]float32, len(s.act))
				dropout(s.keep, 0.5, rand.NewPCG(1, 1))
			}
			loss := func() (sum float64) {
				test.m.forward(params, s, n)
				for i, d := range dout {
					sum += float64(d) * float64(s.out[i])
				}
				return sum
			}
			loss()
			test.m.backward(params, s, n, dout, grad)
			const step = 1.0 / 128 // float32 sums near 1 leave an error of about 1e-5
			for i, p := range params {
				params[i] = p + step
				up := loss()
				params[i] = p - step
				down := loss()
				params[i] = p
				if want := (up - down) / (2 * step); math.Abs(float64(grad[i])-want) > 1e-3*math.Max(1, math.Abs(want)) {
					t.Errorf("parameter %d: gradient %g, difference %g", i, grad[i], want)
				}
			}
		})
	}
}

func TestLearningRate(t *testing.T) {
	for _, test := range []struct {
		step int
		want float64
	}{{0, 0.1}, {4, 0.5}, {9, 1}, {10, 1}, {55, 0.5}, {100, 0}} {
		if got := learningRate(1, test.step, 10, 100); math.Abs(got-test.want) > 1e-12 {
			t.Errorf("step %d: %g, want %g", test.step, got, test.want)
		}
	}
}
