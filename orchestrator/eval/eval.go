package eval

import (
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// Method is one way to answer prompts.
type Method struct {
	Name string
	batch.Policy
}

// Answer is one scored response to a test prompt.
type Answer struct {
	batch.Response
	Reward float64 `json:"reward"`
}

// Result is how a method did.
type Result struct {
	Method  string   `json:"method"`
	N       int      `json:"n"` // prompts
	Reward  Interval `json:"reward"`
	WinRate float64  `json:"win_rate"` // against the base policy, ties one half
	// Second is the mean by a second reward, from which nothing was learned; nil without one.
	Second *Interval `json:"second,omitempty"`
	// DecodedPerEmitted is the number of tokens decoded for each token of the answers.
	DecodedPerEmitted float64 `json:"decoded_per_emitted"`
	// RewardCalls is the number of texts a response that a reward scored in the search.
	RewardCalls float64 `json:"reward_calls,omitempty"`
	// KL is the mean over the responses, exact or a bound.
	KL      Interval      `json:"kl"`
	KLKind  decode.KLKind `json:"kl_kind"`
	Answers []Answer      `json:"-"`
}

// ShardPrompts is the number of prompts decoded from one empty context.
const ShardPrompts = 25

// SecondBy states what a second reward says of the answers.
func (r *Result) SecondBy(answers []Answer, seed uint64) {
	mean := Bootstrap(rewardsOf(answers), seed)
	r.Second = &mean
}

// Summarize compares a method's answers with the base policy's to the same prompts.
func Summarize(method string, answers, base []Answer, seed uint64) Result {
	r := Result{Method: method, N: len(answers), Answers: answers}
	rewards, baseline := rewardsOf(answers), rewardsOf(base)
	r.Reward = Bootstrap(rewards, seed)
	r.WinRate = WinRate(rewards, baseline)
	decoded, emitted, calls := 0, 0, 0
	kls := make([]float64, len(answers))
	for i, a := range answers {
		decoded += a.Decoded
		emitted += a.Emitted
		calls += a.RewardCalls
		kls[i], r.KLKind = float64(a.KL), a.KLKind
	}
	r.KL = Bootstrap(kls, seed)
	r.DecodedPerEmitted = float64(decoded) / float64(max(emitted, 1))
	r.RewardCalls = float64(calls) / float64(max(len(answers), 1))
	return r
}

func rewardsOf(answers []Answer) []float64 {
	out := make([]float64, len(answers))
	for i, a := range answers {
		out[i] = a.Reward
	}
	return out
}
