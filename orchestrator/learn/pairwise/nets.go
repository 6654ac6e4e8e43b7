package pairwise

import (
	"context"

	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// rowsOf are what a net of the candidate reads of the pairs to be trained on.
func (r *trainer) rowsOf(ctx context.Context, c candidate) ([]rows, error) {
	all := make([]rows, len(r.train))
	if c.kind == MLP {
		for k, i := range r.train {
			all[k] = rows{r.pooled(c, i, chosen), r.pooled(c, i, rejected)}
		}
		return all, nil
	}
	place := map[int]int{}
	for k, i := range r.train {
		place[i] = k
	}
	err := r.data.each(ctx, c.layers, false, func(pair, side int, t head.States) error {
		if k, ok := place[pair]; ok {
			all[k][side] = t.Hidden
		}
		return nil
	})
	return all, err
}

// tryNet tries a head that is trained by steps, for as many epochs as serve the folds best.
func (r *trainer) tryNet(ctx context.Context, c candidate) (*fitted, error) {
	all, err := r.rowsOf(ctx, c)
	if err != nil {
		return nil, err
	}
	in := len(c.layers) * r.data.width
	if c.kind == MLP {
		in = len(all[0][chosen])
	}
	hidden, longest := r.Hidden, 0
	if c.kind == Attend {
		hidden = 0
	}
	if c.kind == Tokens {
		longest = r.longest
	}
	scale := newNet(in, 0, false, 0, 0)
	scale.standardise(all)
	fresh := func() *net {
		n := newNet(in, hidden, c.kind == Attend, longest, r.Seed)
		n.mean, n.unit = scale.mean, scale.unit
		return n
	}
	s := schedule{epochs: r.Epochs, batch: 32, rate: 3e-3, decay: 1, drop: 0.2, noise: r.Noise, seed: r.Seed}
	margins := func(numbers []int) (some []rows, margin []float64) {
		for _, i := range numbers {
			some, margin = append(some, all[i]), append(margin, r.margin[i])
		}
		return some, margin
	}
	// The differences of each pair's rewards after each epoch, by nets that were not trained on it.
	after := make([][]float64, r.Epochs)
	for e := range after {
		after[e] = make([]float64, len(all))
	}
	err = r.parallel(ctx, folds, func(ctx context.Context, k int) error {
		var in, out []int
		for i, f := range r.fold {
			if f == k {
				out = append(out, i)
			} else {
				in = append(in, i)
			}
		}
		some, margin := margins(in)
		others, _ := margins(out)
		n := fresh()
		return n.train(ctx, some, margin, s, func(epoch int) bool {
			for j, d := range n.differences(others) {
				after[epoch-1][out[j]] = d
			}
			return false
		})
	})
	if err != nil {
		return nil, err
	}
	f := best(after, r.Noise)
	f.Name, f.candidate = r.name(c), c
	f.fit = func(ctx context.Context) (*head.Head, error) {
		n := fresh()
		if err := n.train(ctx, all, r.margin, s, func(epoch int) bool { return epoch == f.Epochs }); err != nil {
			return nil, err
		}
		return n.head(r.reading(c), c.kind), nil
	}
	return f, nil
}

// head is the net as a head, which reads states as they are.
func (n *net) head(reading head.Reading, kind string) *head.Head {
	h := &head.Head{Reading: reading}
	out := head.Layer{In: len(n.v), Out: 1, Weight: append([]float32(nil), n.v...), Bias: []float32{0}}
	if kind == Attend { // weights of one sum: what the mean adds is the same for all
		h.Reading.Query = make([]float32, n.in)
		for j := range n.in {
			h.Reading.Query[j] = n.q[j] / n.unit[j]
			out.Weight[j] = n.v[j] / n.unit[j]
			out.Bias[0] -= n.v[j] * n.mean[j] / n.unit[j]
		}
		h.Layers = []head.Layer{out}
		return h
	}
	first := head.Layer{In: n.in, Out: n.hidden, Weight: make([]float32, n.in*n.hidden), Bias: append([]float32(nil), n.b...)}
	for j := range n.in {
		for k := range n.hidden {
			u := n.u[j*n.hidden+k] / n.unit[j]
			first.Weight[k*n.in+j] = u
			first.Bias[k] -= u * n.mean[j]
		}
	}
	if kind == MLP {
		h.Layers = []head.Layer{first, out}
		return h
	}
	h.Reading.Each = &first
	out.Weight, out.In = append(out.Weight, n.length[0]), out.In+1
	h.Layers = []head.Layer{out}
	return h
}
