package valuehead

import (
	"math"
	"math/rand/v2"
)

// mlp has one hidden layer with the SiLU activation, z sigmoid(z):
// W1 [hidden][in], b1 [hidden], w2 [1][hidden], b2 [1].
type mlp struct{ in, hidden int }

func (m mlp) tensors() []tensor {
	return []tensor{
		{"hidden.weight", m.hidden, m.in, true}, {"hidden.bias", 1, m.hidden, false},
		{"out.weight", 1, m.hidden, true}, {"out.bias", 1, 1, false},
	}
}

// init draws weights with variance 1/(inputs), so that standardised rows stay of order 1.
func (m mlp) init(params []float32, rng *rand.Rand) {
	for i, part := range parts(m, params) {
		t := m.tensors()[i]
		clear(part)
		if t.decay {
			scale := 1 / math.Sqrt(float64(t.cols))
			for k := range part {
				part[k] = float32(rng.NormFloat64() * scale)
			}
		}
	}
}

func (m mlp) forward(params []float32, s *scratch, n int) {
	h := m.hidden
	w1, rest := params[:h*m.in], params[h*m.in:]
	b1, w2, b2 := rest[:h], rest[h:2*h], rest[2*h]
	gemm(false, true, n, h, m.in, 1, s.x, m.in, w1, m.in, 0, s.z, h)
	for i := range n {
		z, sig, act := s.z[i*h:(i+1)*h], s.sig[i*h:(i+1)*h], s.act[i*h:(i+1)*h]
		for j, b := range b1 {
			z[j] += b
			sig[j] = sigmoid(z[j])
			act[j] = z[j] * sig[j]
		}
		if s.keep != nil {
			for j, k := range s.keep[i*h : (i+1)*h] {
				act[j] *= k
			}
		}
		out := b2
		for j, w := range w2 {
			out += w * act[j]
		}
		s.out[i] = out
	}
}

func (m mlp) backward(params []float32, s *scratch, n int, dout, grad []float32) {
	h := m.hidden
	w2 := params[h*m.in+h : h*m.in+2*h]
	gw1, rest := grad[:h*m.in], grad[h*m.in:]
	gb1, gw2 := rest[:h], rest[h:2*h]
	clear(rest)
	rest[2*h] = sum(dout[:n])
	for i, d := range dout[:n] {
		z, sig, dz := s.z[i*h:(i+1)*h], s.sig[i*h:(i+1)*h], s.dz[i*h:(i+1)*h]
		act := s.act[i*h : (i+1)*h]
		for j, w := range w2 {
			gw2[j] += d * act[j]
			dz[j] = d * w * sig[j] * (1 + z[j]*(1-sig[j]))
		}
		if s.keep != nil {
			for j, k := range s.keep[i*h : (i+1)*h] {
				dz[j] *= k
			}
		}
		for j, v := range dz {
			gb1[j] += v
		}
	}
	gemm(true, false, h, m.in, n, 1, s.dz, h, s.x, m.in, 0, gw1, m.in)
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

func sigmoid(z float32) float32 { return 1 / (1 + exp(-z)) }

// exp is e^x to a relative error of about 2e-7, x clamped to [-87, 88]: 2^n e^r with
// |r| <= ln(2)/2 and e^r by its Taylor series to r^6. The library's exp, in float64,
// takes several times as long.
func exp(x float32) float32 {
	const (
		toInt = 3 << 22 // a float32 of this size has an ulp of 1
		hi    = 0.693359375
		lo    = math.Ln2 - hi // hi has few bits, so n*hi is exact
	)
	x = min(max(x, -87), 88)
	shifted := x*math.Log2E + toInt
	n := shifted - toInt
	r := x - n*hi
	r -= n * lo
	p := 1 + r*(1+r*(1./2+r*(1./6+r*(1./24+r*(1./120+r*(1./720))))))
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}
