package blas

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
)

// triple is the oracle: the definition, summed in float64.
func triple(tA, tB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	for i := range m {
		for j := range n {
			sum := 0.0
			for p := range k {
				x, y := i*lda+p, p*ldb+j
				if tA {
					x = p*lda + i
				}
				if tB {
					y = j*ldb + p
				}
				sum += float64(a[x]) * float64(b[y])
			}
			v := float64(alpha) * sum
			if beta != 0 {
				v += float64(beta) * float64(c[i*ldc+j])
			}
			c[i*ldc+j] = float32(v)
		}
	}
}

func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32() - .5
	}
	return x
}

type product struct {
	tA, tB      bool
	m, n, k     int
	pad         int // distance of rows beyond their length
	alpha, beta float32
}

func (p product) check(r *rand.Rand) error {
	lda, ldb, ldc := p.k+p.pad, p.n+p.pad, p.n+p.pad
	if p.tA {
		lda = p.m + p.pad
	}
	if p.tB {
		ldb = p.k + p.pad
	}
	a, b := random(r, lda*max(p.m, p.k)), random(r, ldb*max(p.n, p.k))
	got := random(r, ldc*p.m)
	if p.beta == 0 {
		got[0] = float32(math.NaN()) // must not be read
	}
	want := append([]float32(nil), got...)
	Gemm(p.tA, p.tB, p.m, p.n, p.k, p.alpha, a, lda, b, ldb, p.beta, got, ldc)
	triple(p.tA, p.tB, p.m, p.n, p.k, p.alpha, a, lda, b, ldb, p.beta, want, ldc)
	for i := range want {
		// k products below 1/4, each rounded: far inside k*2^-24.
		if !(math.Abs(float64(got[i]-want[i])) <= 1e-6*float64(p.k+1)) {
			return fmt.Errorf("%+v: element %d is %v, want %v", p, i, got[i], want[i])
		}
	}
	return nil
}

func products() (out []product) {
	// Around the register tile, and past each cache block (96, 256, 512).
	sizes := [][3]int{{1, 1, 1}, {1, 1, 7}, {5, 3, 2}, {6, 16, 8}, {7, 17, 9}, {13, 33, 31}, {12, 32, 256},
		{97, 15, 257}, {5, 513, 3}, {101, 530, 300}, {64, 128, 640}, {8, 96, 1000}, {3, 4, 0}}
	for _, s := range sizes {
		for t := range 4 {
			for i, scale := range [][2]float32{{1, 0}, {-.5, 1}, {2, .25}} {
				out = append(out, product{t&1 != 0, t&2 != 0, s[0], s[1], s[2], 3 * i, scale[0], scale[1]})
			}
		}
	}
	return out
}

func TestGemm(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, p := range products() {
		if err := p.check(r); err != nil {
			t.Error(err)
		}
	}
}

