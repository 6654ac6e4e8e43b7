package valuehead

import "math/rand/v2"

// linear is w [1][in] and b [1].
type linear struct{ in int }

func (l linear) tensors() []tensor {
	return []tensor{{"out.weight", 1, l.in, true}, {"out.bias", 1, 1, false}}
}

func (l linear) init(params []float32, _ *rand.Rand) { clear(params) }

func (l linear) forward(params []float32, s *scratch, n int) {
	w, b := params[:l.in], params[l.in]
	gemm(false, true, n, 1, l.in, 1, s.x, l.in, w, l.in, 0, s.out, 1)
	for i := range s.out[:n] {
		s.out[i] += b
	}
}

func (l linear) backward(_ []float32, s *scratch, n int, dout, grad []float32) {
	gemm(false, false, 1, l.in, n, 1, dout, n, s.x, l.in, 0, grad, l.in)
	grad[l.in] = sum(dout[:n])
}

func sum(x []float32) (total float32) {
	for _, v := range x {
		total += v
	}
	return total
}
