package decode

import (
	"cmp"
	"math"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

const hintAhead = "train the head anew, naming {model}, or with {one_pass}"

// checkGuidance finds what the strategy's proposal and its reward lack; rerank says whether there is one.
func (s Strategy) checkGuidance(op string, source value.Source, rerank bool) error {
	const hintSearch = "leave {rerank} and {rollouts} out, or choose a {method} that they belong to"
	switch {
	case rerank && !s.searches():
		return fault.New(op, "rerank", nil, hintSearch, "%s leaves a reward nothing to choose from", s.Method)
	case s.Rollouts.N > 0 && (!s.searches() || s.Method == MethodBestOfN):
		return fault.New(op, "rollouts", nil, hintSearch, "%s has no blocks for rollouts to value", s.Method)
	case s.Rollouts.N > 0 && !rerank:
		return fault.New(op, "rerank", nil, "name a reward as {rerank}", "rollouts are scored by a reward, and there is none")
	case s.Proposal == 0:
		return s.Rollouts.check(op)
	case math.IsNaN(s.Proposal) || math.IsInf(s.Proposal, 0):
		return fault.New(op, "proposal_beta", nil, "set {proposal_beta} to a finite number: 0 is the base policy", "a proposal of beta %v", s.Proposal)
	case s.Tokenwise():
		return fault.New(op, "proposal", nil, "leave {proposal} out, or choose a {method} that draws whole samples or blocks", "%s weighs the base policy's own tokens and draws from no proposal", s.Method)
	case source == nil || !source.Advantages():
		return fault.New(op, "value_head", nil, "train the head anew, naming {model}, or leave {proposal} out", "a proposal needs a head that knows what each token adds to the value")
	}
	return s.Rollouts.check(op)
}

// UsesBeta says whether an answer by the strategy depends on a beta.
func (s Strategy) UsesBeta() bool { return s.Proposal != 0 || s.Tokenwise() }

// Beta is the one that SetBeta sets.
func (s Strategy) Beta() float64 { return cmp.Or(s.Proposal, s.Guide.Beta) }

// SetBeta sets the beta of the proposal, where the strategy has one, or that of its guidance.
func (s *Strategy) SetBeta(beta float64) {
	if s.Proposal != 0 {
		s.Proposal = beta
	} else {
		s.Guide.Beta = beta
	}
}

// inReward is the strategy with betas in units of the reward.
func (s Strategy) inReward(source value.Source) Strategy {
	if s.RawBeta || source == nil {
		return s
	}
	s.RawBeta = true
	u := source.Unit()
	of := u.Value
	if s.Method == MethodOnePass && source.Advantages() {
		of = u.Advantage
	}
	if of > 0 {
		s.Guide.Beta /= of
	}
	if u.Advantage > 0 {
		s.Proposal /= u.Advantage
	}
	return s
}

// tilt makes d.sampler, which is the base policy at the candidate's state, the proposal.
func (d *decoder) tilt(c *candidate) error {
	if d.proposal == 0 || !d.guided(c) {
		return nil
	}
	a, slope, err := d.values.(value.Tilter).Advantages(&c.Candidate)
	if err != nil {
		return err
	}
	if err := d.checkAdvantages(a); err != nil {
		return err
	}
	d.sampler.Tilt(a, d.proposal*slope)
	return nil
}

// checkAdvantages finds a table that is none, unless it is the one that was checked last.
func (d *decoder) checkAdvantages(a []float32) error {
	if len(a) > 0 && len(d.advantages) == len(a) && &d.advantages[0] == &a[0] {
		return nil
	}
	const hint = "train a head with this model"
	if n := d.s.Model().Info().Vocab; len(a) != n {
		return fault.New("decode", "value_head", n, hint, "the value function knows what %d tokens add, the vocabulary has %d", len(a), n)
	}
	for token, x := range a {
		if x-x != 0 { // not finite
			return fault.New("decode", "value_head", nil, hint, "token %d adds %v to the value", token, x)
		}
	}
	d.advantages = a
	return nil
}
