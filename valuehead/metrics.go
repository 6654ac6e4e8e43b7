package valuehead

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// Score compares the values of a set of states with the returns that followed.
type Score struct {
	States int `json:"states"`
	// R2 is the share of the returns' variance that the values explain: 0 for the
	// mean return, below 0 for worse. 0 where the returns do not vary.
	R2 float64 `json:"r2"`
	// Spearman is the rank correlation, ties at their mean rank; 0 where values or
	// returns do not vary.
	Spearman float64 `json:"spearman"`
	MSE      float64 `json:"mse"` // in squared units of reward
}

// Metrics is the quality of a head on a dataset.
type Metrics struct {
	All    Score    `json:"all"`
	Fifths [5]Score `json:"fifths"` // by relative position in the response
	Last   Score    `json:"last"`   // the last state of each response
}

// Evaluate scores the head on all states of d, which must have the head's features, on
// up to workers goroutines.
func (h *Head) Evaluate(ctx context.Context, d *Dataset, workers int) (Metrics, error) {
	values, err := h.values(ctx, d, workers)
	if err != nil {
		return Metrics{}, err
	}
	var m Metrics
	var all, last pairs
	var fifths [5]pairs
	for i, t := range d.trajectories {
		n := len(t.targets)
		for k, r := range t.targets {
			v := values[i][k]
			all.add(v, r)
			fifths[5*k/n].add(v, r)
		}
		last.add(values[i][n-1], t.targets[n-1])
	}
	m.All, m.Last = all.score(), last.score()
	for i := range fifths {
		m.Fifths[i] = fifths[i].score()
	}
	return m, nil
}

// values predicts every state, one slice a trajectory.
func (h *Head) values(ctx context.Context, d *Dataset, workers int) ([][]float32, error) {
	if !d.features.equal(h.features) {
		return nil, errFeatures
	}
	out := make([][]float32, len(d.trajectories))
	errs := make([]error, len(d.trajectories))
	parallel(workers, len(out), func(i int) {
		t := &d.trajectories[i]
		out[i] = make([]float32, len(t.targets))
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = h.Predict(t.rows, len(t.targets), out[i])
		}
	})
	return out, cmp.Or(errs...)
}

// pairs collects values and returns of the same states.
type pairs struct{ values, returns []float32 }

func (p *pairs) add(value, ret float32) {
	p.values = append(p.values, value)
	p.returns = append(p.returns, ret)
}

func (p *pairs) score() Score {
	n := float64(len(p.values))
	if n == 0 {
		return Score{}
	}
	mean := 0.0
	for _, r := range p.returns {
		mean += float64(r)
	}
	mean /= n
	var residual, total float64
	for i, r := range p.returns {
		e, d := float64(r)-float64(p.values[i]), float64(r)-mean
		residual += e * e
		total += d * d
	}
	s := Score{States: len(p.values), MSE: residual / n, Spearman: correlation(ranks(p.values), ranks(p.returns))}
	if total > 0 {
		s.R2 = 1 - residual/total
	}
	return s
}

// ranks are the positions in sorted order, ties at the mean of theirs.
func ranks(x []float32) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	out := make([]float64, len(x))
	for i := 0; i < len(x); {
		j := i
		for j < len(x) && x[order[j]] == x[order[i]] {
			j++
		}
		for k := i; k < j; k++ {
			out[order[k]] = float64(i+j-1) / 2
		}
		i = max(j, i+1)
	}
	return out
}

// correlation is Pearson's, 0 where either side does not vary.
func correlation(a, b []float64) float64 {
	n := float64(len(a))
	var ma, mb, saa, sbb, sab float64
	for i := range a {
		ma += a[i]
		mb += b[i]
	}
	ma, mb = ma/n, mb/n
	for i := range a {
		da, db := a[i]-ma, b[i]-mb
		saa += da * da
		sbb += db * db
		sab += da * db
	}
	if saa == 0 || sbb == 0 {
		return 0
	}
	return sab / math.Sqrt(saa*sbb)
}
