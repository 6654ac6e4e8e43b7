package decode

import (
	"fmt"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// Method names a strategy, as --method does.
type Method string

const (
	MethodSample        Method = "sample"
	MethodBestOfN       Method = "best-of-n"
	MethodTokenwise     Method = "tokenwise"       // guided sampling, Eq. 5
	MethodGreedy        Method = "greedy"          // the best of the guided tokens, ARGS
	MethodBlockSampling Method = "block-sampling"  // guided at every b-th token, Eq. 14
	MethodOnePass       Method = "one-pass"        // guided sampling by what a head says of tokens before they are decoded
	MethodBlockBestOfK  Method = "block-best-of-k" // one beam
	MethodBlockBeam     Method = "block-beam"
)

// Methods lists all strategies.
var Methods = []Method{
	MethodSample, MethodBestOfN, MethodTokenwise, MethodGreedy, MethodBlockSampling, MethodOnePass, MethodBlockBestOfK, MethodBlockBeam,
}

// Strategy is a method with its options.
//
// One-pass has two forms. Where the value function knows what each token of the vocabulary adds
// ([value.Tilter]), it is sampling from the base policy tilted by that, with Guide.Beta: over all
// tokens that the base policy may draw, one decode a token. Where it values tokens one by one
// ([value.Scorer]), it is tokenwise guidance of the k likeliest.
type Strategy struct {
	Method Method
	N      int   // samples of best-of-n, blocks of block-best-of-k
	Beam   Beam  // of the block methods: Block is that of block-sampling too
	Guide  Guide // of the tokenwise methods: TopK, Beta and Rest; the method sets the others
	// RawBeta says that betas are in units of the reward, as papers have them. Otherwise they are in
	// those of the value function: see [value.Unit].
	RawBeta bool
	// Proposal is the beta by which sample, best-of-n, block-best-of-k and
	// block-beam draw from
	//
	//	q(y) ~ pi_base(y) exp(beta V'(s) a(x, y))
	//
	// instead of the base policy, a being the advantages of the value function's [value.Tilter] and V'
	// their slope: where a reward has ends, what is good enough is tilted no further. 0 for the base policy.
	Proposal float64 `json:",omitempty"`
	// Rollouts value the candidates of block-best-of-k and block-beam by the reward.
	Rollouts Rollouts `json:",omitzero"`
}

// NeedsValue says whether the strategy is guided by a value function, or by a reward in its place.
func (s Strategy) NeedsValue() bool { return s.Method != MethodSample || s.Proposal != 0 }

// needsValue says whether it needs a value function, where there is a reward or not.
func (s Strategy) needsValue(rerank bool) bool {
	if rerank && s.Proposal == 0 && (s.Method == MethodBestOfN || s.searches() && s.Rollouts.N > 0) {
		return false
	}
	return s.NeedsValue()
}

// searches says whether the strategy draws samples or blocks and chooses among them.
func (s Strategy) searches() bool {
	return s.Method == MethodBestOfN || s.Method == MethodBlockBestOfK || s.Method == MethodBlockBeam
}

// Tokenwise says whether the strategy guides single tokens.
func (s Strategy) Tokenwise() bool {
	switch s.Method {
	case MethodTokenwise, MethodGreedy, MethodBlockSampling, MethodOnePass:
		return true
	}
	return false
}

// Sequences is the number of sequences that one request holds at once.
func (s Strategy) Sequences() int {
	switch s.Method {
	case MethodBestOfN:
		return s.N
	case MethodBlockBestOfK, MethodBlockBeam:
		n := s.candidates()
		return n + s.Rollouts.sequences(n)
	case MethodTokenwise, MethodGreedy, MethodBlockSampling:
		if !s.Guide.Ahead { // each candidate in a fork, beside the sequence itself
			return s.Guide.TopK + 1
		}
	}
	return 1
}

// candidates is the number of those of a block.
func (s Strategy) candidates() int {
	beams, samples := s.width()
	return beams * samples
}

// Cells is the number of KV cells that one request fills at most: tokens of all its
// sequences, those of shared prefixes once.
func (s Strategy) Cells(prompt, maxTokens int) int {
	switch s.Method {
	case MethodBestOfN:
		return prompt + s.N*maxTokens
	case MethodBlockBeam, MethodBlockBestOfK:
		// The kept beams may differ from their first token on; the candidates add a block each.
		beams, _ := s.width()
		return prompt + beams*maxTokens + s.candidates()*min(s.Beam.Block, maxTokens) + s.Rollouts.cells(s.candidates(), maxTokens)
	}
	return prompt + maxTokens + s.Sequences() - 1
}

// Job makes the job that answers the request by the strategy.
func (s Strategy) Job(e *engine.Engine, req Request, done func(Response)) (engine.Job, error) {
	s = s.inReward(req.Value)
	g := s.Guide
	g.Every = 1
	if err := s.checkGuidance("decode", req.Value, req.Rerank != nil); err != nil {
		return engine.Job{}, err
	}
	switch s.Method {
	case MethodSample:
		return s.Sample(e, req, 1, func(rs []Response) { done(rs[0]) })
	case MethodBestOfN:
		return s.bestOfN(e, req, done)
	case MethodTokenwise:
		return Tokenwise(e, req, g, done)
	case MethodGreedy:
		g.Greedy, g.Rest = true, RestNone
		return Tokenwise(e, req, g, done)
	case MethodBlockSampling:
		g.Every = s.Beam.Block
		return Tokenwise(e, req, g, done)
	case MethodOnePass:
		if req.Value != nil && req.Value.Advantages() {
			if err := g.check(); err != nil {
				return engine.Job{}, err
			}
			s.Proposal = g.Beta // a raw one by now
			return s.Sample(e, req, 1, func(rs []Response) { done(rs[0]) })
		}
		g.Ahead = true
		return Tokenwise(e, req, g, done)
	case MethodBlockBestOfK, MethodBlockBeam:
		return s.search(e, req, done)
	}
	return engine.Job{}, fault.New("decode", "method", Methods, fmt.Sprintf("set {method} to one of %v", Methods), "unknown method %q", s.Method)
}

// check finds what is wrong with a request to the strategy before any work is done.
func (s Strategy) check(e *engine.Engine, req Request, needValue bool) error {
	if err := req.check(e, needValue); err != nil {
		return err
	}
	if err := req.checkThoughts(s); err != nil {
		return err
	}
	switch s.Method {
	case MethodBestOfN:
		if s.N < 1 {
			return fault.New("decode", "samples", nil, "set {samples} to 1 or more", "%d samples", s.N)
		}
	case MethodBlockBestOfK:
		if s.N < 1 || s.Beam.Block < 1 {
			return fault.New("decode", "samples", nil, "set {samples} and {block} to positive numbers", "the best of %d blocks of %d tokens", s.N, s.Beam.Block)
		}
	case MethodBlockBeam:
		if s.Beam.Beams < 1 || s.Beam.Block < 1 {
			return fault.New("decode", "beams", nil, "set {beams} and {block} to positive numbers", "%d beams, blocks of %d tokens", s.Beam.Beams, s.Beam.Block)
		}
	case MethodTokenwise:
		if err := s.Guide.check(); err != nil { // typed: nil as an error is not nil
			return err
		}
		if s.Guide.Ahead && !req.Value.Ahead() {
			return fault.New("decode", "value_head", nil, hintAhead, "%s needs a head that values tokens before they are decoded", MethodOnePass)
		}
	}
	p := e.Params()
	switch n, cells := s.Sequences(), s.Cells(len(req.Prompt), req.MaxTokens); {
	case (needValue || req.Rerank != nil) && (n > 1 || s.Guide.Ahead || s.Proposal != 0) && req.Sampling.Temp == 0:
		return fault.New("decode", "temp", nil, "raise {temp}", "at temperature 0 the base policy leaves nothing to choose from")
	case n > p.Sequences:
		return fault.New("decode", "parallel", p.Sequences, "lower {samples}, {beams}, {candidates} or {rollouts}, or raise {parallel}", "%s needs %d sequences, the context has %d", s.Method, n, p.Sequences)
	case n > p.Batch:
		return fault.New("decode", "batch", p.Batch, "lower {samples}, {beams}, {candidates} or {rollouts}, or raise {batch}", "%s decodes %d tokens at once, a batch holds %d", s.Method, n, p.Batch)
	case cells > p.Ctx:
		return fault.New("decode", "ctx", p.Ctx, "raise {ctx}, lower {max_tokens}, {samples} or {beams}, or shorten the prompt", "the prompt has %d tokens; with all candidates of up to %d tokens it takes %d of context, there are %d", len(req.Prompt), req.MaxTokens, cells, p.Ctx)
	}
	if req.Reference != nil && req.Value != nil {
		return fault.New("decode", "value_head", nil, "leave the value function out", "the KL from another base policy is known of plain sampling only")
	}
	return nil
}
