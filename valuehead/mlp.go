package valuehead

import (
	"math"
	"math/rand/v2"
)

// mlp has one hidden layer with the SiLU activation, z sigmoid(z):
// W1 [hidden][in], b1 [hidden], W2 [outs][hidden], b2 [outs].
type mlp struct{ in, hidden, outs int }

func (m mlp) tensors() []tensor {
	return []tensor{
		{"hidden.weight", m.hidden, m.in, true}, {"hidden.bias", 1, m.hidden, false},
		{"out.weight", m.outs, m.hidden, true}, {outBias, 1, m.outs, false},
	}
}

// init draws weights with variance 1/(inputs), so that standardised rows stay of order 1.
func (m mlp) init(params []float32, rng *rand.Rand) {
	for i, part := range parts(m, params) {
		t := m.tensors()[i]
		clear(part)
		if t.decay {
			normal(part, rng, 1/math.Sqrt(float64(t.cols)))
		}
	}
}

// mlpTape is what the hidden layer leaves for backward, [n][hidden] each.
type mlpTape struct{ z, sig, act, keep []float32 }

func (m mlp) forward(params []float32, s *scratch) {
	p := parts(m, params)
	size := s.n * m.hidden
	t := mlpTape{s.floats(size), s.floats(size), s.floats(size), s.mask(size)}
	fully(s.n, m.hidden, m.in, s.x, p[0], p[1], t.z)
	silu(t.z, t.sig, t.act, t.keep)
	fully(s.n, m.outs, m.hidden, t.act, p[2], p[3], s.out)
	s.tape = t
}

func (m mlp) backward(params []float32, s *scratch, grad []float32) {
	p, g, t := parts(m, params), parts(m, grad), s.tape.(mlpTape)
	gemm(true, false, m.outs, m.hidden, s.n, 1, s.dout, m.outs, t.act, m.hidden, 0, g[2], m.hidden)
	sumRows(s.n, s.dout, g[3])
	d := s.floats(s.n * m.hidden)
	gemm(false, false, s.n, m.hidden, m.outs, 1, s.dout, m.outs, p[2], m.hidden, 0, d, m.hidden)
	siluBack(t.z, t.sig, t.keep, d)
	gemm(true, false, m.hidden, m.in, s.n, 1, d, m.hidden, s.x, m.in, 0, g[0], m.in)
	sumRows(s.n, d, g[1])
}

// dropout fills keep with 0 with probability p and with 1/(1-p) otherwise. p is rounded
// to a multiple of 2^-16.
func dropout(keep []float32, p float32, rng *rand.PCG) {
	limit := uint64(p * (1 << 16))
	scale := 1 / (1 - float32(limit)/(1<<16))
	var bits uint64
	for i := range keep {
		if i%4 == 0 {
			bits = rng.Uint64()
		}
		keep[i] = scale
		if bits&0xffff < limit {
			keep[i] = 0
		}
		bits >>= 16
	}
}
