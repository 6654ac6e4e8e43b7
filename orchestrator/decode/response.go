// Package decode holds the decoding strategies, one file each: sampling, best-of-n, the
// tokenwise ones, blockwise best-of-k and blockwise beam search. A strategy is
// straight-line code over an [engine.Session]; what guides it is a [value.Source]. Any
// strategy runs with any source.
//
// The package knows nothing of rewards, files or training.
package decode

import (
	"context"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/think"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Request is one prompt to answer.
type Request struct {
	Prompt    []int32
	MaxTokens int // of the response
	Sampling  policy.Sampling
	Key       uint64   // of the random streams; see [policy.Key]
	Stop      []string // the response ends where one of these ends; it is cut off
	// Thinks are the marks of the thoughts of a model that thinks before it answers; nil of others. Thoughts are no part of
	// a response's text, which stop strings, rewards and value functions of texts see.
	Thinks   *think.Marks
	Thoughts Thoughts
	// Value is the value function; nil for none.
	Value value.Source
	// EachValue gives every token of the response its value, not only those where a
	// strategy needed one.
	EachValue bool
	// Reference, if set, makes Response.KL that of plain sampling from this other base policy:
	// how far sampling at another temperature has gone. See [policy.Sampler.KL].
	Reference *policy.Sampling
	// Record keeps the states, scalars and candidates of the response, for training, and RecordPrompt
	// the states of the prompt.
	Record, RecordPrompt bool
	// TopLogProbs is the number of likeliest tokens of every state that the response tells, where it is not recorded.
	TopLogProbs int
	// Rerank, if set, is the reward itself, which scores finished texts: it chooses among the samples of
	// best-of-n, the finished candidates of block-beam and those of block-best-of-k's last block, and
	// scores [Rollouts]. It returns a number for each text; it is asked about a text once, and may be
	// called by several jobs at once.
	Rerank func(ctx context.Context, texts []string) ([]float64, error)
	// Emit, if set, is called with text of the response as soon as no later step can
	// take it back. A piece may end inside a UTF-8 character; the next one completes it.
	Emit func(text []byte)
	// EmitThinking, if set, is called in the same way with the text of thoughts.
	EmitThinking func(text []byte)
	// EmitTokens, if set, is called before both with the tokens of which the same is true. Where stop strings or
	// unfinished characters hold text back, its tokens come before it.
	EmitTokens func([]Said)
	// Spell holds control tokens, such as those around a tool call, that are written into the answer, where
	// they are nothing otherwise.
	Spell []int32
	// Branches, if set, is told of all candidates of each block of block-beam and block-best-of-k.
	Branches func([]Branch)
	// Progress, if set, is called after every step with the tokens decoded so far.
	Progress func(decoded int)
}

// promptStates says whether the states of the prompt are wanted.
func (r *Request) promptStates() bool {
	return r.Value != nil && r.Value.NeedsPrompt() || r.RecordPrompt
}

// Finish says why a response ended.
type Finish string

const (
	FinishEOG    Finish = "stop"   // an end-of-generation token or a stop string
	FinishLength Finish = "length" // MaxTokens
)

// KLKind says what a [Response.KL] is.
type KLKind string

const (
	KLExact KLKind = "exact" // sum over the response of the token-level KL at each of its states
	KLBound KLKind = "bound" // the strategy has no token-level policy: an upper bound
)

// Response is a finished answer of T tokens, the end-of-generation token included.
type Response struct {
	Tokens   []int32   // [T]
	LogProbs []float32 // [T] log p(a_t | s_{t-1}) of the model at temperature 1
	// BaseLogProbs is log pi_base(a_t | s_{t-1}) of the base policy, which is the model after
	// [policy.Sampling]: -Inf of a token that is not drawn but given to [Follow] and ruled out.
	// GuidedLogProbs is that of the guided policy, nil where the strategy chooses among whole
	// blocks or samples and has none.
	BaseLogProbs, GuidedLogProbs []float32 // [T]
	Values                       []float32 // [T] V(s_t), NaN where it was not asked for; nil without a value function
	Value                        float32   // V of the last state, NaN without a value function
	// KL is KL(guided || base), in nats, of this response's sequence of choices. Its mean over
	// responses estimates that of the policies without bias where it is exact, and a bound on it where
	// it is one: that may be negative of a single response that the proposal makes less likely.
	KL     float64
	KLKind KLKind
	Text   string // the answer, without the end-of-generation token and the stop string
	// Thinking is what was thought before, without its marks. Tokens and what is known of them hold both.
	Thinking string
	Finish   Finish
	Stop     string // the stop string that ended it; empty where none did
	Decoded  int    // tokens decoded for this response, those of pruned candidates included
	Cached   int    // tokens of the prompt that were not decoded for it, since they were kept
	// RewardCalls is the number of texts that Rerank was asked about.
	RewardCalls int
	// Ratio is log q(y)/pi(y) of the response, q being the policy that its tokens were drawn from, such as the guided one
	// or the proposal, and pi the base policy, or Reference.
	Ratio float64
	// With Record:
	States  []float32 // [T][width] of the tapped layers, after each token
	Scalars []float32 // [T][len(value.ScalarsOf)]
	// With Record or TopLogProbs, the K likeliest tokens of the state before each token, the likeliest first, and their
	// log-probabilities by the model at temperature 1; K is [Candidates] at most, or TopLogProbs.
	Candidates        []int32   // [T][K]
	CandidateLogProbs []float32 // [T][K]
	// With RecordPrompt, shared by the responses to one request; its ID is for the caller to
	// set.
	Prompt *states.Prompt
}

// response turns a finished candidate into the answer.
func (d *decoder) response(c *candidate, decoded int) Response {
	t := c.Length
	r := Response{
		Tokens: c.Tokens(), LogProbs: make([]float32, t), BaseLogProbs: make([]float32, t), Value: c.value,
		KLKind: KLExact, Text: string(c.Text[:len(c.Text)-c.Cut]), Thinking: string(c.thinkingText()), Finish: c.finish, Stop: c.stop, Decoded: decoded,
		Cached: d.s.Reused(), RewardCalls: d.rewardCalls,
	}
	if d.req.RecordPrompt {
		r.Prompt = d.prompt
	}
	if d.req.Value != nil {
		r.Values = make([]float32, t)
	}
	if d.tokenwise {
		r.GuidedLogProbs = make([]float32, t)
	}
	width, k, scalars := 0, 0, len(value.ScalarsOf(d.req.Thinks != nil))
	if d.req.Record && t > 0 {
		width = len(c.last.states)
		r.States, r.Scalars = make([]float32, t*width), make([]float32, t*scalars)
	}
	if t > 0 && c.last.likely != nil {
		k = len(c.last.likely)
		r.Candidates, r.CandidateLogProbs = make([]int32, t*k), make([]float32, t*k)
	}
	for n, i := c.last, t-1; n != nil; n, i = n.parent, i-1 {
		r.LogProbs[i], r.BaseLogProbs[i] = n.logp, n.base
		r.KL += n.kl
		if n.guided != n.from { // both may be -Inf
			r.Ratio += float64(n.guided) - float64(n.from)
		}
		if r.Values != nil {
			r.Values[i] = n.value
		}
		if d.tokenwise {
			r.GuidedLogProbs[i] = n.guided
		}
		if d.req.Record {
			copy(r.States[i*width:], n.states)
			copy(r.Scalars[i*scalars:], n.Scalars[:scalars])
		}
		copy(r.Candidates[i*k:], n.likely)
		copy(r.CandidateLogProbs[i*k:], n.likelyP)
	}
	return r
}

// check finds what is wrong with a request before any work is done.
func (r *Request) check(e *engine.Engine, needValue bool) error {
	switch {
	case len(r.Prompt) == 0:
		return fault.New("decode", "prompt", nil, "give one as {prompt} or {file}", "the prompt is empty")
	case r.MaxTokens < 1:
		return fault.New("decode", "max_tokens", nil, "set {max_tokens} to a positive number", "a response of %d tokens", r.MaxTokens)
	case slices.Contains(r.Stop, ""):
		return fault.New("decode", "stop", nil, "leave it out of {stop}", "an empty stop text, which every text begins with")
	case needValue && r.Value == nil:
		return fault.New("decode", "value_head", nil, "give one as {value_head}, or learn one with ivo iterate", "this method needs a value function")
	case len(r.Prompt)+r.MaxTokens > e.Params().Ctx:
		return fault.New("decode", "ctx", e.Params().Ctx, fault.TooLong, "the prompt has %d tokens and the response up to %d, the context holds %d", len(r.Prompt), r.MaxTokens, e.Params().Ctx)
	}
	if err := r.Sampling.Check(); err != nil {
		return err
	}
	if err := r.checkConstraint(e.Model()); err != nil {
		return err
	}
	if err := r.checkTop(e); err != nil {
		return err
	}
	if r.Reference != nil {
		if err := r.Reference.Check(); err != nil {
			return err
		}
	}
	if r.Value != nil {
		return r.Value.Check(e)
	}
	return nil
}
