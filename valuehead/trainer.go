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
	data      *Dataset
	order     []stateAt // all states, shuffled anew for every epoch
	optimiser *adamW
	slices    []*gradient // of a minibatch
}

// stateAt finds a state of a dataset.
type stateAt struct{ trajectory, t int32 }

// gradient is the share that one slice of a minibatch has in its gradient.
type gradient struct {
	scratch *scratch
	grad    []float32
	loss    float64
	rng     rand.PCG
}

func newTrainer(h *Head, data *Dataset, o TrainOptions) *trainer {
	t := &trainer{head: h, options: o, data: data, optimiser: newAdamW(h.model)}
	for i := range data.trajectories {
		for k := range data.trajectories[i].targets {
			t.order = append(t.order, stateAt{int32(i), int32(k)})
		}
	}
	for range (min(o.Batch, len(t.order)) + sliceRows - 1) / sliceRows {
		g := &gradient{scratch: newScratch(h.features.width, h.hidden), grad: make([]float32, len(h.params))}
		if o.Dropout > 0 {
			g.scratch.keep = make([]float32, len(g.scratch.act))
		}
		t.slices = append(t.slices, g)
	}
	return t
}

// run trains until the last epoch or until the held-out loss has stopped falling, and
// leaves the best parameters in the head.
func (t *trainer) run(ctx context.Context, held *Dataset) (*Report, error) {
	o := &t.options
	start, err := t.heldOutLoss(ctx, held)
	if err != nil {
		return nil, err
	}
	report := &Report{Start: start}
	best, bestLoss := slices.Clone(t.head.params), start
	if o.From == nil {
		bestLoss = math.Inf(1) // a random head is never the one to keep
	}
	perEpoch := (len(t.order) + o.Batch - 1) / o.Batch
	p := Progress{Steps: perEpoch * o.Epochs, Epochs: o.Epochs, HeldOutLoss: start}
	tell := func() {
		if o.Progress != nil {
			o.Progress(p)
		}
	}
	for epoch := range o.Epochs {
		rng := rand.New(rand.NewPCG(o.Seed, uint64(epoch)+1))
		rng.Shuffle(len(t.order), func(i, j int) { t.order[i], t.order[j] = t.order[j], t.order[i] })
		total := 0.0
		for b := range perEpoch {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			batch := t.order[len(t.order)*b/perEpoch : len(t.order)*(b+1)/perEpoch]
			rate := learningRate(o.Rate, p.Step, int(o.Warmup*float64(p.Steps)), p.Steps)
			loss := t.step(batch, rate)
			total += loss
			p.Step++
			p.TrainLoss = total / float64(b+1)
			tell()
		}
		p.Epoch++
		if p.HeldOutLoss, err = t.heldOutLoss(ctx, held); err != nil {
			return nil, err
		}
		if bad := p.TrainLoss + p.HeldOutLoss; bad-bad != 0 {
			return nil, errDiverged
		}
		report.Epochs = append(report.Epochs, Epoch{p.TrainLoss, p.HeldOutLoss})
		tell()
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

// step makes one update from a minibatch and returns its mean loss before it.
func (t *trainer) step(batch []stateAt, rate float64) float64 {
	o, h := &t.options, t.head
	t.optimiser.step++
	n := (len(batch) + sliceRows - 1) / sliceRows
	parallel(o.Workers, n, func(i int) {
		part := batch[i*sliceRows : min((i+1)*sliceRows, len(batch))]
		g := t.slices[i]
		if g.scratch.keep != nil {
			g.rng.Seed(o.Seed, uint64(t.optimiser.step)<<32|uint64(i))
			dropout(g.scratch.keep, float32(o.Dropout), &g.rng)
		}
		t.gradient(g, part, 1/float32(len(batch)))
	})
	// The sum over slices and the update go parameter by parameter, so any range of
	// parameters can be done apart.
	const chunk = 1 << 14
	parallel(o.Workers, (len(h.params)+chunk-1)/chunk, func(i int) {
		from, to := i*chunk, min((i+1)*chunk, len(h.params))
		sum := t.slices[0].grad[from:to]
		for _, g := range t.slices[1:n] {
			for j, v := range g.grad[from:to] {
				sum[j] += v
			}
		}
		t.optimiser.update(h.params, from, to, sum, rate, o.WeightDecay)
	})
	loss := 0.0
	for _, g := range t.slices[:n] {
		loss += g.loss
	}
	return loss / float64(len(batch))
}

// gradient computes the gradient of weight * sum 1/2 (V - target)^2 over a slice, and
// its loss without the weight, both in standardised units.
func (t *trainer) gradient(g *gradient, part []stateAt, weight float32) {
	h, s := t.head, g.scratch
	w := h.features.width
	for i, at := range part {
		h.standardise(s.x[i*w:], t.data.trajectories[at.trajectory].rows[int(at.t)*w:(int(at.t)+1)*w])
	}
	h.model.forward(h.params, s, len(part))
	g.loss = 0
	for i, at := range part {
		target := (t.data.trajectories[at.trajectory].targets[at.t] - h.rewardMean) / h.rewardScale
		e := s.out[i] - target
		g.loss += 0.5 * float64(e) * float64(e)
		s.dout[i] = weight * e
	}
	h.model.backward(h.params, s, len(part), s.dout, g.grad)
}

// heldOutLoss is the mean of 1/2 (V - R)^2 over the states of d, in standardised units.
func (t *trainer) heldOutLoss(ctx context.Context, d *Dataset) (float64, error) {
	values, err := t.head.values(ctx, d, t.options.Workers)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for i, tr := range d.trajectories {
		for k, r := range tr.targets {
			e := float64(values[i][k]-r) / float64(t.head.rewardScale)
			total += 0.5 * e * e
		}
	}
	return total / float64(d.states), nil
}
