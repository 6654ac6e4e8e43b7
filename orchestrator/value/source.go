// Package value says what a state is worth: by heads on the policy's own states, by models of
// their own, by what scores unfinished texts, or by the mean of several. A [Source] is such a
// value function as the decoding strategies see it, and [Open] makes one of files.
//
// The package follows responses that others decode. It knows nothing of strategies, and of
// rewards only that they come as functions of texts.
package value

import (
	"context"
	"math"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/think"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Source is a value function. [Head], [Prefix], [Mean] and [Model.Source] make them.
type Source interface {
	// Check finds what is wrong before any work is done.
	Check(policy *engine.Engine) error
	// Ahead says whether it values tokens before they are fed: its valuer is a [Scorer].
	Ahead() bool
	// Advantages says whether it knows what each token would add to the value: its valuer is a [Tilter].
	Advantages() bool
	// Unit is what betas are counted in.
	Unit() Unit
	// InTurn says whether an engine's requests ask in a place that they share, where answers depend by rounding on
	// what was asked before: they ask in turn, see [engine.Session.InTurn].
	InTurn() bool
	// NeedsPrompt says whether the policy's states of the prompt are wanted.
	NeedsPrompt() bool
	// Open begins with a request whose prompt has been decoded.
	Open(Request) (Valuer, error)
}

// Unit is how far a source's values move along a response of the base policy: the root of the mean
// over responses of the sum of squares of their steps, in units of the reward. A policy that is
// tilted with a beta of b such units is about b^2/2 nats a response from the base policy, whatever
// the reward and the length: of weight exp(beta V), the KL of a step is beta^2/2 times the variance
// of V there, to second order. 0 where it is not known: there betas are in units of the reward.
type Unit struct {
	Value     float64 // of the values
	Advantage float64 // of what tokens add to them
}

// Request is the request that a valuer works on.
type Request struct {
	Engine    *engine.Engine // that decodes the policy
	Prompt    []int32
	States    *states.Prompt // with the policy's states of the prompt, where they are wanted
	MaxTokens int            // of the response
	// Stopped is the number of bytes from the first stop string on that ends beyond byte seen of a
	// text, 0 where none does.
	Stopped func(text []byte, seen int) int
}

// Valuer is a source at work on one request.
type Valuer interface {
	// ReadsStates says whether the state after a token is wanted, the last one's too.
	ReadsStates() bool
	// Begin returns the memory of an empty response.
	Begin() (Memory, error)
	Fork(Memory) Memory
	Drop(Memory)
	// Push tells of a token that each candidate was fed; its row is there.
	Push(cs []*Candidate) error
	// Value writes V of each candidate's state to out.
	Value(ctx context.Context, cs []*Candidate, out []float32) error
	Close()
}

// Scorer is a valuer that can value tokens before they are fed.
type Scorer interface {
	Valuer
	// Score writes V(s, a) for each token a to out; the candidate's row is there.
	Score(ctx context.Context, c *Candidate, tokens []int32, out []float32) error
}

// Tilter is a valuer that knows what each token of the vocabulary would add to the value.
type Tilter interface {
	Valuer
	// Advantages returns a of which slope a(x, y) is what every token y adds to the value after the
	// candidate's state, [vocabulary], in units of the value. They are valid until the next call; a slice
	// that is returned again is finite as before.
	Advantages(c *Candidate) (a []float32, slope float64, err error)
}

// Memory is what a source knows of one candidate.
type Memory any

// Candidate is a response that grows, as far as its value depends on it. Strategies keep it up
// to date; sources change the memory alone.
type Candidate struct {
	Last   *Step // nil of an empty response
	Length int   // in tokens
	Text   []byte
	Cut    int          // bytes at the text's end that are no part of the answer: a stop string
	Reader think.Reader // that tells thoughts, which are no part of Text, from the answer; of models that think
	Row    *llama.Row   // after the last token that was fed; valid in Push and Score
	Memory Memory
}

// Step is a token of a response. Candidates that were forked share the steps up to the fork.
type Step struct {
	Parent  *Step
	Token   int32
	Scalars [NumScalars]float32 // see [Scalars]
}

// Tokens are the response's tokens so far.
func (c *Candidate) Tokens() []int32 {
	out := make([]int32, c.Length)
	for s, i := c.Last, c.Length-1; s != nil; s, i = s.Parent, i-1 {
		out[i] = s.Token
	}
	return out
}

var nan = float32(math.NaN())
