package decode

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/blas"
)

// Sampler is the base policy, pi_base(. | s), at one state, the one looked at last. What is asked of it
// nearly always concerns the row's sorted candidates, so the vocabulary is not looked at
// unless a draw falls outside them. It keeps scratch space and belongs to one goroutine.
type Sampler struct {
	Sampling
	row *llama.Row
	// The likeliest tokens and their logits after penalties, by falling logit. closed says
	// that no others have any probability; else all tokens of logit above floor, or equal
	// to it with an id up to floorID, are here.
	ids     []int32
	logits  []float64
	closed  bool
	floor   float64
	floorID int32
	changed []changed // tokens that penalties concern, by id
	lse     float64   // log sum exp of all logits
	norm    float64   // log p(a) = logit/Temp - norm
	// scratch
	recent      []int32
	p           []float64
	logps, exps []float32
}

type changed struct {
	id    int32
	logit float64
}

// Draw takes a token y ~ pi_base(. | s) at the state of a row; see at.
func (b *Sampler) Draw(row *llama.Row, recent []int32, rng *rand.Rand) int32 {
	b.at(row, recent)
	return b.draw(rng)
}

// at looks at a state by its row, whose LSET must be at the sampling's temperature;
// recent is the text so far, which penalties look at.
func (b *Sampler) at(row *llama.Row, recent []int32) {
	b.row, b.lse, b.norm = row, float64(row.LSE), float64(row.LSET)
	b.ids, b.logits, b.changed = append(b.ids[:0], row.Top...), b.logits[:0], b.changed[:0]
	for _, l := range row.TopLogits {
		b.logits = append(b.logits, float64(l))
	}
	n := len(b.ids)
	b.closed, b.floor, b.floorID = n == len(row.Logits), b.logits[n-1], b.ids[n-1]
	if b.penalizes() && !b.penalize(recent) {
		b.sortAll()
	}
	switch {
	case b.Temp <= 0:
		b.keep(1)
		b.closed, b.norm = true, 0
	case b.truncates():
		if !b.truncate() {
			b.sortAll()
			b.truncate()
		}
		b.closed, b.norm = true, logSumExpAt(b.logits, b.Temp)
	case b.closed || (b.logits[0]-b.floor)/b.Temp > 40:
		// The list holds all that has any probability, and LSET is a float32: coarse where the
		// temperature is low.
		b.norm = logSumExpAt(b.logits, b.Temp)
	case b.Temp < 0.05:
		b.sortAll()
	}
}

func (b *Sampler) keep(n int) { b.ids, b.logits = b.ids[:n], b.logits[:n] }

// penalize lowers the logits of the last RepeatLastN tokens as llama.cpp's penalties
// sampler does. It says whether the sorted candidates still tell enough: where nearly all
// probability lay on penalised tokens, the rest's is not known well.
func (b *Sampler) penalize(recent []int32) bool {
	if n := b.RepeatLastN; n > 0 && n < len(recent) {
		recent = recent[len(recent)-n:]
	}
	b.recent = append(b.recent[:0], recent...)
	slices.Sort(b.recent)
	share, shareT, gain, gainT := 1.0, 1.0, 0.0, 0.0
	inv := 1 / max(b.Temp, 1e-6)
	for i := 0; i < len(b.recent); {
		id, n := b.recent[i], 0
		for ; i < len(b.recent) && b.recent[i] == id; i++ {
			n++
		}
		old := b.row.Logits[id]
		l := old
		if p := float32(b.RepeatPenalty); p != 0 {
			if l <= 0 {
				l *= p
			} else {
				l /= p
			}
		}
		l -= float32(n)*float32(b.FrequencyPenalty) + float32(b.PresencePenalty)
		b.changed = append(b.changed, changed{id, float64(l)})
		share -= math.Exp(float64(old) - b.lse)
		gain += math.Exp(float64(l) - b.lse)
		shareT -= math.Exp(float64(old)*inv - b.norm)
		gainT += math.Exp(float64(l)*inv - b.norm)
	}
	kept := 0
	for i, id := range b.ids {
		if _, ok := b.find(id); !ok {
			b.ids[kept], b.logits[kept] = id, b.logits[i]
			kept++
		}
	}
	b.keep(kept)
	for _, c := range b.changed {
		if b.listed(c.id, c.logit) {
			i, _ := slices.BinarySearchFunc(b.logits, c, func(l float64, c changed) int { return cmp.Compare(c.logit, l) })
			for i < len(b.logits) && b.logits[i] == c.logit && b.ids[i] < c.id {
				i++
			}
			b.ids, b.logits = slices.Insert(b.ids, i, c.id), slices.Insert(b.logits, i, c.logit)
		}
	}
	const enough, most = 0.05, 1e6 // most, for raised tokens hide what is known of the others; neither holds of NaN
	if len(b.ids) == 0 || !(share > enough && gain < most) || b.Temp > 0 && !(shareT > enough && gainT < most) {
		return false
	}
	b.lse += math.Log(share + gain)
	b.norm += math.Log(shareT + gainT)
	return true
}

