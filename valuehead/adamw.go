package valuehead

import "math"

// adamW is Adam with decoupled weight decay (arXiv 1711.05101).
type adamW struct {
	first, second []float32 // running moments of the gradient
	decay         []bool    // per parameter
	step          int
}

const (
	beta1   = 0.9
	beta2   = 0.999
	epsilon = 1e-8
)

func newAdamW(m model) *adamW {
	n := count(m)
	o := &adamW{first: make([]float32, n), second: make([]float32, n), decay: make([]bool, n)}
	at := 0
	for _, t := range m.tensors() {
		for range t.rows * t.cols {
			o.decay[at] = t.decay
			at++
		}
	}
	return o
}

// update moves params[from:to] by the gradient grad, which begins at from. All ranges of
// one step must be updated under the same o.step, counted from 1.
func (o *adamW) update(params []float32, from, to int, grad []float32, rate, weightDecay float64) {
	c1 := float32(rate / (1 - math.Pow(beta1, float64(o.step))))
	c2 := float32(1 / (1 - math.Pow(beta2, float64(o.step))))
	shrink := float32(1 - rate*weightDecay)
	p, m, v, decay := params[from:to], o.first[from:to], o.second[from:to], o.decay[from:to]
	for i, g := range grad[:to-from] {
		m[i] += (1 - beta1) * (g - m[i])
		v[i] += (1 - beta2) * (g*g - v[i])
		if decay[i] {
			p[i] *= shrink
		}
		p[i] -= c1 * m[i] / (float32(math.Sqrt(float64(v[i]*c2))) + epsilon)
	}
}

// learningRate rises linearly over the first warmup steps and falls to zero on a cosine.
func learningRate(peak float64, step, warmup, steps int) float64 {
	if step < warmup {
		return peak * float64(step+1) / float64(warmup)
	}
	return peak * 0.5 * (1 + math.Cos(math.Pi*float64(step-warmup)/float64(max(steps-warmup, 1))))
}
