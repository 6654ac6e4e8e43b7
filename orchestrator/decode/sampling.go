package decode

import "math/rand/v2"

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
