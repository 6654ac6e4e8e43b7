package decode

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
)

// Sampling shapes the base policy: the model's distribution after llama.cpp's sampler
// chain, in llama.cpp's order: penalties, top-k, top-p, min-p, temperature. The zero
// value is greedy decoding.
type Sampling struct {
	Temp             float64 `json:"temp" yaml:"temp"`   // 0 takes the likeliest token
	TopK             int     `json:"top_k" yaml:"top_k"` // 0 keeps all
	TopP             float64 `json:"top_p" yaml:"top_p"` // 0 and 1 keep all
	MinP             float64 `json:"min_p" yaml:"min_p"` // 0 keeps all
	RepeatLastN      int     `json:"repeat_last_n,omitempty" yaml:"repeat_last_n,omitempty"`
	RepeatPenalty    float64 `json:"repeat_penalty,omitempty" yaml:"repeat_penalty,omitempty"` // 0 and 1 change nothing
	FrequencyPenalty float64 `json:"frequency_penalty,omitempty" yaml:"frequency_penalty,omitempty"`
	PresencePenalty  float64 `json:"presence_penalty,omitempty" yaml:"presence_penalty,omitempty"`
}

// truncates says whether some tokens may get no probability at all.
func (s Sampling) truncates() bool {
	return s.TopK > 0 || (s.TopP > 0 && s.TopP < 1) || s.MinP > 0
}

func (s Sampling) penalizes() bool {
	return s.RepeatLastN != 0 && ((s.RepeatPenalty != 0 && s.RepeatPenalty != 1) || s.FrequencyPenalty != 0 || s.PresencePenalty != 0)
}

// stream is the random numbers of one purpose. Streams of different purposes under
// one key are independent, so what one candidate draws never shifts another's.
func stream(key uint64, purpose ...uint64) *rand.Rand {
	h := mix(key)
	for _, p := range purpose {
		h = mix(h ^ mix(p))
	}
	return rand.New(rand.NewPCG(h, mix(h)))
}

// mix is the finaliser of splitmix64 (Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Key is the random key of one response: of a run's seed, its round, the prompt and
// the number of the sample.
func Key(seed uint64, round int, prompt string, sample int) uint64 {
	h := mix(seed ^ mix(uint64(round)))
	for _, b := range []byte(prompt) {
		h = mix(h ^ uint64(b))
	}
	return mix(h ^ uint64(sample))
}

// Sampler draws tokens from the base policy. It keeps scratch space and belongs to
// one goroutine.
type Sampler struct {
	Sampling
	ids     []int32
	logits  []float64
	weights []float64
}

// Draw takes the next token for a row of logits, whose LSET must be at the sampling's
// temperature and which must hold some sorted candidates; recent is the text so far, which
// penalties look at.
func (s *Sampler) Draw(row *llama.Row, recent []int32, rng *rand.Rand) int32 {
	if s.penalizes() {
		return s.drawPenalized(row, recent, rng)
	}
	if s.Temp <= 0 {
		return row.Top[0]
	}
	if s.truncates() && s.candidates(row) {
		return s.pick(rng)
	}
	if s.truncates() {
		s.all(row)
		return s.pick(rng)
	}
	// The whole vocabulary: nearly always the draw falls on one of the row's sorted
	// candidates, and the others need not be looked at.
	u := rng.Float64()
	inv, lse := 1/s.Temp, float64(row.LSET)
	for i, l := range row.TopLogits {
		if u -= math.Exp(float64(l)*inv - lse); u < 0 {
			return row.Top[i]
		}
	}
	last := row.Top[len(row.Top)-1]
	worst := row.TopLogits[len(row.TopLogits)-1]
	for id, l := range row.Logits {
		if l > worst || (l == worst && int32(id) <= last) {
			continue // one of the candidates
		}
		if u -= math.Exp(float64(l)*inv - lse); u < 0 {
			return int32(id)
		}
	}
	return row.Top[0] // rounding: the probabilities summed to a little less than u
}

