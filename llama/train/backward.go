package train

import (
	"math"

	"github.com/ivo-decoding/ivo/llama/blas"
)

// gradients is the scratch of a backward pass.
type gradients struct {
	x, normed, heads []float32 // [n][Width]
	qkv              []float32 // [n][3*Width]
	prob             []float32 // [queryBlock][longest document]
	gateUp           []float32 // [n][2*FF]
	ff               []float32 // [n][FF]
}

func newGradients(c Config, rows int) *gradients {
	alloc := func(cols int) []float32 { return make([]float32, rows*cols) }
	return &gradients{
		x: alloc(c.Width), normed: alloc(c.Width), heads: alloc(c.Width), qkv: alloc(3 * c.Width),
		prob: make([]float32, queryBlock*min(c.Context, rows)), gateUp: alloc(2 * c.FF), ff: alloc(c.FF),
	}
}

// backward writes the gradient of the loss to g, from p.logits as forward left it.
func (p *pass) backward(w, g weights) {
	c, n, d := p.cfg, p.n, p.grad
	hd := c.Width / c.Heads
	if !c.Tied {
		clear(g.embd)
	}
	clear(g.norm)
	linearBack(n, c.Width, c.Outputs, p.normed, w.out, p.logits, d.normed, g.out)
	clear(d.x[:n*c.Width])
	rmsNormBack(n, c.Width, p.x, w.norm, p.inv, d.normed, d.x, g.norm)
	for l := len(p.layers) - 1; l >= 0; l-- {
		a, lw, lg := &p.layers[l], &w.layers[l], &g.layers[l]
		linearBack(n, c.FF, c.Width, a.ff, lw.down, d.x, d.ff, lg.down)
		swigluBack(n, c.FF, a.gateUp, d.ff, d.gateUp)
		linearBack(n, c.Width, 2*c.FF, a.norm2, lw.gateUp, d.gateUp, d.normed, lg.gateUp)
		clear(lg.ffnNorm)
		rmsNormBack(n, c.Width, a.mid, lw.ffnNorm, a.inv2, d.normed, d.x, lg.ffnNorm)

		linearBack(n, c.Width, c.Width, a.heads, lw.attnOut, d.x, d.heads, lg.attnOut)
		p.attendBack(a)
		rope(n, 2*c.Heads, hd, p.pos, p.table, -1, d.qkv, 3*c.Width)
		linearBack(n, c.Width, 3*c.Width, a.norm1, lw.qkv, d.qkv, d.normed, lg.qkv)
		clear(lg.attnNorm)
		rmsNormBack(n, c.Width, a.x, lw.attnNorm, a.inv1, d.normed, d.x, lg.attnNorm)
	}
	gatherBack(n, c.Width, p.token, d.x, g.embd)
}

// attendBack is the derivative of attend: from the gradient of a.heads to that of a.qkv.
func (p *pass) attendBack(a *activations) {
	width, hd := p.cfg.Width, p.cfg.Width/p.cfg.Heads
	ld := 3 * width
	scale := float32(1 / math.Sqrt(float64(hd)))
	clear(p.grad.qkv[:p.n*ld])
	p.eachHead(a, func(d span, col int, prob []float32) {
		at := d.start*ld + col
		q, dq := a.qkv[at:], p.grad.qkv[at:]
		k, dk, v, dv := q[width:], dq[width:], q[2*width:], dq[2*width:]
		dout := p.grad.heads[d.start*width+col:]
		dprob := p.grad.prob
		for i := 0; i < d.n; i += queryBlock {
			rows, seen := min(queryBlock, d.n-i), min(i+queryBlock, d.n)
			prob, dout := prob[i*d.n:], dout[i*width:]
			blas.Gemm(true, false, seen, hd, rows, 1, prob, d.n, dout, width, 1, dv, ld)
			blas.Gemm(false, true, rows, seen, hd, 1, dout, width, v, ld, 0, dprob, d.n)
			causalSoftmaxBack(rows, i, seen, prob, dprob, d.n)
			blas.Gemm(false, false, rows, hd, seen, scale, dprob, d.n, k, ld, 0, dq[i*ld:], ld)
			blas.Gemm(true, false, seen, hd, rows, scale, dprob, d.n, q[i*ld:], ld, 1, dk, ld)
		}
	})
}
