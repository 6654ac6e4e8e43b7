// Package policy is the base policy: a model's distribution over the next token after
// llama.cpp's sampler chain, what is drawn from it, what a table of advantages makes of it, and how far
// another one is from it.
// Whatever decodes draws here; the package itself decodes nothing, and knows nothing of values.
package policy

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/llama"
)

// Sampling shapes the base policy: the model's distribution after llama.cpp's sampler
// chain, in llama.cpp's order: biases, penalties, top-k, top-p, min-p, temperature. What may not come next, by the
// grammar or by what is said of the end, is taken out before all of them. The zero
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
	// LogitBias is added to the logits of tokens, by their ids; -Inf rules a token out.
	LogitBias map[int32]number.Float `json:"logit_bias,omitempty" yaml:"logit_bias,omitempty"`
	// IgnoreEOS rules the end of a response out, and MinTokens does before it has so many tokens, except where
	// nothing else may follow.
	IgnoreEOS bool `json:"ignore_eos,omitempty" yaml:"ignore_eos,omitempty"`
	MinTokens int  `json:"min_tokens,omitempty" yaml:"min_tokens,omitempty"`
	// Grammar is a text in llama.cpp's GBNF whose rule root describes the whole response; empty for none.
	Grammar string `json:"grammar,omitempty" yaml:"grammar,omitempty"`
}

// LookBack is how many tokens llama.cpp's penalties look back on where nobody says another number.
const LookBack = 64

// Equal says whether two samplings are the same.
func (s Sampling) Equal(o Sampling) bool {
	same := maps.Equal(s.LogitBias, o.LogitBias)
	s.LogitBias, o.LogitBias = nil, nil
	return same && reflect.DeepEqual(s, o)
}

// Constrained says whether what may come next depends on more than the state: on a grammar, or on how long the
// response is.
func (s Sampling) Constrained() bool { return s.Grammar != "" || s.IgnoreEOS || s.MinTokens > 0 }

// Bias sets the bias of a token.
func (s *Sampling) Bias(token int32, bias float64) {
	if s.LogitBias == nil {
		s.LogitBias = map[int32]number.Float{}
	}
	s.LogitBias[token] = number.Float(bias)
}

// ParseBias reads the id of a token with its bias, as llama.cpp spells them: 15043+1.
func ParseBias(text string) (token int32, bias float64, err error) {
	i := max(0, strings.IndexAny(text, "+-"))
	id, err := strconv.ParseInt(text[:i], 10, 32)
	if err == nil {
		bias, err = strconv.ParseFloat(text[i:], 64)
	}
	if err != nil || id < 0 || math.IsNaN(bias) || math.IsInf(bias, 1) {
		return 0, 0, fmt.Errorf("%q is no bias (give the id of a token and its bias, such as 15043+1 or 15043-inf)", text)
	}
	return int32(id), bias, nil
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
	case s.MinTokens < 0:
		return fault.New("decode", "min_tokens", nil, "set {min_tokens} to 0 or more", "responses of %d tokens at least", s.MinTokens)
	}
	for token, bias := range s.LogitBias {
		if x := float64(bias); token < 0 || math.IsNaN(x) || math.IsInf(x, 1) {
			return fault.New("decode", "logit_bias", nil, "give the id of a token, and a number or -inf", "token %d has the bias %v", token, x)
		}
	}
	if s.Grammar != "" {
		if err := llama.CheckGrammar(s.Grammar, ""); err != nil {
			return GrammarError(err)
		}
	}
	return nil
}

// GrammarError is the error of a grammar that cannot be kept to.
func GrammarError(err error) error {
	e := &fault.Error{Op: "decode", Field: "grammar", Err: err}
	if !strings.HasSuffix(err.Error(), ")") { // it does not say what to do
		e.Hint = "mend {grammar}"
	}
	return e
}