func TestGemmConcurrent(t *testing.T) {
	var wg sync.WaitGroup
	for g := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, g))
			for range 20 {
				if err := (product{false, true, 37, 65, 41, 1, 1, 0}).check(r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestGemmBounds(t *testing.T) {
	x := make([]float32, 6)
	for name, call := range map[string]func(){
		"short A": func() { Gemm(false, false, 3, 2, 3, 1, x, 3, x, 2, 0, x, 2) },
		"short B": func() { Gemm(false, true, 2, 3, 3, 1, x, 3, x, 3, 0, x, 3) },
		"short C": func() { Gemm(false, false, 3, 3, 2, 1, x, 2, x, 3, 0, x, 3) },
		"stride":  func() { Gemm(false, false, 2, 2, 3, 1, x, 2, x, 2, 0, x, 2) },
		"shape":   func() { Gemm(false, false, -1, 2, 3, 1, x, 3, x, 2, 0, x, 2) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range []product{
		{m: 512, n: 512, k: 512}, {m: 512, n: 512, k: 512, tB: true}, {m: 512, n: 512, k: 512, tA: true},
		{m: 256, n: 384, k: 128, tB: true}, {m: 256, n: 128, k: 384, tB: true}, {m: 256, n: 1024, k: 128, tB: true},
		{m: 256, n: 128, k: 1024}, {m: 1024, n: 128, k: 256, tA: true}, {m: 768, n: 128, k: 256, tA: true},
		{m: 64, n: 64, k: 32, tB: true}, {m: 64, n: 32, k: 64},
	} {
		b.Run(fmt.Sprintf("%dx%dx%d/tA=%t,tB=%t", s.m, s.n, s.k, s.tA, s.tB), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			x, y, z := random(r, s.m*s.k), random(r, s.k*s.n), random(r, s.m*s.n)
			lda, ldb := s.k, s.n
			if s.tA {
				lda = s.m
			}
			if s.tB {
				ldb = s.k
			}
			for b.Loop() {
				Gemm(s.tA, s.tB, s.m, s.n, s.k, 1, x, lda, y, ldb, 0, z, s.n)
			}
			b.ReportMetric(2*float64(s.m*s.n*s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

func TestExp(t *testing.T) {
	for n := range 40 {
		for _, shift := range []float32{0, -3.5} {
			x, want, sum := make([]float32, n), make([]float64, n), 0.0
			for i := range x {
				x[i] = float32(i*i%91)*1.8 - 83
				want[i] = math.Exp(float64(x[i] - shift))
				sum += want[i]
			}
			got := Exp(x, shift)
			for i := range x {
				if math.Abs(float64(x[i])/want[i]-1) > 3e-7 {
					t.Fatalf("%d of %d: %g, want %g", i, n, x[i], want[i])
				}
			}
			if n > 0 && math.Abs(float64(got)/sum-1) > 1e-6 {
				t.Fatalf("sum of %d: %g, want %g", n, got, sum)
			}
		}
	}
	extremes := []float32{-1e9, 1e9, float32(math.Inf(-1)), float32(math.Inf(1))}
	Exp(extremes, 0)
	for i, want := range []float64{-87, 88, -87, 88} {
		if math.Abs(float64(extremes[i])/math.Exp(want)-1) > 3e-7 {
			t.Errorf("clamped to %g, want %g", extremes[i], math.Exp(want))
		}
	}
}

func TestTilt(t *testing.T) {
	for n := range 40 {
		x, y, out := make([]float32, n), make([]float32, n), make([]float32, n)
		const x0, p, y0, q = 1.5, 0.7, -0.25, 3
		sum, moment := 0.0, 0.0
		for i := range x {
			x[i], y[i] = float32(i*i%11)-3, float32(i*i*i%7)*0.3-1
		}
		gotSum, gotMoment := Tilt(out, x, y, x0, p, y0, q)
		for i := range x {
			want := math.Exp(p*(float64(x[i])-x0) + q*(float64(y[i])-y0))
			sum, moment = sum+want, moment+want*(float64(y[i])-y0)
			if math.Abs(float64(out[i])/want-1) > 2e-6 {
				t.Fatalf("%d of %d: %g, want %g", i, n, out[i], want)
			}
		}
		if math.Abs(float64(gotSum)-sum) > 3e-6*sum || math.Abs(float64(gotMoment)-moment) > 3e-6*sum {
			t.Fatalf("sum of %d: %g, %g, want %g, %g", n, gotSum, gotMoment, sum, moment)
		}
	}
	out := make([]float32, 2)
	if Tilt(out, []float32{-1e30, 1e30}, make([]float32, 2), 0, 1, 0, 1); math.Abs(float64(out[0])/math.Exp(-87)-1) > 3e-7 || math.Abs(float64(out[1])/math.Exp(88)-1) > 3e-7 {
		t.Errorf("clamped to %g", out)
	}
}

func BenchmarkExp(b *testing.B) {
	x := make([]float32, 1024)
	for b.Loop() {
		Exp(x, 1)
	}
}
