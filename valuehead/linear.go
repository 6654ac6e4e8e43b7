package valuehead

import "math/rand/v2"

// linear is w [outs][in] and b [outs].
type linear struct{ in, outs int }

func (l linear) tensors() []tensor {
	return []tensor{{"out.weight", l.outs, l.in, true}, {outBias, 1, l.outs, false}}
}

func (l linear) init(params []float32, _ *rand.Rand) { clear(params) }

func (l linear) forward(params []float32, s *scratch) {
	fully(s.n, l.outs, l.in, s.x, params, params[l.outs*l.in:], s.out)
}

func (l linear) backward(_ []float32, s *scratch, grad []float32) {
	gemm(true, false, l.outs, l.in, s.n, 1, s.dout, l.outs, s.x, l.in, 0, grad, l.in)
	sumRows(s.n, s.dout, grad[l.outs*l.in:])
}
