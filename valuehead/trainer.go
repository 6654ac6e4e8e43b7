package valuehead

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
)

// trainer is the state of a training run.
type trainer struct {
	head      *Head
	options   TrainOptions
	src       Source
	train     []entry
	optimiser *adamW
	slices    []*gradient // of a minibatch
	slow      *Head       // lags behind head, for targets that it makes itself; else nil
}

// gradient is the share that one slice of a minibatch has in its gradient.
type gradient struct {
	scratch scratch
	memory  *Accumulator
	grad    []float32
	targets []float32
	q       []float32 // [atoms]
	loss    float64
	err     error
	rng     rand.PCG
}

// slowness is the share of the difference by which the slow head follows at a step.
const slowness = 0.02

func newTrainer(h *Head, src Source, train []entry, o TrainOptions) *trainer {
	t := &trainer{head: h, options: o, src: src, train: train, optimiser: newAdamW(h.model)}
	if o.Target == TDLambda || o.Target == CDQ {
		t.slow = h.twin()
	}
	return t
}

// run trains until the last epoch or until the held-out loss has stopped falling, and
// leaves the best parameters in the head.
func (t *trainer) run(ctx context.Context, held []entry) (*Report, error) {
	o := &t.options
	start, _, err := t.heldOut(ctx, held)
	if err != nil {
		return nil, err
	}
	report := &Report{Start: start}
	best, bestLoss := slices.Clone(t.head.params), start
	if o.From == nil {
		bestLoss = math.Inf(1) // a random head is never the one to keep
	}
	p := t.progress()
	p.HeldOutLoss = start
	for epoch := range o.Epochs {
		if err := t.epoch(ctx, epoch, &p); err != nil {
			return nil, err
		}
		if p.HeldOutLoss, p.HeldOutR2, err = t.heldOut(ctx, held); err != nil {
			return nil, err
		}
		if p.HeldOutLoss-p.HeldOutLoss != 0 {
			return nil, errDiverged
		}
		report.Epochs = append(report.Epochs, Epoch{p.TrainLoss, p.HeldOutLoss, p.HeldOutR2})
		t.tell(p)
		if p.HeldOutLoss < bestLoss {
			bestLoss, report.Best = p.HeldOutLoss, p.Epoch
			copy(best, t.head.params)
		} else if p.Epoch-report.Best >= o.Patience {
			break
		}
	}
	copy(t.head.params, best)
	return report, nil
}

// progress is that of training that begins.
func (t *trainer) progress() Progress {
	o := &t.options
	return Progress{Steps: (tokens(t.train) + o.Batch - 1) / o.Batch * o.Epochs, Epochs: o.Epochs}
}

func (t *trainer) tell(p Progress) {
	if t.options.Progress != nil {
		t.options.Progress(p)
	}
}

