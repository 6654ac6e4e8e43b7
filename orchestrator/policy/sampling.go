// Package policy is the base policy: a model's distribution over the next token after
// llama.cpp's sampler chain, what is drawn from it, what a table of advantages makes of it, and how far
// another one is from it.
// Whatever decodes draws here; the package itself decodes nothing, and knows nothing of values.
package policy

import (
	"math"

	"github.com/ivo-decoding/ivo/internal/fault"
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

// Truncates says whether some tokens may get no probability at all.
func (s Sampling) Truncates() bool {
	return s.TopK > 0 || (s.TopP > 0 && s.TopP < 1) || s.MinP > 0
}

// Penalizes says whether the text so far changes logits.
func (s Sampling) Penalizes() bool {
	return s.RepeatLastN != 0 && ((s.RepeatPenalty != 0 && s.RepeatPenalty != 1) || s.FrequencyPenalty != 0 || s.PresencePenalty != 0)
}

// Check finds settings that are no sampling.
func (s Sampling) Check() error {
	penalties := s.RepeatPenalty + s.FrequencyPenalty + s.PresencePenalty
	switch {
	case !(s.Temp >= 0) || math.IsInf(s.Temp, 1):
		return fault.New("decode", "temp", nil, "set {temp} to 0 for greedy decoding, or to a positive number", "temperature %v", s.Temp)
	case !(s.TopP >= 0 && s.TopP <= 1) || !(s.MinP >= 0 && s.MinP <= 1) || s.TopK < 0:
		return fault.New("decode", "top_p", nil, "{top_k} is 0 or more, {top_p} and {min_p} lie from 0 to 1", "top-k %d, top-p %v, min-p %v", s.TopK, s.TopP, s.MinP)
	case s.RepeatLastN < -1:
		return fault.New("decode", "repeat_penalty", nil, "give -1 to look back on all tokens", "penalties look back on %d tokens", s.RepeatLastN)
	case !(s.RepeatPenalty >= 0) || math.IsNaN(penalties) || math.IsInf(penalties, 0):
		return fault.New("decode", "repeat_penalty", nil, "give finite numbers, the first 0 or more", "penalties: repeat %v, frequency %v, presence %v", s.RepeatPenalty, s.FrequencyPenalty, s.PresencePenalty)
	}
	return nil
}
