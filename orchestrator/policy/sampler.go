package policy

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
)

// Sampler is the base policy, pi_base(. | s), at one state, the one looked at last, or what
// [Sampler.Tilt] makes of it. What is asked of it
// nearly always concerns the row's sorted candidates, so the vocabulary is not looked at
// unless a draw falls outside them. It keeps scratch space and belongs to one goroutine.
type Sampler struct {
	Sampling
	// What the text so far leaves of the vocabulary at the state that At looks at next: the tokens of Only,
	// nil for all, and of them none of Never. They may be set before every At; truncation sees only what is left.
	Only  *llama.TokenSet
	Never []int32

	row *llama.Row
	// The likeliest tokens and their logits after biases and penalties, by falling logit. closed says
	// that no others have any probability; else all tokens of logit above floor, or equal
	// to it with an id up to floorID, are here.
	ids     []int32
	logits  []float64
	closed  bool
	floor   float64
	floorID int32
	changed []changed // tokens that biases and penalties concern, by id
	lse     float64   // log sum exp of all logits
	norm    float64   // log p(a) = logit/Temp - norm
	tilt    tilt
	// scratch
	recent      []int32
	touched     []int32
	sorted      []changed
	p           []float64
	logps, exps []float32
	all         []float64
}

// changed is a token with the logit that it has instead of the model's.
type changed struct {
	id    int32
	logit float64
}

// At looks at a state by its row, whose LSET must be at the sampling's temperature;
// recent is the text so far, which penalties look at.
func (b *Sampler) At(row *llama.Row, recent []int32) { b.at(row, recent, float64(row.LSET)) }

// at is At with log sum exp of the row's logits at the sampling's temperature, which is not
// looked at where the sampling truncates.
func (b *Sampler) at(row *llama.Row, recent []int32, norm float64) {
	b.row, b.lse, b.norm, b.tilt.advantages = row, float64(row.LSE), norm, nil
	b.ids, b.logits, b.changed = append(b.ids[:0], row.Top...), b.logits[:0], b.changed[:0]
	for _, l := range row.TopLogits {
		b.logits = append(b.logits, float64(l))
	}
	n := len(b.ids)
	b.closed, b.floor, b.floorID = n == len(row.Logits), b.logits[n-1], b.ids[n-1]
	sound := !b.Penalizes() && len(b.LogitBias)+len(b.Never) == 0 || b.change(recent)
	switch {
	case b.Only != nil && b.Only.Len() <= fewTokens:
		b.sort(b.Only.All())
	case !sound || b.Only != nil && !b.restrict():
		b.sortAll()
	}
	switch {
	case len(b.ids) == 0:
		return // nothing is possible
	case b.Temp <= 0:
		b.keep(1)
		b.closed, b.norm = true, 0
	case b.Truncates():
		if !b.truncate() {
			b.sortAll()
			b.truncate()
		}
		b.closed, b.norm = true, LogSumExp(b.logits, b.Temp)
	case b.closed || (b.logits[0]-b.floor)/b.Temp > 40:
		// The list holds all that has any probability, and LSET is a float32: coarse where the
		// temperature is low.
		b.norm = LogSumExp(b.logits, b.Temp)
	case b.Temp < 0.05:
		b.sortAll()
	}
}

func (b *Sampler) keep(n int) { b.ids, b.logits = b.ids[:n], b.logits[:n] }

