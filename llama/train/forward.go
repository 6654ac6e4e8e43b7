package train

import (
	"math"

	"github.com/ivo-decoding/ivo/llama/blas"
)

// pass is one worker's scratch: the activations of the documents it works on, laid
// one after another as n rows. Rows of different documents meet in matrix products
// only; attention and positions keep to the document. The rows that have a weight are
// read: the output matrix is multiplied with these alone, and each gives one number.
type pass struct {
	cfg      Config
	examples []example // loaded

	n     int // rows in use
	docs  []span
	token []int32 // input of each row
	pos   []int32 // position in the document

	layers []activations
	prob   []float32 // [queryBlock][longest document], of one block of queries and one head
	x      []float32 // [n][Width], the residual stream after the last layer
	table  []float32 // [longest document][head size], cosine and sine of each rotary pair

	read   []span  // of each document, in what follows
	row    []int32 // the m rows that are read
	target []int32 // class to predict: a token, or with share > 0 a mixture with other
	other  []int32
	share  []float32
	weight []float32
	last   []float32 // [m][Width], the rows of x
	inv    []float32 // [m], of the last norm
	normed []float32 // [m][Width]
	logits []float32 // [m][Outputs], their softmax after forward, their gradient in backward
	said   []float32 // [m], log p(target), or of a single output the output itself
	dsaid  []float32 // [m], the loss's derivative by it

	grad *gradients
}

// span is a run of rows.
type span struct{ start, n int }

// activations are what a layer's derivative needs of its forward pass.
type activations struct {
	x, norm1, mid, norm2 []float32 // [n][Width]: input, normed, after attention, normed
	inv1, inv2           []float32 // [n]
	qkv                  []float32 // [n][Width+2*kv], rotated
	heads                []float32 // [n][Width], attention before its output matrix
	gateUp               []float32 // [n][2*FF]
	ff                   []float32 // [n][FF]
}

