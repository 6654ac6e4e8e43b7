package train

import "github.com/ivo-decoding/ivo/llama/blas"

// gradients is the scratch of a backward pass.
type gradients struct {
	last, lastNormed []float32 // [m][Width]
	x, normed, heads []float32 // [n][Width]
	qkv              []float32 // [n][Width+2*kv]
	prob             []float32 // [queryBlock][longest document]
	unused           []float32 // [Width], of gains that are not learned
	gateUp           []float32 // [n][2*FF]
	ff               []float32 // [n][FF]
}

func newGradients(c Config, rows, longest int) *gradients {
	alloc := func(cols int) []float32 { return make([]float32, rows*cols) }
	return &gradients{
		last: alloc(c.Width), lastNormed: alloc(c.Width),
		x: alloc(c.Width), normed: alloc(c.Width), heads: alloc(c.Width), qkv: alloc(c.qkv()),
		prob: make([]float32, queryBlock*longest), unused: make([]float32, c.Width), gateUp: alloc(2 * c.FF), ff: alloc(c.FF),
	}
}

// backward writes the gradient of the loss to g, or adds it, from p.dsaid.
func (p *pass) backward(w weights, g gradient, add bool) {
	c, n, m, d := p.cfg, p.n, p.reads(), p.grad
	if !add {
		clear(g.norm)
		if !c.Tied {
			clear(g.embd)
		}
	}
	if c.Outputs == 1 {
		copy(p.logits[:m], p.dsaid)
	} else {
		logLikelihoodBack(m, c.Outputs, p.logits, p.target, p.other, p.share, p.dsaid)
	}
	linearBack(m, c.Width, c.Outputs, p.normed, w.out, p.logits, d.lastNormed, g.out, add)
	clear(d.last[:m*c.Width])
	p.normBack(m, p.last, w.norm, p.inv, d.lastNormed, d.last, g.norm)
	clear(d.x[:n*c.Width])
	gatherBack(m, c.Width, p.row, d.last, d.x)
	for l := len(p.layers) - 1; l >= 0; l-- {
		a, lw, lg := &p.layers[l], &w.layers[l], &g.layers[l]
		if !add {
			clear(lg.attnNorm)
			clear(lg.ffnNorm)
		}
		linearBack(n, c.FF, c.Width, a.ff, lw.down, d.x, d.ff, lg.down, add)
		if g.of != nil {
			g.of[l].down.back(n, a.ff, d.x, &g.adapters[l].down, add)
		}
		swigluBack(n, c.FF, a.gateUp, d.ff, d.gateUp)
		linearBack(n, c.Width, 2*c.FF, a.norm2, lw.gateUp, d.gateUp, d.normed, lg.gateUp, add)
		if g.of != nil {
			g.of[l].gateUp.back(n, a.norm2, d.gateUp, &g.adapters[l].gateUp, add)
		}
		p.normBack(n, a.mid, lw.ffnNorm, a.inv2, d.normed, d.x, lg.ffnNorm)

		linearBack(n, c.Width, c.Width, a.heads, lw.attnOut, d.x, d.heads, lg.attnOut, add)
		if g.of != nil {
			g.of[l].attnOut.back(n, a.heads, d.x, &g.adapters[l].attnOut, add)
		}
		p.attendBack(a)
		rope(n, c.Heads+c.KV, c.head(), p.pos, p.table, -1, d.qkv, c.qkv())
		linearBack(n, c.Width, c.qkv(), a.norm1, lw.qkv, d.qkv, d.normed, lg.qkv, add)
		if g.of != nil {
			g.of[l].qkv.back(n, a.norm1, d.qkv, &g.adapters[l].qkv, add)
		}
		p.normBack(n, a.x, lw.attnNorm, a.inv1, d.normed, d.x, lg.attnNorm)
	}
	if g.embd != nil {
		gatherBack(n, c.Width, p.token, d.x, g.embd)
	}
}

// normBack adds to the gradients of a norm's input and, where it is learned, of its gain.
func (p *pass) normBack(n int, x, gain, inv, dy, dx, dgain []float32) {
	if dgain == nil {
		dgain = p.grad.unused
	}
	rmsNormBack(n, p.cfg.Width, x, gain, inv, dy, dx, dgain)
}

// attendBack is the derivative of attend: from the gradient of a.heads to that of a.qkv. Heads
// that share keys and values add to the same ones. Probabilities are computed again: those of all
// layers would take memory by the square of a document's length.
func (p *pass) attendBack(a *activations) {
	width, hd, ld := p.cfg.Width, p.cfg.head(), p.cfg.qkv()
	dprob, scale := p.grad.prob, p.scale()
	clear(p.grad.qkv[:p.n*ld])
	p.eachBlock(func(b block) {
		p.attention(a, b)
		all, some := b.doc*ld, (b.doc+b.first)*ld
		q, k, v := a.qkv[some+b.q:], a.qkv[all+b.k:], a.qkv[all+b.v:]
		dq, dk, dv := p.grad.qkv[some+b.q:], p.grad.qkv[all+b.k:], p.grad.qkv[all+b.v:]
		dout := p.grad.heads[(b.doc+b.first)*width+b.q:]
		blas.Gemm(true, false, b.seen, hd, b.rows, 1, p.prob, b.seen, dout, width, 1, dv, ld)
		blas.Gemm(false, true, b.rows, b.seen, hd, 1, dout, width, v, ld, 0, dprob, b.seen)
		causalSoftmaxBack(b.rows, b.first, b.seen, p.prob, dprob, b.seen)
		blas.Gemm(false, false, b.rows, hd, b.seen, scale, dprob, b.seen, k, ld, 0, dq, ld)
		blas.Gemm(true, false, b.seen, hd, b.rows, scale, dprob, b.seen, q, ld, 1, dk, ld)
	})
}
