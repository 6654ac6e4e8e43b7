package valuehead

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Kind names the shape of a head.
type Kind string

const (
	Linear Kind = "linear" // V = w x + b
	MLP    Kind = "mlp"    // V = w2 silu(W1 x + b1) + b2
	// Recall carries a learned memory along the response and looks back at the prompt's
	// own states; see [Shape].
	Recall Kind = "recall"
	// Additive is a head that is nothing but its [Advantages].
	Additive Kind = "additive"
)

// Kinds are all shapes of heads that are trained on states; Additive is fitted to the tokens.
var Kinds = []Kind{Linear, MLP, Recall}

// model maps the standardised rows of responses to outputs. Its parameters are one
// vector, so that the optimiser and the sum over slices of a minibatch are plain loops.
type model interface {
	tensors() []tensor
	init(params []float32, rng *rand.Rand)
	// forward computes s.out [n][outputs] from the rows of s.batch.
	forward(params []float32, s *scratch)
	// backward sets grad to the gradient of sum dout out, s.dout being [n][outputs],
	// after a forward of the same batch with the same parameters.
	backward(params []float32, s *scratch, grad []float32)
}

// tensor is a named part of the parameter vector, [rows][cols], row-major.
type tensor struct {
	name       string
	rows, cols int
	decay      bool // weights decay, biases do not
}

// outBias names the bias of the outputs, which every model has.
const outBias = "out.bias"

// newModel returns the model of a shape for rows of width floats, and prompts' rows of
// promptWidth; like is that of Features.
func newModel(kind Kind, shape Shape, width, promptWidth int, like []int) (model, error) {
	if shape.Hidden < 1 && kind != Linear && kind != Additive {
		return nil, fmt.Errorf("%d hidden units (choose at least 1)", shape.Hidden)
	}
	switch kind {
	case Linear:
		return linear{width, shape.outputs()}, nil
	case MLP:
		return mlp{width, shape.Hidden, shape.outputs()}, nil
	case Additive:
		return ready{}, nil
	case Recall:
		return newRecallNet(shape, width, promptWidth, like)
	}
	return nil, fmt.Errorf("unknown kind %q (choose from %q)", kind, append(slices.Clone(Kinds), Additive))
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
func parts(m model, params []float32) [][]float32 { return appendParts(nil, m, params) }

func appendParts(dst [][]float32, m model, params []float32) [][]float32 {
	for _, t := range m.tensors() {
		n := t.rows * t.cols
		dst = append(dst, params[:n:n])
		params = params[n:]
	}
	return dst
}

// batch is a slice of a minibatch: the rows of whole responses, one response after the
// other, and their prompts.
type batch struct {
	n         int
	x         []float32 // [n][width], standardised
	starts    []int     // first row of each response, and n
	tokens    []int32   // [n]
	prompt    []int     // which of the prompts each response answers
	promptIDs [][]int32 // tokens of each prompt
	p         []float32 // [all prompts' tokens][prompt width], standardised
	pstarts   []int     // first row of each prompt in p, and their end
}

// reset empties the batch.
func (b *batch) reset() {
	b.n, b.x, b.tokens, b.prompt, b.promptIDs, b.p = 0, b.x[:0], b.tokens[:0], b.prompt[:0], b.promptIDs[:0], b.p[:0]
	b.starts, b.pstarts = append(b.starts[:0], 0), append(b.pstarts[:0], 0)
}

// promptRows are the first row and the number of rows of the prompt of response i.
func (b *batch) promptRows(i int) (first, count int) {
	k := b.prompt[i]
	return b.pstarts[k], b.pstarts[k+1] - b.pstarts[k]
}

// scratch is the working memory of one slice.
type scratch struct {
	batch
	out, dout []float32 // [n][outputs]
	// Dropout, while training: rng is nil otherwise.
	drop float32
	rng  *rand.PCG
	tape any // what forward leaves for backward
	step     // of responses that are being decoded
	pool []float32
	used int
}

// floats returns n floats of the scratch's own memory, valid until rewind. They are not
// cleared.
func (s *scratch) floats(n int) []float32 {
	if s.used+n > len(s.pool) {
		s.pool = make([]float32, max(2*len(s.pool), n, 1<<12)) // slices of the old pool stay valid
		s.used = 0
	}
	x := s.pool[s.used : s.used+n : s.used+n]
	s.used += n
	return x
}

func (s *scratch) zeros(n int) []float32 {
	x := s.floats(n)
	clear(x)
	return x
}

// rewind frees what floats gave.
func (s *scratch) rewind() { s.used = 0 }

// mask returns n factors of dropout, or nil outside training.
func (s *scratch) mask(n int) []float32 {
	if s.rng == nil || s.drop <= 0 {
		return nil
	}
	keep := s.floats(n)
	dropout(keep, s.drop, s.rng)
	return keep
}

// fully is a layer y = x W^T + b of n rows, W being [outs][ins].
func fully(n, outs, ins int, x, w, b, y []float32) {
	gemm(false, true, n, outs, ins, 1, x, ins, w, ins, 0, y, outs)
	if b != nil {
		addRows(n, y, b)
	}
}

// addRows adds b to each of the n rows of y.
func addRows(n int, y, b []float32) {
	for i := range n {
		row := y[i*len(b):][:len(b)]
		for j, v := range b {
			row[j] += v
		}
	}
}

// sumRows sets g to the sum of the n rows of y.
func sumRows(n int, y, g []float32) {
	clear(g)
	for i := range n {
		row := y[i*len(g):][:len(g)]
		for j, v := range row {
			g[j] += v
		}
	}
}

// siluBack turns d, the gradient of act, into that of z.
func siluBack(z, sig, keep, d []float32) {
	for i, k := range keep {
		d[i] *= k
	}
	z, sig = z[:len(d)], sig[:len(d)]
	for i := range d {
		d[i] *= sig[i] * (1 + z[i]*(1-sig[i]))
	}
}

// normal fills w with normal numbers of the given deviation.
func normal(w []float32, rng *rand.Rand, deviation float64) {
	for i := range w {
		w[i] = float32(rng.NormFloat64() * deviation)
	}
}