// find looks up the logit of a token that a penalty concerns.
func (b *Sampler) find(id int32) (float64, bool) {
	i, ok := slices.BinarySearchFunc(b.changed, id, func(c changed, id int32) int { return cmp.Compare(c.id, id) })
	if !ok {
		return 0, false
	}
	return b.changed[i].logit, true
}

// logit is a token's logit after penalties.
func (b *Sampler) logit(id int32) float64 {
	if l, ok := b.find(id); ok {
		return l
	}
	return float64(b.row.Logits[id])
}

// listed says whether a token of this logit is among the sorted candidates.
func (b *Sampler) listed(id int32, logit float64) bool {
	return b.closed || logit > b.floor || (logit == b.floor && id <= b.floorID)
}

// sortAll puts the whole vocabulary into the list.
func (b *Sampler) sortAll() {
	b.ids, b.logits = b.ids[:0], b.logits[:0]
	for id := range b.row.Logits {
		b.ids = append(b.ids, int32(id))
	}
	all := make([]float64, len(b.ids))
	for id := range all {
		all[id] = b.logit(int32(id))
	}
	slices.SortStableFunc(b.ids, func(x, y int32) int { return cmp.Compare(all[y], all[x]) })
	for _, id := range b.ids {
		b.logits = append(b.logits, all[id])
	}
	b.closed, b.lse, b.norm = true, logSumExpAt(b.logits, 1), 0
	if b.Temp > 0 {
		b.norm = logSumExpAt(b.logits, b.Temp)
	}
}

// truncate applies top-k, top-p and min-p to the list and says whether it sufficed:
// whether no token outside it could have been kept.
func (b *Sampler) truncate() bool {
	n, enough := len(b.ids), b.closed
	if b.TopK > n && !enough {
		return false // top-p counts within the k kept, and not all of them are here
	}
	lse := b.lse
	if b.TopK > 0 && b.TopK <= n {
		n, enough = b.TopK, true
	}
	if b.TopK > 0 { // the probabilities of top-p are relative to the k kept, as in llama.cpp
		lse = logSumExpAt(b.logits[:n], 1)
	}
	whole := n
	if b.TopP > 0 && b.TopP < 1 {
		sum := 0.0
		for i, l := range b.logits[:n] {
			if sum += math.Exp(l - lse); sum >= b.TopP {
				n = i + 1
				break
			}
		}
	}
	if b.MinP > 0 {
		least := b.logits[0] + math.Log(b.MinP)
		for i := range n {
			if b.logits[i] < least {
				n = i
				break
			}
		}
	}
	enough = enough || n < whole
	if enough {
		b.keep(n)
	}
	return enough
}

// logP is log pi_base(token | s), -Inf of a token that was cut off.
func (b *Sampler) logP(token int32) float64 {
	if !b.closed {
		return b.logit(token)/b.Temp - b.norm
	}
	i := slices.Index(b.ids, token)
	if i < 0 {
		return math.Inf(-1)
	}
	return b.logPAt(i)
}

// logPAt is log pi_base of token i of the list.
func (b *Sampler) logPAt(i int) float64 {
	if b.Temp <= 0 {
		return 0
	}
	return b.logits[i]/b.Temp - b.norm
}

// draw takes a token y ~ pi_base(. | s).
func (b *Sampler) draw(rng *rand.Rand) int32 {
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
	if !b.closed {
		// Stretches of the vocabulary whose probability does not reach u are passed by whole.
		const stretch = 1024
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
	for last > 0 && b.listed(last, b.logit(last)) {
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
		if b.listed(id, l) {
			b.logps[k] = never
		}
	}
	copy(b.exps, b.logps)
	return float64(blas.Exp(b.exps, 0))
}

// likeliest returns the k likeliest tokens, or all there are, their probabilities, and that
// of all others together. The slices hold until the next call of any method.
func (b *Sampler) likeliest(k int) (ids []int32, p []float64, rest float64) {
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

// drawRest takes a token from the base policy given that it is none of the k likeliest,
// whose others have the probability rest > 0;
// u is uniform in [0, 1).
func (b *Sampler) drawRest(k int, rest, u float64) int32 { return b.drawFrom(k, u*rest) }

// klFrom is KL(pi_base || pi_T) in nats, pi_T being the model itself at a temperature.
func (b *Sampler) klFrom(temp float64) float64 {
	norm := math.Inf(-1)
	for _, l := range b.row.Logits {
		norm = logAdd(norm, float64(l)/temp)
	}
	kl := 0.0
	add := func(logit, raw float64) {
		logp := 0.0
		if b.Temp > 0 {
			logp = logit/b.Temp - b.norm
		}
		kl += math.Exp(logp) * (logp - (raw/temp - norm))
	}
	if b.closed {
		for i, id := range b.ids {
			add(b.logits[i], float64(b.row.Logits[id]))
		}
		return kl
	}
	for id, raw := range b.row.Logits {
		add(b.logit(int32(id)), float64(raw))
	}
	return kl
}

// logSumExpAt is log sum exp(l/temp).
func logSumExpAt(l []float64, temp float64) float64 {
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