// candidates applies the truncations to the row's sorted candidates and says whether
// they sufficed: whether no token outside them could have been kept.
func (s *Sampler) candidates(row *llama.Row) bool {
	n := len(row.Top)
	if s.TopK > n && n < len(row.Logits) {
		return false // top-p counts within the k kept, and not all of them are here
	}
	enough := n == len(row.Logits)
	if s.TopK > 0 && s.TopK <= n {
		n, enough = s.TopK, true
	}
	s.ids = append(s.ids[:0], row.Top[:n]...)
	s.logits = s.logits[:0]
	for _, l := range row.TopLogits[:n] {
		s.logits = append(s.logits, float64(l))
	}
	// With top-k the probabilities of top-p are relative to the k kept, as in llama.cpp.
	lse := float64(row.LSE)
	if s.TopK > 0 && enough {
		lse = logSumExp(s.logits)
	}
	cut := s.truncate(lse)
	return enough || cut
}

// all puts every token into the chain, sorted.
func (s *Sampler) all(row *llama.Row) {
	s.ids = s.ids[:0]
	for id := range row.Logits {
		s.ids = append(s.ids, int32(id))
	}
	slices.SortStableFunc(s.ids, func(a, b int32) int {
		switch la, lb := row.Logits[a], row.Logits[b]; {
		case la > lb:
			return -1
		case la < lb:
			return 1
		}
		return 0
	})
	if s.TopK > 0 && s.TopK < len(s.ids) {
		s.ids = s.ids[:s.TopK]
	}
	s.logits = s.logits[:0]
	for _, id := range s.ids {
		s.logits = append(s.logits, float64(row.Logits[id]))
	}
	s.truncate(logSumExp(s.logits))
}

// truncate applies top-p and min-p to the sorted candidates, whose probabilities are
// exp(logit - lse), and says whether it cut any off.
func (s *Sampler) truncate(lse float64) bool {
	n := len(s.ids)
	if s.TopP > 0 && s.TopP < 1 {
		sum := 0.0
		for i, l := range s.logits {
			if sum += math.Exp(l - lse); sum >= s.TopP {
				n = i + 1
				break
			}
		}
	}
	if s.MinP > 0 && len(s.logits) > 0 {
		least := s.logits[0] + math.Log(s.MinP)
		for i := range n {
			if s.logits[i] < least {
				n = i
				break
			}
		}
	}
	cut := n < len(s.ids)
	s.ids, s.logits = s.ids[:n], s.logits[:n]
	return cut
}

// pick draws from the candidates at the temperature.
func (s *Sampler) pick(rng *rand.Rand) int32 {
	if s.Temp <= 0 {
		return s.ids[0]
	}
	s.weights = s.weights[:0]
	total := 0.0
	for _, l := range s.logits {
		w := math.Exp((l - s.logits[0]) / s.Temp)
		s.weights = append(s.weights, w)
		total += w
	}
	u := rng.Float64() * total
	for i, w := range s.weights {
		if u -= w; u < 0 {
			return s.ids[i]
		}
	}
	return s.ids[0]
}

// drawPenalized lowers the logits of the last RepeatLastN tokens as llama.cpp's
// penalties sampler does and runs the rest of the chain on the changed row.
func (s *Sampler) drawPenalized(row *llama.Row, recent []int32, rng *rand.Rand) int32 {
	if n := s.RepeatLastN; n > 0 && n < len(recent) {
		recent = recent[len(recent)-n:]
	}
	count := make(map[int32]int)
	for _, t := range recent {
		count[t]++
	}
	logits := slices.Clone(row.Logits)
	for t, n := range count {
		if p := float32(s.RepeatPenalty); p != 0 {
			if logits[t] <= 0 {
				logits[t] *= p
			} else {
				logits[t] /= p
			}
		}
		logits[t] -= float32(n)*float32(s.FrequencyPenalty) + float32(s.PresencePenalty)
	}
	s.all(&llama.Row{Logits: logits})
	return s.pick(rng)
}

func logSumExp(l []float64) float64 {
	if len(l) == 0 {
		return math.Inf(-1)
	}
	top, sum := slices.Max(l), 0.0
	for _, v := range l {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}
