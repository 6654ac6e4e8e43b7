package policy

import (
	"math"
	"slices"
)

// KL is KL(pi || ref) in nats at the state that b looks at, pi being its policy: how far other
// sampling has gone from the base policy. Both are distributions after truncation, so it is
// infinite where ref rules out a token that pi may draw. Sampling that differs in its temperature
// alone keeps the same tokens, greedy decoding one of them: there it is finite. recent is the text
// so far; ref is left at the state, and what is impossible to b there is to ref.
func (b *Sampler) KL(ref *Sampler, recent []int32) float64 {
	norm := math.Inf(-1) // the row's LSET is at another temperature
	if ref.Temp > 0 && !ref.Truncates() {
		for _, l := range b.row.Logits {
			norm = logAdd(norm, float64(l)/ref.Temp)
		}
	}
	ref.Only, ref.Never = b.Only, b.Never
	ref.at(b.row, recent, norm)
	return b.KLTo(ref)
}

// KLTo is KL(pi || ref) where ref looks at the same state of a text by another model's row.
func (b *Sampler) KLTo(ref *Sampler) float64 {
	kl, q := 0.0, ref.logPs()
	add := func(id int32, logp float64) {
		if p := math.Exp(logp); p > 0 {
			kl += p * (logp - q[id])
		}
	}
	if b.closed {
		for i, id := range b.ids {
			add(id, b.logPAt(i))
		}
	} else {
		for id := range b.row.Logits {
			add(int32(id), b.LogP(int32(id)))
		}
	}
	return max(0, kl) // rounding may leave a little less
}

// logPs is log pi_base of every token, in scratch space.
func (b *Sampler) logPs() []float64 {
	b.all = slices.Grow(b.all[:0], len(b.row.Logits))[:len(b.row.Logits)]
	for id := range b.all {
		b.all[id] = math.Inf(-1)
		if !b.closed {
			b.all[id] = b.LogP(int32(id))
		}
	}
	if b.closed {
		for i, id := range b.ids {
			b.all[id] = b.logPAt(i)
		}
	}
	return b.all
}

// LogSumExp is log sum exp(l/temp).
func LogSumExp(l []float64, temp float64) float64 {
	if len(l) == 0 {
		return math.Inf(-1)
	}
	top, sum := slices.Max(l), 0.0
	for _, v := range l {
		sum += math.Exp((v - top) / temp)
	}
	return top/temp + math.Log(sum)
}

// logAdd is log(exp(a) + exp(b)).
func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
