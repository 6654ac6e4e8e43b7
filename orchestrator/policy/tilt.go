package policy

import (
	"cmp"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/llama/blas"
)

// tilt is what makes the sampler's policy another one than the base policy.
type tilt struct {
	advantages []float32 // [vocabulary]; nil where the policy is the base policy
	beta       float64
	base       float64 // log pi_base(y) = logit/Temp - base
	// Where the base policy does not truncate: exp(logit/Temp + beta a - shift) of the whole
	// vocabulary, the sums of its stretches, and the likeliest token.
	weights []float32
	sums    []float64
	total   float64
	best    int32
}

// stretch is the number of tokens that are passed by whole where the drawn one is not among them.
const stretch = 1024

// Tilt makes the policy, at the state looked at last,
//
//	q(y) ~ pi_base(y) exp(beta a(y))
//
// over the tokens that the base policy may draw: of all policies that gain as much of the
// advantages a, [vocabulary], finite, the one of least KL from the base policy. At temperature 0
// there is one token, and at beta 0 nothing to tilt. Draw, LogP, Likeliest, DrawRest and KL are
// q's from here to the next At; BaseLogP stays the base policy's.
//
// It costs a few passes over the vocabulary, and no sorting of it. The advantages are read until then.
func (b *Sampler) Tilt(advantages []float32, beta float64) {
	if b.Temp <= 0 || beta == 0 {
		return
	}
	b.tilt.advantages, b.tilt.beta, b.tilt.base = advantages, beta, b.norm
	if !b.closed {
		b.weigh()
		return
	}
	tilted := make([]changed, len(b.ids))
	for i, id := range b.ids {
		tilted[i] = changed{id, b.logits[i] + b.Temp*beta*float64(advantages[id])}
	}
	slices.SortStableFunc(tilted, func(x, y changed) int { return cmp.Compare(y.logit, x.logit) })
	for i, c := range tilted {
		b.ids[i], b.logits[i] = c.id, c.logit
	}
	b.norm = LogSumExp(b.logits, b.Temp)
}

// weigh finds the weights of the whole vocabulary, of which none is listed any more.
func (b *Sampler) weigh() {
	t, raw := &b.tilt, b.row.Logits
	b.keep(0)
	b.floor, b.floorID = math.Inf(1), -1
	t.weights = slices.Grow(t.weights[:0], len(raw))[:len(raw)]
	t.best = b.row.Top[0]
	var origin float64
	// Single precision is coarse far from its origin: where the first one, the model's likeliest
	// token, is too far from q's, that is the next.
	for range 3 {
		origin = b.logit(t.best) / b.Temp
		if b.weighFrom(origin); !(t.weights[t.best] > 30) {
			break
		}
	}
	highest := t.weights[t.best]
	t.sums, t.total = t.sums[:0], 0
	for part := range slices.Chunk(t.weights, stretch) {
		sum := float64(blas.Exp(part, highest))
		t.sums, t.total = append(t.sums, sum), t.total+sum
	}
	b.norm = origin + float64(highest) + math.Log(t.total)
}

// weighFrom leaves log q, but for a constant, in the weights, as what it is above origin, and finds the
// likeliest token.
func (b *Sampler) weighFrom(origin float64) {
	t, raw := &b.tilt, b.row.Logits
	inv, advantages, weights := 1/b.Temp, t.advantages[:len(raw)], t.weights[:len(raw)]
	for id, l := range raw {
		weights[id] = float32(float64(l)*inv + t.beta*float64(advantages[id]) - origin)
	}
	for _, c := range b.changed {
		weights[c.id] = float32(b.logit(c.id)*inv - origin)
	}
	best, highest := 0, weights[0]
	for id, w := range weights {
		if w > highest {
			best, highest = id, w
		}
	}
	t.best = int32(best)
}

// drawWeighed takes the token at which the probabilities of the vocabulary reach u.
func (t *tilt) drawWeighed(u float64) int32 {
	u *= t.total
	for i, sum := range t.sums {
		if sum <= u {
			u -= sum
			continue
		}
		from := i * stretch
		for k, w := range t.weights[from:min(from+stretch, len(t.weights))] {
			if u -= float64(w); u < 0 {
				return int32(from + k)
			}
		}
	}
	return t.best // rounding: the weights summed to a little less than u
}

// BaseLogP is log pi_base(token | s), whatever the policy is tilted by.
func (b *Sampler) BaseLogP(token int32) float64 {
	if b.tilt.advantages == nil {
		return b.LogP(token)
	}
	if b.closed && !slices.Contains(b.ids, token) {
		return math.Inf(-1)
	}
	return b.baseLogit(token)/b.Temp - b.tilt.base
}

// TiltKL is KL(q || pi_base) = beta E_q[a] - log E_base[exp(beta a)] in nats, 0 of a policy that is not tilted.
func (b *Sampler) TiltKL() float64 {
	t := &b.tilt
	if t.advantages == nil {
		return 0
	}
	mean := 0.0
	if b.closed {
		for i, id := range b.ids {
			mean += math.Exp(b.logPAt(i)) * float64(t.advantages[id])
		}
	} else {
		for i := range t.sums {
			from := i * stretch
			mean += float64(dot(t.weights[from:min(from+stretch, len(t.weights))], t.advantages[from:]))
		}
		mean /= t.total
	}
	return max(0, t.beta*mean-(b.norm-t.base)) // rounding may leave a little less
}

// dot is the product of two vectors, the second being no shorter; four sums at once, for an addition waits for
// the one before it.
func dot(x, y []float32) float32 {
	var s [4]float32
	for ; len(x) >= 4; x, y = x[4:], y[4:] {
		y := y[:4]
		s[0] += x[0] * y[0]
		s[1] += x[1] * y[1]
		s[2] += x[2] * y[2]
		s[3] += x[3] * y[3]
	}
	for i := range x {
		s[0] += x[i] * y[i]
	}
	return s[0] + s[1] + s[2] + s[3]
}
