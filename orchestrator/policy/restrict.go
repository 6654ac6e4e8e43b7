package policy

import (
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/llama/blas"
)

// fewTokens is the number of possible tokens up to which they are simply sorted.
const fewTokens = 2048

// Possible says whether any token may be drawn at the state looked at last. Nothing else may be asked where none is.
func (b *Sampler) Possible() bool { return len(b.ids) > 0 || b.tilt.advantages != nil }

// restrict takes what b.Only leaves out from the list, which need not be closed, and finds the sums that the sampling
// looks at anew. It says whether anything is left.
func (b *Sampler) restrict() bool {
	kept := 0
	for i, id := range b.ids {
		if b.Only.Has(id) {
			b.ids[kept], b.logits[kept] = id, b.logits[i]
			kept++
		}
	}
	if b.keep(kept); kept == 0 {
		return false
	}
	switch {
	case b.closed:
		b.lse = LogSumExp(b.logits, 1)
	case !b.Truncates() && b.Temp > 0:
		b.norm = b.logSum(b.Temp)
	case b.TopK == 0 && b.TopP > 0 && b.TopP < 1:
		b.lse = b.logSum(1)
	}
	return true
}

// logSum is log sum exp(logit/temp) of all that is possible.
func (b *Sampler) logSum(temp float64) float64 {
	origin, sum, next := b.logits[0], 0.0, 0
	for from := 0; from < len(b.row.Logits); from += stretch {
		to := min(from+stretch, len(b.row.Logits))
		b.exps = slices.Grow(b.exps[:0], to-from)[:to-from]
		for k, l := range b.row.Logits[from:to] {
			b.exps[k] = float32((float64(l) - origin) / temp)
		}
		for ; next < len(b.changed) && int(b.changed[next].id) < to; next++ {
			c := b.changed[next]
			b.exps[int(c.id)-from] = float32(max((c.logit-origin)/temp, never))
		}
		b.exclude(b.exps, from, never)
		sum += float64(blas.Exp(b.exps, 0))
	}
	return origin/temp + math.Log(sum)
}

// exclude writes x for all tokens of a stretch of the vocabulary that b.Only leaves out, and says whether there is
// an Only.
func (b *Sampler) exclude(of []float32, from int, x float32) bool {
	if b.Only == nil {
		return false
	}
	for k := range of {
		if !b.Only.Has(int32(from + k)) {
			of[k] = x
		}
	}
	return true
}
