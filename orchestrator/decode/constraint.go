package decode

import (
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/think"
)

// constraint is what a request's sampling leaves of the vocabulary as a text grows.
type constraint struct {
	rules *llama.Rules // nil without a grammar
	ends  []int32      // tokens that end a response, where they may be ruled out
}

// checkConstraint finds what of the sampling this model cannot do.
func (r *Request) checkConstraint(m *llama.Model) error {
	for token := range r.Sampling.LogitBias {
		if n := m.Info().Vocab; int(token) >= n {
			return fault.New("decode", "logit_bias", n, "give ids of this model's tokens", "token %d has a bias, the vocabulary has %d", token, n)
		}
	}
	_, err := r.constraint(m)
	return err
}

func (r *Request) constraint(m *llama.Model) (c constraint, err error) {
	if text := r.Sampling.Grammar; text != "" {
		if c.rules, err = m.Rules(text); err != nil {
			return c, policy.GrammarError(err)
		}
	}
	if r.Sampling.IgnoreEOS || r.Sampling.MinTokens > 0 || c.rules != nil && r.Thinks != nil {
		for token := range int32(m.Info().Vocab) {
			if m.IsEOG(token) {
				c.ends = append(c.ends, token)
			}
		}
	}
	return c, nil
}

// constrain tells the sampler what may follow a candidate.
func (d *decoder) constrain(c *candidate) (err error) {
	d.sampler.Only, d.sampler.Never = nil, nil
	switch _, forced := d.forced(c); {
	case forced:
		return nil
	case d.rules == nil:
	case c.thinking(): // the grammar is of the answer, which has to come
		d.sampler.Never = d.ends
		return nil
	default:
		if d.sampler.Only, err = d.rules.Allowed(c.grammar); err != nil {
			return policy.GrammarError(err)
		}
		if d.mayThink(c) {
			d.sampler.Only = llama.NewTokenSet(d.s.Model().Info().Vocab, append(slices.Collect(d.sampler.Only.All()), d.req.Thinks.Opening())...)
		}
	}
	if s := d.req.Sampling; s.IgnoreEOS || c.Length < s.MinTokens {
		d.sampler.Never = d.ends
		if only := d.sampler.Only; only != nil && endsOnly(only, d.ends) {
			d.sampler.Never = nil
		}
	}
	return nil
}

// endsOnly says whether a set holds no tokens but some that end a response.
func endsOnly(set *llama.TokenSet, ends []int32) bool {
	n := 0
	for _, token := range ends {
		if set.Has(token) {
			n++
		}
	}
	return n == set.Len()
}

// checkPossible finds a state at which no token may come next.
func (d *decoder) checkPossible(c *candidate) error {
	if d.sampler.Possible() {
		return nil
	}
	if d.sampler.Only != nil && d.sampler.Only.Len() == 0 {
		return fault.New("decode", "grammar", nil, "mend {grammar}, or take a model that writes such texts", "no token of the vocabulary goes on as the grammar asks after %q", c.Text)
	}
	return fault.New("decode", "logit_bias", nil, "rule fewer tokens out", "the biases rule out all tokens that may come after %q", c.Text)
}

// mayThink says whether one token would open a thought before the answer.
func (d *decoder) mayThink(c *candidate) bool {
	return d.req.Thinks != nil && c.Reader.Part() == think.Before && d.req.Thinks.Opening() >= 0
}

// unruled says whether a token that comes next is none of the answer, and so none of the grammar's.
func (d *decoder) unruled(c *candidate, token int32) bool {
	_, forced := d.forced(c)
	return forced || c.thinking() || d.mayThink(c) && token == d.req.Thinks.Opening()
}

// follow takes the grammar on by a token of the answer.
func (d *decoder) follow(c *candidate, token int32) (err error) {
	if d.rules == nil || c.last.unruled {
		return nil
	}
	if c.grammar, err = d.rules.Next(c.grammar, token); err != nil {
		return policy.GrammarError(err)
	}
	return nil
}

// checkTop finds a number of likeliest tokens that rows do not have.
func (r *Request) checkTop(e *engine.Engine) error {
	if n := e.Params().Top; r.TopLogProbs < 0 || r.TopLogProbs > n {
		return fault.New("decode", "n_probs", n, "lower {n_probs}", "the %d likeliest tokens of each state, of which %d are known", r.TopLogProbs, n)
	}
	return nil
}
