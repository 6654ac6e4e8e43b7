package valuehead

import (
	"math"
	"slices"
)

// scaler collects the mean and the deviation of every column of rows.
type scaler struct {
	first          []float32 // sums are of differences from it, so that a large mean costs no digits
	total, squares []float64
	n              float64
}

func (c *scaler) add(rows []float32, width int) {
	if c.first == nil && len(rows) > 0 {
		c.first = append(c.first, rows[:width]...)
		c.total, c.squares = make([]float64, width), make([]float64, width)
	}
	for at := 0; at < len(rows); at += width {
		for j, v := range rows[at : at+width] {
			diff := float64(v - c.first[j])
			c.total[j] += diff
			c.squares[j] += diff * diff
		}
		c.n++
	}
}

// scales returns the means and the inverse deviations. A column that does not vary is
// only centred.
func (c *scaler) scales() (mean, inverse []float32) {
	mean, inverse = make([]float32, len(c.first)), make([]float32, len(c.first))
	for j := range c.first {
		m, d := moments(float64(c.first[j]), c.total[j], c.squares[j], c.n)
		mean[j], inverse[j] = float32(m), float32(1/d)
	}
	return mean, inverse
}

// moments returns the mean and the standard deviation of n numbers from the sums of
// their differences from origin, and 1 for a deviation that is only rounding.
func moments(origin, total, squares, n float64) (mean, deviation float64) {
	shift := total / n
	mean = origin + shift
	deviation = math.Sqrt(max(squares/n-shift*shift, 0))
	if deviation < 1e-6*max(math.Abs(mean), 1e-3) {
		deviation = 1
	}
	return mean, deviation
}

// scaling standardises rows: (x - mean) * inverse, the inverse of the deviation.
type scaling struct{ mean, inverse []float32 }

// appendTo appends the standardised rows to dst.
func (c scaling) appendTo(dst, rows []float32) []float32 {
	at := len(dst)
	dst = append(dst, rows...)
	c.apply(dst[at:])
	return dst
}

// apply standardises rows in place.
func (c scaling) apply(rows []float32) {
	w := len(c.mean)
	if w == 0 {
		return
	}
	for at := 0; at < len(rows); at += w {
		row := rows[at : at+w]
		mean, inverse := c.mean[:len(row)], c.inverse[:len(row)]
		for j, v := range row {
			row[j] = (v - mean[j]) * inverse[j]
		}
	}
}

// columns are the scales of some of the columns.
func (c scaling) columns(from, to int) scaling { return scaling{c.mean[from:to], c.inverse[from:to]} }

// fitScales sets the scales of the head's inputs and returns, its atoms and its probe, to the
// examples that entries name. It returns the share of the states' targets at each atom.
func (h *Head) fitScales(src Source, entries []entry) (marginal []float64, err error) {
	var rows, prompts, returns scaler
	memory := h.features.NewAccumulator()
	var buf []float32
	seen := make(map[string]bool)
	low, high := float32(math.Inf(1)), float32(math.Inf(-1))
	all := make([]float32, len(entries))
	for i, e := range entries {
		ex, err := src.At(e.index)
		if err != nil {
			return nil, err
		}
		if buf, err = h.rows(buf[:0], memory, ex); err != nil {
			return nil, err
		}
		if h.kind != Additive {
			rows.add(buf, h.features.width)
		}
		if ex.Rival != nil {
			if buf, err = h.rows(buf[:0], memory, ex.rival()); err != nil {
				return nil, err
			}
			rows.add(buf, h.features.width)
		}
		r := ex.Return
		all[i] = r
		h.probe = probe(h.probe, ex)
		for range ex.Trajectory.Tokens {
			returns.add([]float32{r}, 1)
		}
		low, high = min(low, r), max(high, r)
		if h.promptWidth() > 0 && !seen[e.prompt] {
			seen[e.prompt] = true
			buf = h.features.appendPrompt(buf[:0], ex.Prompt)
			prompts.add(buf, h.promptWidth())
		}
	}
	h.input.mean, h.input.inverse = rows.scales()
	h.prompt.mean, h.prompt.inverse = prompts.scales()
	mean, inverse := returns.scales()
	h.rewardMean, h.rewardScale = mean[0], 1/inverse[0]
	if h.shape.Atoms == 0 {
		return nil, nil
	}
	h.atoms = atomsFor(h.shape.Atoms, low, high, h.spread)
	marginal = make([]float64, len(h.atoms))
	q, share := make([]float32, len(h.atoms)), 1/float64(tokens(entries))
	for i, e := range entries {
		spread(h.spread, h.atoms, q, all[i])
		for j, v := range q {
			marginal[j] += float64(v) * float64(e.tokens) * share
		}
	}
	return marginal, nil
}

// meanState is the mean of the chosen layers' states of the examples that entries name.
func meanState(src Source, entries []entry) ([]float32, error) {
	f := src.Features()
	w, n := f.schema.Width, 0.0
	total := make([]float64, f.hidden)
	for _, e := range entries {
		ex, err := src.At(e.index)
		if err != nil {
			return nil, err
		}
		for at := 0; at < len(ex.Trajectory.Hidden); at += w {
			j := 0
			for _, l := range f.layers {
				for _, v := range ex.Trajectory.Hidden[at+l[0] : at+l[1]] {
					total[j] += float64(v)
					j++
				}
			}
			n++
		}
	}
	mean := make([]float32, f.hidden)
	for j, v := range total {
		mean[j] = float32(v / n)
	}
	return mean, nil
}

// believe makes the marginal distribution of returns what a fresh categorical head begins
// with: all that its inputs do not tell. Learning it by small steps of a bias takes longer than all
// else. A little of the uniform distribution keeps every return possible.
func (h *Head) believe(params []float32, marginal []float64) {
	const uniform = 0.01
	i := slices.IndexFunc(h.model.tensors(), func(t tensor) bool { return t.name == outBias })
	bias := parts(h.model, params)[i]
	for j, p := range marginal {
		bias[j] = float32(math.Log((1-uniform)*p + uniform/float64(len(marginal))))
	}
}
