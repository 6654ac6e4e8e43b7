package decode

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/think"
)

// Thoughts say what is done with the thoughts of a model that thinks before it answers.
type Thoughts struct {
	// Budget is, where Limited is set, the most tokens of thought, all thoughts of a response together. Where it is
	// spent, the tokens that end a thought are decoded, as if the base policy knew nothing else: they have
	// probability 1 under it, and add nothing to the KL.
	Limited bool `json:"limited,omitempty" yaml:"limited,omitempty"`
	Budget  int  `json:"budget,omitempty" yaml:"budget,omitempty"`
	// Guided is the part of a response that the strategy guides. Around it is plain sampling: block-beam, block-best-of-k and
	// best-of-n search among thoughts and let the best of them be answered, or among answers to one thought. A
	// thought's search ends where the thought does.
	Guided Guided `json:"guided,omitempty" yaml:"guided,omitempty"`
}

// Guided is a part of a response.
type Guided string

const (
	GuidedAll      Guided = "" // thoughts and answer
	GuidedThinking Guided = "thinking"
	GuidedAnswer   Guided = "answer"
)

func (r *Request) checkThoughts(s Strategy) error {
	return r.Thoughts.Check(s, r.Thinks != nil, r.Rerank != nil)
}

// Check finds what of the thoughts a strategy cannot do; marked says whether the model marks its own, and rerank whether
// there is a reward ([Request.Rerank]).
func (t Thoughts) Check(s Strategy, marked, rerank bool) error {
	switch {
	case t.Budget < 0:
		return fault.New("decode", "reasoning_budget", nil, "set {reasoning_budget} to 0 or more, or leave it out", "a budget of %d tokens", t.Budget)
	case t.Guided == GuidedAll:
	case t.Guided != GuidedThinking && t.Guided != GuidedAnswer:
		return fault.New("decode", "guide", nil, fmt.Sprintf("set {guide} to %s or %s, or leave it out", GuidedThinking, GuidedAnswer), "there is no part %q of a response", t.Guided)
	case !marked:
		return fault.New("decode", "guide", nil, "leave {guide} out, or give the {template} of a model that does", "guidance of the %s: the model marks no thoughts, by its chat template or its vocabulary", t.Guided)
	case t.Guided == GuidedThinking && rerank && s.Rollouts.N == 0:
		return fault.New("decode", "rerank", nil, "set {rollouts}, or leave {guide} or {rerank} out", "a reward scores answers, and the search is among thoughts")
	}
	return nil
}

// thinking says whether the candidate is within a thought, or between that and its answer.
func (c *candidate) thinking() bool {
	return c.Reader.Part() == think.Thinking || c.Reader.Part() == think.Between
}

// guided says whether the strategy guides the candidate's next token.
func (d *decoder) guided(c *candidate) bool {
	if _, forced := d.forced(c); forced {
		return false
	}
	switch d.req.Thoughts.Guided {
	case GuidedThinking:
		return c.Reader.Part() == think.Thinking
	case GuidedAnswer:
		return c.Reader.Part() == think.Answer
	}
	return true
}

// forced is the token that the candidate has to go on with, where it has thought enough.
func (d *decoder) forced(c *candidate) (token int32, ok bool) {
	if !d.req.Thoughts.Limited || d.req.Thinks == nil {
		return 0, false
	}
	if c.closing == 0 && (c.Reader.Part() != think.Thinking || c.Reader.Thought() < d.req.Thoughts.Budget) {
		return 0, false
	}
	return d.req.Thinks.Close()[c.closing], true
}

// draw is the candidate's next token, drawn from the proposal that d.sampler is set to; or the one that is forced.
func (d *decoder) draw(c *candidate, rng *rand.Rand) int32 {
	if token, ok := d.forced(c); ok {
		return token
	}
	return d.sampler.Draw(rng)
}

// force notes that a token was forced: no policy had a choice.
func (d *decoder) force(c *candidate, n *node) {
	n.base, n.guided, n.from, n.kl = 0, 0, 0, 0
	c.closing = (c.closing + 1) % len(d.req.Thinks.Close())
}

// hear adds what a token said to the candidate's texts.
func (c *candidate) hear(thought, answer []byte) {
	c.thought, c.Text = append(c.thought, thought...), append(c.Text, answer...)
}

// thinkingText is the candidate's thought without the space at its end.
func (c *candidate) thinkingText() []byte { return bytes.TrimRight(c.thought, " \t\r\n") }

// alone lets a candidate grow by plain sampling until the condition holds.
func (d *decoder) alone(c *candidate, stream uint64, until func(*candidate) bool) error {
	rng := policy.Stream(d.req.Key, math.MaxUint64, stream)
	for growing(c) && !until(c) {
		if err := d.look(c); err != nil {
			return err
		}
		d.take(c, d.draw(c, rng))
		if err := d.advance([]*candidate{c}); err != nil {
			return err
		}
		d.emit(c)
	}
	return nil
}

// rest lets a candidate wait that has left the part which is searched.
func (d *decoder) rest(c *candidate) {
	if growing(c) && d.req.Thoughts.Guided == GuidedThinking && c.Reader.Part() != think.Thinking {
		c.rests, c.row = true, keepRow(c.Row)
	}
}

// searching says whether the candidate still grows by blocks.
func searching(c *candidate) bool { return growing(c) && !c.rests }

// keepRow copies what drawing from a row looks at.
func keepRow(r *llama.Row) *llama.Row {
	return &llama.Row{
		Logits: slices.Clone(r.Logits), LSE: r.LSE, Entropy: r.Entropy, LSET: r.LSET,
		Top: slices.Clone(r.Top), TopLogits: slices.Clone(r.TopLogits),
	}
}

// emit hands out what all the candidates' texts have in common beyond what was handed out before, but for the tail that
// could still turn out to be the start of a stop string.
func (d *decoder) emit(cs ...*candidate) {
	if d.req.EmitTokens != nil {
		d.emitTokens(cs)
	}
	if d.req.EmitThinking != nil {
		shared := common(cs, (*candidate).thinkingText)
		d.thought += handOut(d.req.EmitThinking, shared, d.thought)
	}
	if d.req.Emit != nil {
		shared := common(cs, func(c *candidate) []byte { return c.Text[:len(c.Text)-c.Cut] })
		if slices.ContainsFunc(cs, growing) {
			n := len(shared)
			for _, stop := range d.stop {
				shared = shared[:max(0, min(len(shared), n-len(stop)+1))]
			}
		}
		d.said += handOut(d.req.Emit, shared, d.said)
	}
}

func handOut(to func([]byte), text []byte, from int) int {
	if len(text) <= from {
		return 0
	}
	to(text[from:])
	return len(text) - from
}

// common is the text that the candidates' begin with.
func common(cs []*candidate, text func(*candidate) []byte) []byte {
	shared := text(cs[0])
	for _, c := range cs[1:] {
		t, n := text(c), 0
		for n < len(shared) && n < len(t) && shared[n] == t[n] {
			n++
		}
		shared = shared[:n]
	}
	return shared
}
