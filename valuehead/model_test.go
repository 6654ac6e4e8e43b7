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

// randomBatch fills a scratch with responses of the given lengths to prompts of the given
// lengths, taken in turn, which share tokens with them.
func randomBatch(rng *rand.Rand, width, promptWidth, outs int, lengths, prompts []int) *scratch {
	s := &scratch{}
	s.reset()
	random := func(n int) []float32 {
		x := make([]float32, n)
		normal(x, rng, 1)
		return x
	}
	ids := func(n int) []int32 {
		x := make([]int32, n)
		for i := range x {
			x[i] = int32(rng.IntN(3))
		}
		return x
	}
	for i, n := range lengths {
		s.n += n
		s.starts = append(s.starts, s.n)
		s.tokens = append(s.tokens, ids(n)...)
		s.prompt = append(s.prompt, i%len(prompts))
	}
	for i, n := range prompts {
		s.promptIDs = append(s.promptIDs, ids(n))
		s.pstarts = append(s.pstarts, s.pstarts[i]+n)
	}
	s.x, s.p = random(s.n*width), random(s.pstarts[len(prompts)]*promptWidth)
	s.out, s.dout = make([]float32, s.n*outs), random(s.n*outs)
	return s
}

// Every parameter's gradient against a central difference of the loss.
func TestGradient(t *testing.T) {
	const in, pw = 5, 3
	recall := func(s Shape) model {
		m, err := newRecallNet(s, in, pw*min(s.Values, 1), nil)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	full := Shape{Hidden: 4, Project: 3, Channels: 3, Keys: 2, Values: 3, Products: 2, Scan: 2, Embedding: 2, Vocabulary: 3}
	atoms, sums, plain, blind, still := full, full, full, full, full
	still.Scan = 0
	atoms.Atoms = 3
	sums.Advantages = true
	plain.Embedding = 0
	blind.Keys, blind.Values, blind.Products = 0, 0, 0
	for name, test := range map[string]struct {
		m    model
		outs int
		drop bool
	}{
		"linear":            {linear{in, 1}, 1, false},
		"linear with atoms": {linear{in, 3}, 3, false},
		"mlp":               {mlp{in, 4, 1}, 1, false},
		"mlp with dropout":  {mlp{in, 4, 2}, 2, true},
		"recall":            {recall(full), 1, false},
		"recall with atoms": {recall(atoms), 3, true},
		"sum of advantages": {recall(sums), 1, false},
		"without embedding": {recall(plain), 1, false},
		"without attention": {recall(blind), 1, false},
		"without scans":     {recall(still), 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 6))
			params, grad := make([]float32, count(test.m)), make([]float32, count(test.m))
			s := randomBatch(rng, in, pw, test.outs, []int{4, 1, 3}, []int{5, 2})
			normal(params, rng, 0.5)
			normal(grad, rng, 1) // must be overwritten
			if test.drop {
				s.drop, s.rng = 0.5, rand.NewPCG(1, 1)
			}
			loss := func() (sum float64) {
				s.rewind()
				if test.drop {
					s.rng.Seed(1, 1)
				}
				test.m.forward(params, s)
				for i, d := range s.dout {
					sum += float64(d) * float64(s.out[i])
				}
				return sum
			}
			loss()
			test.m.backward(params, s, grad)
			names := parts(test.m, make([]float32, len(params)))
			const step = 1.0 / 64 // float32 sums near 1 leave an error of about 1e-5
			i := 0
			for k, part := range names {
				for range part {
					p := params[i]
					difference := func(step float32) float64 {
						params[i] = p + step
						up := loss()
						params[i] = p - step
						down := loss()
						params[i] = p
						return (up - down) / (2 * float64(step))
					}
					// Richardson's extrapolation cancels the error in step^2.
					want := (4*difference(step/2) - difference(step)) / 3
					if math.Abs(float64(grad[i])-want) > 2e-3*math.Max(1, math.Abs(want)) {
						t.Errorf("%s: parameter %d: gradient %g, difference %g", test.m.tensors()[k].name, i, grad[i], want)
					}
					i++
				}
			}
		})
	}
}

// The length of a match against its definition.
func TestMatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(n int) []int32 {
		x := make([]int32, n)
		for i := range x {
			x[i] = int32(rng.IntN(2))
		}
		return x
	}
	for range 50 {
		prompt, response := random(12), random(9)
		var now []match
		for k, token := range response {
			now = appendMatches(nil, prompt, now, token)
			got := make([]uint8, len(prompt))
			for _, m := range now {
				got[m.at] = m.length
			}
			for j := range prompt {
				want := 0
				for want < matchLevels-1 && want <= j && want <= k && prompt[j-want] == response[k-want] {
					want++
				}
				if int(got[j]) != want {
					t.Fatalf("prompt %v, response %v: %d tokens match at %d, want %d", prompt, response[:k+1], got[j], j, want)
				}
			}
		}
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