// change biases the logits of tokens and then lowers those of the last RepeatLastN as llama.cpp's samplers
// do. It says whether the sorted candidates still tell enough: where nearly all
// probability lay on such tokens, the rest's is not known well.
func (b *Sampler) change(recent []int32) bool {
	b.recent, b.touched = b.recent[:0], append(b.touched[:0], b.Never...)
	if b.Penalizes() {
		if n := b.RepeatLastN; n > 0 && n < len(recent) {
			recent = recent[len(recent)-n:]
		}
		b.recent = append(b.recent, recent...)
		slices.Sort(b.recent)
	}
	for id := range b.LogitBias {
		b.touched = append(b.touched, id)
	}
	b.touched = append(b.touched, b.recent...)
	slices.Sort(b.touched)
	b.touched = slices.Compact(b.touched)
	share, shareT, gain, gainT := 1.0, 1.0, 0.0, 0.0
	inv := 1 / max(b.Temp, 1e-6)
	seen := 0 // of b.recent
	for _, id := range b.touched {
		n := 0
		for ; seen < len(b.recent) && b.recent[seen] == id; seen++ {
			n++
		}
		old := b.row.Logits[id]
		l := old + float32(b.LogitBias[id])
		if slices.Contains(b.Never, id) {
			l = float32(math.Inf(-1))
		}
		if n > 0 {
			if p := float32(b.RepeatPenalty); p != 0 {
				if l <= 0 {
					l *= p
				} else {
					l /= p
				}
			}
			l -= float32(n)*float32(b.FrequencyPenalty) + float32(b.PresencePenalty)
		}
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
		if b.listed(c.id, c.logit) && !math.IsInf(c.logit, -1) {
			i, _ := slices.BinarySearchFunc(b.logits, c, func(l float64, c changed) int { return cmp.Compare(c.logit, l) })
			for i < len(b.logits) && b.logits[i] == c.logit && b.ids[i] < c.id {
				i++
			}
			b.ids, b.logits = slices.Insert(b.ids, i, c.id), slices.Insert(b.logits, i, c.logit)
		}
	}
	const enough, most = 0.05, 1e6 // most, for raised tokens hide what is known of the others; neither holds of NaN
	if len(b.ids) == 0 || !(share > enough && gain < most) || b.Temp > 0 && !b.Truncates() && !(shareT > enough && gainT < most) {
		return false
	}
	b.lse += math.Log(share + gain)
	b.norm += math.Log(shareT + gainT)
	return true
}

// find looks up the logit of a token that a bias or a penalty concerns.
func (b *Sampler) find(id int32) (float64, bool) {
	i, ok := slices.BinarySearchFunc(b.changed, id, func(c changed, id int32) int { return cmp.Compare(c.id, id) })
	if !ok {
		return 0, false
	}
	return b.changed[i].logit, true
}

// baseLogit is a token's logit after biases and penalties, -Inf of one that is impossible.
func (b *Sampler) baseLogit(id int32) float64 {
	if b.Only != nil && !b.Only.Has(id) {
		return math.Inf(-1)
	}
	if l, ok := b.find(id); ok {
		return l
	}
	return float64(b.row.Logits[id])
}

// logit is a token's logit after biases, penalties and tilt.
func (b *Sampler) logit(id int32) float64 {
	l := b.baseLogit(id)
	if b.tilt.advantages != nil {
		l += b.Temp * b.tilt.beta * float64(b.tilt.advantages[id])
	}
	return l
}

// listed says whether a token of this logit is among the sorted candidates.
func (b *Sampler) listed(id int32, logit float64) bool {
	return b.closed || logit > b.floor || (logit == b.floor && id <= b.floorID)
}

// sortAll puts all of the vocabulary that is possible into the list.
func (b *Sampler) sortAll() {
	b.sort(func(yield func(int32) bool) {
		for id := range b.row.Logits {
			if !yield(int32(id)) {
				return
			}
		}
	})
}

// sort puts those of some tokens that are possible into the list; no others are.
func (b *Sampler) sort(tokens iter.Seq[int32]) {
	b.sorted = b.sorted[:0]
	for id := range tokens {
		if l := b.logit(id); !math.IsInf(l, -1) {
			b.sorted = append(b.sorted, changed{id, l})
		}
	}
	slices.SortStableFunc(b.sorted, func(x, y changed) int { return cmp.Compare(y.logit, x.logit) })
	b.ids, b.logits = b.ids[:0], b.logits[:0]
	for _, c := range b.sorted {
		b.ids, b.logits = append(b.ids, c.id), append(b.logits, c.logit)
	}
	b.closed, b.lse, b.norm = true, LogSumExp(b.logits, 1), 0
	if b.Temp > 0 {
		b.norm = LogSumExp(b.logits, b.Temp)
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
		lse = LogSumExp(b.logits[:n], 1)
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

// LogP is log pi_base(token | s), or log q of a tilted policy; -Inf of a token that was cut off.
func (b *Sampler) LogP(token int32) float64 {
	if !b.closed {
		return b.logit(token)/b.Temp - b.norm
	}
	i := slices.Index(b.ids, token)
	if i < 0 {
		return math.Inf(-1)
	}
	return b.logPAt(i)
}

// logPAt is LogP of token i of the list.
func (b *Sampler) logPAt(i int) float64 {
	if b.Temp <= 0 {
		return 0
	}
	return b.logits[i]/b.Temp - b.norm
}
