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
	// Where the base policy does not truncate: exp(logit/Temp + beta a - norm) of the whole vocabulary, norm
	// being that of one token, and the sums of its stretches. The mean of a under q is that token's and first.
	weights []float32
	sums    []float64
	total   float64
	origin  int32
	first   float64
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
// It costs a pass over the vocabulary, and no sorting of it. The advantages are read until then.
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

// weigh finds the weights of the whole vocabulary, of which none is listed any more. They are relative to
// the model's likeliest token, or to q's where that is far from it: single precision is fine near its origin.
func (b *Sampler) weigh() {
	t := &b.tilt
	likeliest := b.ids[0]
	b.keep(0)
	b.floor, b.floorID = math.Inf(1), -1
	t.origin = b.row.Top[0]
	if math.IsInf(b.baseLogit(t.origin), -1) {
		t.origin = likeliest
	}
	const far = 1e13 // e^30
	if b.weighFrom(); !(t.total < far) {
		best := 0
		for id := range b.row.Logits {
			if b.logit(int32(id)) > b.logit(int32(best)) {
				best = id
			}
		}
		t.origin = int32(best)
		b.weighFrom()
	}
	b.norm = b.logit(t.origin)/b.Temp + math.Log(t.total)
}

// weighFrom computes the weights relative to t.origin.
func (b *Sampler) weighFrom() {
	t, raw := &b.tilt, b.row.Logits
	t.weights = slices.Grow(t.weights[:0], len(raw))[:len(raw)]
	const most = 1e30 // more is the same, and no product of it is infinite
	inv, beta := float32(min(1/b.Temp, most)), float32(max(-most, min(t.beta, most)))
	logit, a := float32(b.baseLogit(t.origin)), t.advantages[t.origin]
	t.sums, t.total, t.first = t.sums[:0], 0, 0
	next := 0
	for from := 0; from < len(raw); from += stretch {
		to := min(from+stretch, len(raw))
		sum, first := blas.Tilt(t.weights[from:to], raw[from:to], t.advantages[from:to], logit, inv, a, beta)
		total, moment := float64(sum), float64(first)
		touched := b.exclude(t.weights[from:to], from, 0)
		if touched || next < len(b.changed) && int(b.changed[next].id) < to { // sum anew: the difference of sums would be coarse
			for ; next < len(b.changed) && int(b.changed[next].id) < to; next++ {
				c := b.changed[next]
				if b.Only != nil && !b.Only.Has(c.id) {
					continue
				}
				t.weights[c.id] = float32(math.Exp(min(88, (c.logit-float64(logit))/b.Temp+t.beta*float64(t.advantages[c.id]-a))))
			}
			total, moment = 0, 0
			for id := from; id < to; id++ {
				w := float64(t.weights[id])
				total, moment = total+w, moment+w*float64(t.advantages[id]-a)
			}
		}
		t.sums, t.total, t.first = append(t.sums, total), t.total+total, t.first+moment
	}
	t.first /= t.total
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
	return int32(slices.Index(t.weights, slices.Max(t.weights))) // rounding: they summed to a little less than u
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
		mean = float64(t.advantages[t.origin]) + t.first
	}
	return max(0, t.beta*mean-(b.norm-t.base)) // rounding may leave a little less
}
