package train

import (
	"math"

	"github.com/ivo-decoding/ivo/llama/blas"
)

// pass is one worker's scratch: the activations of the documents it works on, laid
// one after another as n rows. Rows of different documents meet in matrix products
// only; attention and positions keep to the document.
type pass struct {
	cfg Config

	n      int // rows in use
	docs   []span
	token  []int32 // input of each row
	target []int32 // class to predict: a token, or with share > 0 a mixture with other
	other  []int32
	share  []float32
	pos    []int32 // position in the document
	weight []float32

	layers []activations
	x      []float32 // [n][Width], the residual stream after the last layer
	inv    []float32 // [n], of the last norm
	normed []float32 // [n][Width]
	logits []float32 // [n][Outputs], turned into their gradient by the loss
	table  []float32 // [Context][head size], cosine and sine of each rotary pair
	grad   *gradients
}

// span is a document's rows.
type span struct{ start, n int }

// activations are what a layer's derivative needs of its forward pass.
type activations struct {
	x, norm1, mid, norm2 []float32 // [n][Width]: input, normed, after attention, normed
	inv1, inv2           []float32 // [n]
	qkv                  []float32 // [n][3*Width], rotated
	prob                 []float32 // a [length][length] square for each document and head
	heads                []float32 // [n][Width], attention before its output matrix
	gateUp               []float32 // [n][2*FF]
	ff                   []float32 // [n][FF]
}

// newPass allocates for at most rows rows; with a gradient, for backward too.
func newPass(cfg Config, rows int, gradient bool) *pass {
	c := cfg
	hd := c.Width / c.Heads
	p := &pass{cfg: c, table: rotaryTable(c.Context, hd, float64(c.Theta)),
		token: make([]int32, rows), target: make([]int32, rows), other: make([]int32, rows), share: make([]float32, rows), pos: make([]int32, rows), weight: make([]float32, rows)}
	alloc := func(cols int) []float32 { return make([]float32, rows*cols) }
	for range c.Layers {
		p.layers = append(p.layers, activations{
			x: alloc(c.Width), norm1: alloc(c.Width), mid: alloc(c.Width), norm2: alloc(c.Width),
			inv1: alloc(1), inv2: alloc(1), qkv: alloc(3 * c.Width), prob: alloc(c.Heads * min(c.Context, rows)),
			heads: alloc(c.Width), gateUp: alloc(2 * c.FF), ff: alloc(c.FF),
		})
	}
	p.x, p.inv, p.normed, p.logits = alloc(c.Width), alloc(1), alloc(c.Width), alloc(c.Outputs)
	if gradient {
		p.grad = newGradients(c, rows)
	}
	return p
}

// rotaryTable holds cos and sin of position * theta^(-2i/hd) for each pair i.
func rotaryTable(positions, hd int, theta float64) []float32 {
	t := make([]float32, positions*hd)
	for pos := range positions {
		for i := 0; i < hd; i += 2 {
			sin, cos := math.Sincos(float64(pos) * math.Pow(theta, -float64(i)/float64(hd)))
			t[pos*hd+i], t[pos*hd+i+1] = float32(cos), float32(sin)
		}
	}
	return t
}

// load lays out the documents.
func (p *pass) load(docs []Doc) {
	p.n, p.docs = 0, p.docs[:0]
	for _, d := range docs {
		p.docs = append(p.docs, span{p.n, d.rows()})
		for i := range d.rows() {
			c := d.class(i)
			p.token[p.n], p.target[p.n], p.other[p.n], p.share[p.n] = d.Tokens[i], c.A, c.B, c.ShareB
			p.pos[p.n], p.weight[p.n] = int32(i), d.weight(i)
			p.n++
		}
	}
}

// forward runs the loaded documents through the model and returns the sum over rows
// of weight * -log p(target), in nats. With a scale, p.logits holds the gradient of
// scale times that sum afterwards.
func (p *pass) forward(w weights, scale float32) float64 {
	c, n := p.cfg, p.n
	hd := c.Width / c.Heads
	gather(n, c.Width, w.embd, p.token, p.layers[0].x)
	for l := range p.layers {
		a, lw := &p.layers[l], &w.layers[l]
		rmsNorm(n, c.Width, a.x, lw.attnNorm, c.Eps, a.norm1, a.inv1)
		linear(n, c.Width, 3*c.Width, a.norm1, lw.qkv, a.qkv, false)
		rope(n, 2*c.Heads, hd, p.pos, p.table, 1, a.qkv, 3*c.Width) // queries and keys
		p.attend(a)
		copy(a.mid[:n*c.Width], a.x)
		linear(n, c.Width, c.Width, a.heads, lw.attnOut, a.mid, true)

		rmsNorm(n, c.Width, a.mid, lw.ffnNorm, c.Eps, a.norm2, a.inv2)
		linear(n, c.Width, 2*c.FF, a.norm2, lw.gateUp, a.gateUp, false)
		swiglu(n, c.FF, a.gateUp, a.ff)
		next := p.x
		if l+1 < len(p.layers) {
			next = p.layers[l+1].x
		}
		copy(next[:n*c.Width], a.mid)
		linear(n, c.FF, c.Width, a.ff, lw.down, next, true)
	}
	rmsNorm(n, c.Width, p.x, w.norm, c.Eps, p.normed, p.inv)
	linear(n, c.Width, c.Outputs, p.normed, w.out, p.logits, false)
	return crossEntropy(n, c.Outputs, p.logits, p.target, p.other, p.share, p.weight, scale)
}

// queryBlock rows of queries are attended to at once: no product reaches past the
// last of them, which saves up to half the work.
const queryBlock = 64

// eachHead calls f for every document and head with the document's rows, the head's
// first column, and its square of a.prob.
func (p *pass) eachHead(a *activations, f func(rows span, col int, prob []float32)) {
	rest := a.prob
	for _, d := range p.docs {
		for h := range p.cfg.Heads {
			f(d, h*p.cfg.Width/p.cfg.Heads, rest[:d.n*d.n])
			rest = rest[d.n*d.n:]
		}
	}
}

// attend computes softmax(q k^T / sqrt(head size)) v within each document.
func (p *pass) attend(a *activations) {
	width, hd := p.cfg.Width, p.cfg.Width/p.cfg.Heads
	ld := 3 * width // of q, k and v
	scale := float32(1 / math.Sqrt(float64(hd)))
	p.eachHead(a, func(d span, col int, prob []float32) {
		q := a.qkv[d.start*ld+col:]
		k, v, out := q[width:], q[2*width:], a.heads[d.start*width+col:]
		for i := 0; i < d.n; i += queryBlock {
			rows, seen := min(queryBlock, d.n-i), min(i+queryBlock, d.n)
			prob := prob[i*d.n:]
			blas.Gemm(false, true, rows, seen, hd, scale, q[i*ld:], ld, k, ld, 0, prob, d.n)
			causalSoftmax(rows, i, seen, prob, d.n)
			blas.Gemm(false, false, rows, hd, seen, 1, prob, d.n, v, ld, 0, out[i*width:], width)
		}
	})
}
