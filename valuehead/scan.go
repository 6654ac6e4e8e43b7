package valuehead

import (
	"math"
	"math/rand/v2"
)

// scan is a gated leaky memory along rows x_1..x_n of a sequence:
//
//	s_i = g_i s_{i-1} + tanh(Wa x_i + ba),  g_i = sigmoid(Wg x_i + bg),  s_0 = 0
//
// elementwise. What a row does to the memory depends on the row alone, so the products
// are those of all rows at once. In reverse it runs from the last row to the first.
type scan struct {
	name     string
	in       int
	channels int
	reverse  bool
}

func (c scan) tensors() []tensor {
	return []tensor{
		{c.name + ".write.weight", c.channels, c.in, true}, {c.name + ".write.bias", 1, c.channels, false},
		{c.name + ".gate.weight", c.channels, c.in, true}, {c.name + ".gate.bias", 1, c.channels, false},
	}
}

// scanTensors is the number of tensors of a scan.
const scanTensors = 4

func (c scan) init(p [][]float32, rng *rand.Rand) {
	deviation := 1 / math.Sqrt(float64(c.in))
	normal(p[0], rng, deviation)
	clear(p[1])
	normal(p[2], rng, deviation)
	for i := range p[3] { // half lives from one row to ten
		p[3][i] = 3 * (float32(i) + 0.5) / float32(c.channels)
	}
}

// scanTape is what forward leaves for backward, [n][channels] each.
type scanTape struct{ a, g, s []float32 }

// forward runs over sequences whose first rows are starts[0], starts[1] and so on, the
// last element being the end. x is [n][in].
func (c scan) forward(p [][]float32, work *scratch, starts []int, x []float32) scanTape {
	n := starts[len(starts)-1]
	t := c.inputs(p, work, n, x)
	t.s = work.floats(n * c.channels)
	zero := work.zeros(c.channels)
	c.walk(starts, false, func(i, before int) {
		last := zero
		if before >= 0 {
			last = c.row(t.s, before)
		}
		c.next(c.row(t.s, i), last, c.row(t.a, i), c.row(t.g, i))
	})
	return t
}

// inputs computes what each row writes, and its gate.
func (c scan) inputs(p [][]float32, work *scratch, n int, x []float32) scanTape {
	t := scanTape{a: work.floats(n * c.channels), g: work.floats(n * c.channels)}
	fully(n, c.channels, c.in, x, p[0], p[1], t.a)
	fully(n, c.channels, c.in, x, p[2], p[3], t.g)
	tanh(t.a)
	sigmoid(t.g)
	return t
}

func (c scan) next(s, last, a, g []float32) {
	for j := range s {
		s[j] = g[j]*last[j] + a[j]
	}
}

func (c scan) row(x []float32, i int) []float32 { return x[i*c.channels : (i+1)*c.channels] }

// walk calls step for every row with the row before it in the direction of the scan, -1
// for none; with back it goes from the end of the scan to its beginning.
func (c scan) walk(starts []int, back bool, step func(i, before int)) {
	for k := range len(starts) - 1 {
		from, to := starts[k], starts[k+1]
		for j := range to - from {
			i := from + j
			if c.reverse != back {
				i = to - 1 - j
			}
			before := i - 1
			if c.reverse {
				before = i + 1
			}
			if before < from || before >= to {
				before = -1
			}
			step(i, before)
		}
	}
}

// backward turns d, the gradient of s, into those of the parameters, and adds that of x
// to dx [n][in].
func (c scan) backward(p, g [][]float32, work *scratch, starts []int, x []float32, t scanTape, d, dx []float32) {
	n := starts[len(starts)-1]
	dg := work.floats(n * c.channels)
	c.walk(starts, true, func(i, before int) {
		di, gi, dgi := c.row(d, i), c.row(t.g, i), c.row(dg, i)
		if before < 0 {
			clear(dgi)
			return
		}
		last, dlast := c.row(t.s, before), c.row(d, before)
		for j, v := range di {
			dgi[j] = v * last[j] * gi[j] * (1 - gi[j])
			dlast[j] += v * gi[j]
		}
	})
	for i, a := range t.a[:n*c.channels] {
		d[i] *= 1 - a*a
	}
	for i, dy := range [][]float32{d, dg} {
		gemm(true, false, c.channels, c.in, n, 1, dy, c.channels, x, c.in, 0, g[2*i], c.in)
		sumRows(n, dy, g[2*i+1])
		gemm(false, false, n, c.in, c.channels, 1, dy, c.channels, p[2*i], c.in, 1, dx, c.in)
	}
}
