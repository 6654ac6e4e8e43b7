package valuehead

import (
	"fmt"
	"math/rand/v2"
)

// Kind names the shape of a head.
type Kind string

const (
	Linear Kind = "linear" // V = w x + b
	MLP    Kind = "mlp"    // V = w2 silu(W1 x + b1) + b2
)

// model maps standardised rows to standardised values. Its parameters are one vector,
// so that the optimiser and the sum over slices of a minibatch are plain loops.
type model interface {
	tensors() []tensor
	init(params []float32, rng *rand.Rand)
	// forward computes s.out from the first n rows of s.x.
	forward(params []float32, s *scratch, n int)
	// backward sets grad to the gradient of sum_i dout_i out_i, after a forward of
	// the same rows.
	backward(params []float32, s *scratch, n int, dout, grad []float32)
}

// tensor is a named part of the parameter vector, [rows][cols], row-major.
type tensor struct {
	name       string
	rows, cols int
	decay      bool // weights decay, biases do not
}

// newModel returns the model of a kind for rows of width floats.
func newModel(kind Kind, width, hidden int) (model, error) {
	switch {
	case kind == Linear:
		return linear{width}, nil
	case kind == MLP && hidden > 0:
		return mlp{width, hidden}, nil
	case kind == MLP:
		return nil, fmt.Errorf("%d hidden units (choose at least 1)", hidden)
	}
	return nil, fmt.Errorf("unknown kind %q (choose %s or %s)", kind, Linear, MLP)
}

// count is the number of parameters.
func count(m model) int {
	n := 0
	for _, t := range m.tensors() {
		n += t.rows * t.cols
	}
	return n
}

// parts cuts a parameter vector into the model's tensors.
func parts(m model, params []float32) [][]float32 {
	var out [][]float32
	for _, t := range m.tensors() {
		n := t.rows * t.cols
		out = append(out, params[:n:n])
		params = params[n:]
	}
	return out
}

// sliceRows is how many rows go through a model at once. It is fixed, so that sums over
// the slices of a minibatch do not depend on the number of workers.
const sliceRows = 128

// scratch is the working memory of one slice.
type scratch struct {
	x       []float32 // [sliceRows][width], standardised
	z, sig  []float32 // [sliceRows][hidden]: before the activation, and its sigmoid
	act, dz []float32 // [sliceRows][hidden]
	keep    []float32 // [sliceRows][hidden] factors of dropout; nil for none
	out     []float32 // [sliceRows]
	dout    []float32
}

func newScratch(width, hidden int) *scratch {
	rows := func(cols int) []float32 { return make([]float32, sliceRows*cols) }
	return &scratch{x: rows(width), z: rows(hidden), sig: rows(hidden), act: rows(hidden), dz: rows(hidden), out: rows(1), dout: rows(1)}
}