// epoch trains on all examples once.
func (t *trainer) epoch(ctx context.Context, epoch int, p *Progress) error {
	o := &t.options
	states, perEpoch := tokens(t.train), p.Steps/p.Epochs
	rng := rand.New(rand.NewPCG(o.Seed, uint64(epoch)+1))
	total, updates, seen, b := 0.0, 0, 0, 0
	var batch []Example
	for ex, err := range stream(t.src, t.train, rng, windowBytes, t.head.NeedsPrompt()) {
		if err != nil {
			return err
		}
		batch = append(batch, ex)
		seen += ex.states()
		// Long responses may fill several minibatches' worth of states at once.
		at := epochShare(seen, states, perEpoch)
		if at == b {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		loss, err := t.step(batch, learningRate(o.Rate, p.Step, int(o.Warmup*float64(p.Steps)), p.Steps))
		if err != nil {
			return err
		}
		batch = batch[:0]
		total += loss
		updates++
		p.TrainLoss = total / float64(updates)
		p.Step++
		t.tell(*p)
		p.Step += at - b - 1
		b = at
	}
	p.Epoch++
	if p.TrainLoss-p.TrainLoss != 0 {
		return errDiverged
	}
	return nil
}

// epochShare is how many of an epoch's minibatches seen of its states fill.
func epochShare(seen, states, minibatches int) int {
	return int(int64(seen) * int64(minibatches) / int64(states))
}

// step makes one update from a minibatch and returns its mean loss before it.
func (t *trainer) step(batch []Example, rate float64) (float64, error) {
	o, h := &t.options, t.head
	t.optimiser.step++
	parts := h.slicesOf(batch)
	terms := len(batch) // of the loss
	if o.Target != Preference {
		terms = 0
		for _, e := range batch {
			terms += len(e.Trajectory.Tokens)
		}
	}
	for len(t.slices) < len(parts) {
		t.slices = append(t.slices, &gradient{memory: h.features.NewAccumulator(), grad: make([]float32, len(h.params)), q: make([]float32, len(h.atoms))})
	}
	parallel(o.Workers, len(parts), func(i int) {
		g := t.slices[i]
		g.rng.Seed(o.Seed, uint64(t.optimiser.step)<<32|uint64(i))
		g.err = t.gradient(g, parts[i], 1/float32(terms))
	})
	loss := 0.0
	for _, g := range t.slices[:len(parts)] {
		if g.err != nil {
			return 0, g.err
		}
		loss += g.loss
	}
	// The sum over slices and the update go parameter by parameter, so any range of
	// parameters can be done apart.
	const part = 1 << 14
	parallel(o.Workers, (len(h.params)+part-1)/part, func(i int) {
		from, to := i*part, min((i+1)*part, len(h.params))
		sum := t.slices[0].grad[from:to]
		addAll(sum, t.slices[1:len(parts)], from)
		t.optimiser.update(h.params, from, to, sum, rate, o.WeightDecay)
		if t.slow != nil {
			slow := t.slow.params[from:to]
			for j, v := range h.params[from:to] {
				slow[j] += slowness * (v - slow[j])
			}
		}
	})
	return loss / float64(terms), nil
}

// gradient computes the gradient of weight times the loss summed over a slice, and that
// loss without the weight.
func (t *trainer) gradient(g *gradient, part []Example, weight float32) error {
	h, s := t.head, &g.scratch
	s.drop, s.rng = float32(t.options.Dropout), nil
	if t.options.Target == Preference {
		if err := h.load(s, g.memory, sides(part)); err != nil {
			return err
		}
		s.rng = &g.rng
		h.model.forward(h.params, s)
		g.loss = s.preferences(part, t.options.Noise, weight)
		h.model.backward(h.params, s, g.grad)
		return nil
	}
	if err := h.load(s, g.memory, part); err != nil {
		return err
	}
	if err := t.targets(g, part); err != nil {
		return err
	}
	s.rng = &g.rng
	h.model.forward(h.params, s)
	k := h.shape.outputs()
	g.loss = 0
	for i, target := range g.targets {
		g.loss += h.loss(s.out[i*k:(i+1)*k], target, weight, s.dout[i*k:(i+1)*k], g.q)
	}
	h.model.backward(h.params, s, g.grad)
	return nil
}

// targets fills in the targets of the slice's states.
func (t *trainer) targets(g *gradient, part []Example) error {
	h, s := t.head, &g.scratch
	g.targets = slices.Grow(g.targets[:0], s.n)[:s.n]
	if t.options.Target == TDLambda {
		h.model.forward(t.slow.params, s)
		k := h.shape.outputs()
		for i := range g.targets {
			g.targets[i] = h.value(s.out[i*k:(i+1)*k], Reading{})
		}
	}
	for i, e := range part {
		own := g.targets[s.starts[i]:s.starts[i+1]]
		switch t.options.Target {
		case TDLambda:
			LambdaReturns(own, own, e.Return, t.options.Lambda)
		case CDQ:
			if err := t.nextValues(own, e); err != nil {
				return err
			}
		default: // of FUDGE too, whose examples are others
			MonteCarlo(own, e.Return)
		}
	}
	return nil
}

// heldOut is the mean loss of the held-out states against their Monte Carlo returns,
// whatever the target is, and the share of the returns' variance that is explained.
func (t *trainer) heldOut(ctx context.Context, held []entry) (loss, r2 float64, err error) {
	h := t.head
	k, q := h.shape.outputs(), make([]float32, len(h.atoms))
	var p pairs
	err = h.each(ctx, t.src, held, t.options.Workers, func(e Example, out []float32) {
		for i := range e.Trajectory.Tokens {
			o := out[i*k : (i+1)*k]
			loss += h.loss(o, e.Return, 0, nil, q)
			if h.atoms == nil {
				p.add(h.value(o, Reading{}), e.Return)
			} else { // loss has turned o into probabilities
				p.add(Distribution{h.atoms, o}.Mean(), e.Return)
			}
		}
	})
	return loss / float64(max(len(p.values), 1)), p.r2(), err
}

// addAll adds to sum the gradients of slices from a parameter on, three at a time: memory
// is what it waits for.
func addAll(sum []float32, slices []*gradient, from int) {
	for ; len(slices) >= 3; slices = slices[3:] {
		a, b, c := slices[0].grad[from:][:len(sum)], slices[1].grad[from:][:len(sum)], slices[2].grad[from:][:len(sum)]
		for j := range sum {
			sum[j] = sum[j] + a[j] + b[j] + c[j]
		}
	}
	for _, g := range slices {
		for j, v := range g.grad[from:][:len(sum)] {
			sum[j] += v
		}
	}
}
