package valuehead

import "math"

// Exp replaces every x[i] by e^(x[i]-shift), the exponent clamped to about [-87, 88], and
// returns the sum. It must be safe to call from several goroutines at once, and what
// becomes of a number must not depend on its place.
type Exp func(x []float32, shift float32) (sum float32)

var exps Exp = plainExp

// UseExp makes e the exponential function of all heads. Call it once, before any head is
// used: a program that links C has a faster one than the default in plain Go.
func UseExp(e Exp) { exps = e }

func plainExp(x []float32, shift float32) (sum float32) {
	for i, v := range x {
		x[i] = exp(v - shift)
		sum += x[i]
	}
	return sum
}

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

// largest is the maximum of x.
func largest(x []float32) float32 {
	top := x[0]
	for _, v := range x {
		if v > top { // a branch is cheaper than the care that max takes
			top = v
		}
	}
	return top
}

// sigmoid replaces x by 1/(1+e^-x).
func sigmoid(x []float32) {
	for i, v := range x {
		x[i] = -v
	}
	exps(x, 0)
	for i, v := range x {
		x[i] = 1 / (1 + v)
	}
}

func tanh(x []float32) {
	for i, v := range x {
		x[i] = -2 * v
	}
	exps(x, 0)
	for i, v := range x {
		x[i] = 2/(1+v) - 1
	}
}

// silu computes act = z sigmoid(z), times keep where there is one, and leaves the
// sigmoid in sig.
func silu(z, sig, act, keep []float32) {
	sig, act = sig[:len(z)], act[:len(z)]
	copy(sig, z)
	sigmoid(sig)
	for i, v := range z {
		act[i] = v * sig[i]
	}
	for i, k := range keep {
		act[i] *= k
	}
}
