package policy

import (
	"cmp"
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
	tilt    tilt
	// scratch
	recent      []int32
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
	if b.Penalizes() && !b.penalize(recent) {
		b.sortAll()
	}
	switch {
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
	if len(b.ids) == 0 || !(share > enough && gain < most) || b.Temp > 0 && !b.Truncates() && !(shareT > enough && gainT < most) {
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

// baseLogit is a token's logit after penalties.
func (b *Sampler) baseLogit(id int32) float64 {
	if l, ok := b.find(id); ok {
		return l
	}
	return float64(b.row.Logits[id])
}

// logit is a token's logit after penalties and tilt.
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
