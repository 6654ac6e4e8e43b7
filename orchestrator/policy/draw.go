package policy

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/llama/blas"
)

// Draw takes a token y ~ pi_base(. | s), or y ~ q of a tilted policy.
func (b *Sampler) Draw(rng *rand.Rand) int32 {
	if b.Temp <= 0 {
		return b.ids[0]
	}
	return b.drawFrom(0, rng.Float64())
}

// drawFrom takes the token at which the probabilities of those from number i of the list on
// reach u.
func (b *Sampler) drawFrom(i int, u float64) int32 {
	first := i
	for ; i < len(b.ids); i++ {
		if u -= math.Exp(b.logPAt(i)); u < 0 {
			return b.ids[i]
		}
	}
	if !b.closed && b.tilt.advantages != nil {
		return b.tilt.drawWeighed(u) // the list is empty
	}
	if !b.closed {
		// Stretches of the vocabulary whose probability does not reach u are passed by whole.
		for from := 0; from < len(b.row.Logits); from += stretch {
			to := min(from+stretch, len(b.row.Logits))
			if p := b.unlisted(from, to); p <= u {
				u -= p
				continue
			}
			for k, logp := range b.logps {
				if logp == never {
					continue
				}
				if u -= math.Exp(float64(logp)); u < 0 {
					return int32(from + k)
				}
			}
		}
	}
	// Rounding: the probabilities summed to a little less than u.
	if first < len(b.ids) {
		return b.ids[first]
	}
	last := int32(len(b.row.Logits) - 1)
	for last > 0 && (b.listed(last, b.logit(last)) || math.IsInf(b.logit(last), -1)) {
		last--
	}
	return last
}

// never is the log-probability of tokens that unlisted leaves out.
const never = -1e9

// unlisted is the probability of the tokens from one id up to another that are not in the list;
// it leaves their log-probabilities in b.logps.
func (b *Sampler) unlisted(from, to int) float64 {
	b.logps, b.exps = slices.Grow(b.logps[:0], to-from)[:to-from], slices.Grow(b.exps[:0], to-from)[:to-from]
	inv := 1 / b.Temp
	next, _ := slices.BinarySearchFunc(b.changed, int32(from), func(c changed, id int32) int { return cmp.Compare(c.id, id) })
	for k, raw := range b.row.Logits[from:to] {
		id, l := int32(from+k), float64(raw)
		if next < len(b.changed) && b.changed[next].id == id {
			l = b.changed[next].logit
			next++
		}
		b.logps[k] = float32(l*inv - b.norm)
		if b.listed(id, l) || math.IsInf(l, -1) || b.Only != nil && !b.Only.Has(id) {
			b.logps[k] = never
		}
	}
	copy(b.exps, b.logps)
	return float64(blas.Exp(b.exps, 0))
}

// Likeliest returns the k likeliest tokens, or all there are, their probabilities, and that
// of all others together. The slices hold until the next call of any method.
func (b *Sampler) Likeliest(k int) (ids []int32, p []float64, rest float64) {
	if k > len(b.ids) && !b.closed {
		b.sortAll()
	}
	k = min(k, len(b.ids))
	b.p, rest = b.p[:0], 1
	for i := range k {
		p := math.Exp(b.logPAt(i))
		b.p = append(b.p, p)
		rest -= p
	}
	if b.closed && k == len(b.ids) || rest < 1e-9 {
		rest = 0
	}
	return b.ids[:k], b.p, rest
}

// DrawRest takes a token from the policy given that it is none of the k likeliest,
// whose others have the probability rest > 0;
// u is uniform in [0, 1).
func (b *Sampler) DrawRest(k int, rest, u float64) int32 { return b.drawFrom(k, u*rest) }
