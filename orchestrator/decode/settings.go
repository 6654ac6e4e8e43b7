package decode

import (
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// Check finds what is wrong with the settings before there is a model, room being the most
// sequences that there may be at once.
func (s Strategy) Check(room int) error {
	switch {
	case !slices.Contains(Methods, s.Method):
		return fault.New("", "method", Methods, fmt.Sprintf("set {method} to one of %v", Methods), "there is no method %q", s.Method)
	case s.N < 1 || s.Beam.Beams < 1 || s.Beam.Block < 1:
		return fault.New("", "samples", nil, "set {samples}, {beams} and {block} to 1 or more", "%d samples, %d beams, blocks of %d tokens", s.N, s.Beam.Beams, s.Beam.Block)
	}
	g := s.Guide
	g.Every = 1
	if err := g.check(); err != nil {
		err.Op = ""
		return err
	}
	const hint = "lower {samples}, {beams}, {candidates} or {rollouts}; beams count squared"
	if err := s.Rollouts.check(""); err != nil {
		return err
	}
	n := s.Sequences()
	switch {
	case s.Rollouts.N > room:
		return fault.New("", "rollouts", room, "lower {rollouts}", "%d rollouts of a candidate, there is room for %d sequences", s.Rollouts.N, room)
	case n < 1 || s.Method == MethodBlockBeam && s.Beam.Beams > room: // n may have overflowed
		return fault.New("", "beams", room, hint, "%s would need more sequences at once than the %d there is room for", s.Method, room)
	case n > room:
		return fault.New("", "beams", room, hint, "%s would need %d sequences at once, there is room for %d", s.Method, n, room)
	}
	return nil
}

// Blockwise says whether the strategy goes block by block.
func (s Strategy) Blockwise() bool {
	return s.Method == MethodBlockSampling || s.Method == MethodBlockBestOfK || s.Method == MethodBlockBeam
}

// CheckGuidance finds what the strategy lacks to be guided, before there is a model; source is nil
// without a value function, and rerank says whether there is a reward ([Request.Rerank]).
func (s Strategy) CheckGuidance(sampling policy.Sampling, source value.Source, rerank bool) error {
	switch {
	case !s.NeedsValue():
		return s.checkGuidance("", source, rerank)
	case source == nil && s.needsValue(rerank):
		return fault.New("", "value_head", nil, "give one with {value_head}, or learn one with ivo iterate", "%s needs a value function", s.Method)
	case s.Method == MethodOnePass && !source.Ahead() && !source.Advantages():
		return fault.New("", "value_head", nil, hintAhead, "%s needs a head that values tokens before they are decoded", MethodOnePass)
	case sampling.Temp == 0 && (s.Sequences() > 1 || s.Guide.Ahead || s.Method == MethodOnePass || s.Proposal != 0):
		return fault.New("", "temp", nil, "raise {temp}", "at temperature 0 %s has nothing to choose from", s.Method)
	}
	return s.checkGuidance("", source, rerank)
}
