package train

import (
	"errors"
	"fmt"
	"math"
)

// optimizer is AdamW with its state, over the flat vector of parameters.
type optimizer struct {
	opts         Options
	step         int // done so far
	params, m, v []float32
	pieces       []piece
}

// piece is a range of parameters that one goroutine updates: the unit in which
// norms are summed, so that the sum does not depend on the number of workers.
type piece struct {
	from, to int
	decay    bool // gains are not decayed
}

func newOptimizer(l *learned, opts Options) *optimizer {
	const most = 1 << 16
	o := &optimizer{opts: opts, params: l.flat, m: make([]float32, len(l.flat)), v: make([]float32, len(l.flat))}
	at := 0
	for _, t := range l.tensors {
		for end := at + t.rows*t.cols; at < end; {
			next := min(at+most, end)
			o.pieces = append(o.pieces, piece{at, next, !t.gain()})
			at = next
		}
	}
	return o
}

// rate is the learning rate of the next step: a linear warm-up, then half a cosine
// down to a tenth of the peak.
func (o *optimizer) rate() float64 {
	t, warm := o.step, o.opts.WarmUp
	if t < warm {
		return o.opts.LR * float64(t+1) / float64(warm)
	}
	progress := float64(t-warm) / float64(max(o.opts.Steps-warm, 1))
	return o.opts.LR * (.1 + .9*.5*(1+math.Cos(math.Pi*progress)))
}

// ErrNotFinite says that a training has left the numbers, mostly by too high a learning rate.
var ErrNotFinite = errors.New("the gradient is not finite")

// update sums the shards' gradients (in grads, one after another) and does one step;
// a gradient that is not finite is refused and nothing changes.
func (o *optimizer) update(grads []float32, shards int) error {
	n := len(o.params)
	norms := make([]float64, len(o.pieces))
	parallel(o.opts.Workers, len(o.pieces), func(_, i int) {
		p := o.pieces[i]
		norms[i] = reduce(p.to-p.from, shards, grads[p.from:], n)
	})
	norm := 0.0
	for _, x := range norms {
		norm += x
	}
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return fmt.Errorf("train: step %d: %w: lower the learning rate", o.step+1, ErrNotFinite)
	}
	scale := 1.0
	if norm = math.Sqrt(norm); norm > o.opts.Clip {
		scale = o.opts.Clip / norm
	}
	lr := o.rate()
	o.step++
	parallel(o.opts.Workers, len(o.pieces), func(_, i int) {
		p := o.pieces[i]
		decay := 0.0
		if p.decay {
			decay = o.opts.WeightDecay
		}
		adamw(o.params[p.from:p.to], o.m[p.from:], o.v[p.from:], grads[p.from:], scale, lr, decay, o.step)
	})
	return nil
}
