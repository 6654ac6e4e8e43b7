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
	// ECE is the expected calibration error in units of reward: over bins of equally
	// many states by value, the mean distance of a bin's mean value from its mean return.
	ECE float64 `json:"ece"`
}

// Metrics is the quality of a value function on a dataset.
type Metrics struct {
	All         Score    `json:"all"`
	Fifths      [5]Score `json:"fifths"` // by relative position in the response
	Quarters    [4]Score `json:"quarters"`
	Last        Score    `json:"last"`        // the last state of each response
	Reliability []Bin    `json:"reliability"` // of all states
}

// Evaluate scores the head on all states of src, which must have the head's features, on
// up to workers goroutines.
func (h *Head) Evaluate(ctx context.Context, src Source, workers int) (Metrics, error) {
	if !src.Features().equal(h.features) {
		return Metrics{}, errFeatures
	}
	all, _, err := survey(ctx, src)
	if err != nil {
		return Metrics{}, err
	}
	m, _, err := h.evaluate(ctx, src, all, workers)
	return m, err
}

// evaluate also measures the head's unit.
func (h *Head) evaluate(ctx context.Context, src Source, entries []entry, workers int) (Metrics, float64, error) {
	var t tally
	var path steps
	k := h.shape.outputs()
	err := h.each(ctx, src, entries, workers, func(e Example, out []float32) {
		n := len(e.Trajectory.Tokens)
		first, known := h.start(e)
		path.begin(first, known)
		for i := range n {
			v := h.value(out[i*k:(i+1)*k], Reading{})
			t.add(i, n, v, e.Return)
			path.add(v)
		}
	})
	if err != nil {
		return Metrics{}, 0, err
	}
	return t.metrics(), path.unit(), nil
}

// MetricsOf is the quality of any value function: values[i] are the values of response i's
// states, returns[i] its reward.
func MetricsOf(values [][]float32, returns []float32) Metrics {
	var t tally
	for r, vs := range values {
		for i, v := range vs {
			t.add(i, len(vs), v, returns[r])
		}
	}
	return t.metrics()
}

// tally collects the values of states by their place in the response.
type tally struct {
	all, last pairs
	fifths    [5]pairs
	quarters  [4]pairs
}

// add takes state i of a response's n.
func (t *tally) add(i, n int, value, ret float32) {
	t.all.add(value, ret)
	t.fifths[5*i/n].add(value, ret)
	t.quarters[4*i/n].add(value, ret)
	if i == n-1 {
		t.last.add(value, ret)
	}
}

func (t *tally) metrics() Metrics {
	m := Metrics{All: t.all.score(), Last: t.last.score(), Reliability: reliability(&t.all)}
	for i := range t.fifths {
		m.Fifths[i] = t.fifths[i].score()
	}
	for i := range t.quarters {
		m.Quarters[i] = t.quarters[i].score()
	}
	return m
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
	r2, residual := p.explained()
	s := Score{States: len(p.values), R2: r2, MSE: residual / n, Spearman: correlation(ranks(p.values), ranks(p.returns))}
	for _, b := range reliability(p) {
		s.ECE += float64(b.States) / n * math.Abs(b.Value-b.Return)
	}
	return s
}

// r2 is the share of the returns' variance that the values explain, 0 where they do not
// vary.
func (p *pairs) r2() float64 {
	r2, _ := p.explained()
	return r2
}

// explained also returns the sum of squared errors.
func (p *pairs) explained() (r2, residual float64) {
	mean, n := 0.0, float64(len(p.returns))
	for _, r := range p.returns {
		mean += float64(r)
	}
	mean /= n
	total := 0.0
	for i, r := range p.returns {
		e, d := float64(r)-float64(p.values[i]), float64(r)-mean
		residual += e * e
		total += d * d
	}
	if total > 0 {
		r2 = 1 - residual/total
	}
	return r2, residual
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

// Spearman is the rank correlation of two lists of numbers, 0 where one of them does not vary.
func Spearman(a, b []float32) float64 { return correlation(ranks(a), ranks(b)) }

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