// newPass allocates for at most rows rows of documents of at most longest each; with a
// gradient, for backward too. What is not used of it costs no memory.
func newPass(cfg Config, rows, longest int, gradient bool) *pass {
	c := cfg
	p := &pass{cfg: c, table: rotaryTable(longest, c.head(), float64(c.Theta)),
		token: make([]int32, rows), pos: make([]int32, rows), row: make([]int32, rows), target: make([]int32, rows), other: make([]int32, rows)}
	alloc := func(cols int) []float32 { return make([]float32, rows*cols) }
	for range c.Layers {
		p.layers = append(p.layers, activations{
			x: alloc(c.Width), norm1: alloc(c.Width), mid: alloc(c.Width), norm2: alloc(c.Width),
			inv1: alloc(1), inv2: alloc(1), qkv: alloc(c.qkv()),
			heads: alloc(c.Width), gateUp: alloc(2 * c.FF), ff: alloc(c.FF),
		})
	}
	p.prob = make([]float32, queryBlock*longest)
	p.x, p.last, p.inv, p.normed, p.logits = alloc(c.Width), alloc(c.Width), alloc(1), alloc(c.Width), alloc(c.Outputs)
	p.share, p.weight, p.said, p.dsaid = alloc(1), alloc(1), alloc(1), alloc(1)
	if gradient {
		p.grad = newGradients(c, rows, longest)
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

// load lays out the examples' documents.
func (p *pass) load(examples []example) {
	n, m := 0, 0
	p.examples, p.docs, p.read = examples, p.docs[:0], p.read[:0]
	for _, e := range examples {
		for _, d := range e.docs {
			first := m
			p.docs = append(p.docs, span{n, d.rows()})
			for i := range d.rows() {
				p.token[n], p.pos[n] = d.Tokens[i], int32(i)
				if w := d.weight(i); w != 0 {
					c := d.class(i)
					p.row[m], p.weight[m], p.target[m], p.other[m], p.share[m] = int32(n), w, c.A, c.B, c.ShareB
					m++
				}
				n++
			}
			p.read = append(p.read, span{first, m - first})
		}
	}
	p.n = n
}

// reads is the number of rows that are read.
func (p *pass) reads() int {
	if len(p.read) == 0 {
		return 0
	}
	last := p.read[len(p.read)-1]
	return last.start + last.n
}

// forward runs the loaded documents through the model and fills in said.
func (p *pass) forward(w weights) {
	c, n, m := p.cfg, p.n, p.reads()
	gather(n, c.Width, w.embd, p.token, p.layers[0].x)
	for l := range p.layers {
		a, lw := &p.layers[l], &w.layers[l]
		rmsNorm(n, c.Width, a.x, lw.attnNorm, c.Eps, a.norm1, a.inv1)
		linear(n, c.Width, c.qkv(), a.norm1, lw.qkv, a.qkv, false)
		rope(n, c.Heads+c.KV, c.head(), p.pos, p.table, 1, a.qkv, c.qkv()) // queries and keys
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
	gather(m, c.Width, p.x, p.row, p.last)
	rmsNorm(m, c.Width, p.last, w.norm, c.Eps, p.normed, p.inv)
	linear(m, c.Width, c.Outputs, p.normed, w.out, p.logits, false)
	if c.Outputs == 1 {
		copy(p.said[:m], p.logits)
	} else {
		logLikelihood(m, c.Outputs, p.logits, p.target, p.other, p.share, p.said)
	}
}

// loss is the sum over the loaded examples of what forward has found; dsaid becomes the
// derivative of scale times that sum.
func (p *pass) loss(f loss, scale float64) (sum float64) {
	read := p.read
	for _, e := range p.examples {
		score := -e.offset
		for k, r := range read[:len(e.docs)] {
			score += sign(k) * p.score(r)
		}
		l, dl := f(score)
		sum += l
		for k, r := range read[:len(e.docs)] {
			for i := r.start; i < r.start+r.n; i++ {
				p.dsaid[i] = float32(sign(k)*dl*scale) * p.weight[i]
			}
		}
		read = read[len(e.docs):]
	}
	return sum
}

// score is what a document scores: the sum of what its rows say by their weights.
func (p *pass) score(r span) (sum float64) {
	for i := r.start; i < r.start+r.n; i++ {
		sum += float64(p.weight[i]) * float64(p.said[i])
	}
	return sum
}

// sign is that of an example's document in its score.
func sign(k int) float64 { return float64(1 - 2*k) }

// queryBlock rows of queries are attended to at once: no product reaches past the
// last of them, which saves up to half the work.
const queryBlock = 64

// eachBlock calls f for every block of queries of every document and head, with the head's place in
// them.
func (p *pass) eachBlock(f func(b block)) {
	c, hd, group := p.cfg, p.cfg.head(), p.cfg.Heads/p.cfg.KV
	for _, d := range p.docs {
		for h := range c.Heads {
			k := c.Width + h/group*hd
			for i := 0; i < d.n; i += queryBlock {
				f(block{d.start, i, min(queryBlock, d.n-i), min(i+queryBlock, d.n), h * hd, k, k + c.kv()})
			}
		}
	}
}

// block is some queries of one head: rows of them from the row first of the document on, which begins
// at the row doc, and see as many keys. q, k and v are the columns of a.qkv in which the head's begin;
// q is that of its result in a.heads too.
type block struct{ doc, first, rows, seen, q, k, v int }

// attention fills p.prob with softmax(q k^T / sqrt(head size)), [rows][seen].
func (p *pass) attention(a *activations, b block) {
	hd, ld := p.cfg.head(), p.cfg.qkv()
	q, k := a.qkv[(b.doc+b.first)*ld+b.q:], a.qkv[b.doc*ld+b.k:]
	blas.Gemm(false, true, b.rows, b.seen, hd, p.scale(), q, ld, k, ld, 0, p.prob, b.seen)
	causalSoftmax(b.rows, b.first, b.seen, p.prob, b.seen)
}

func (p *pass) scale() float32 { return float32(1 / math.Sqrt(float64(p.cfg.head()))) }

// attend computes attention times v within each document.
func (p *pass) attend(a *activations) {
	width, hd, ld := p.cfg.Width, p.cfg.head(), p.cfg.qkv()
	p.eachBlock(func(b block) {
		p.attention(a, b)
		v, out := a.qkv[b.doc*ld+b.v:], a.heads[(b.doc+b.first)*width+b.q:]
		blas.Gemm(false, false, b.rows, hd, b.seen, 1, p.prob, b.seen, v, ld, 0, out, width)
	})
}
