package decode

import (
	"fmt"

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
	MethodOnePass       Method = "one-pass"        // guided sampling by a head that values tokens before they are decoded
	MethodBlockBestOfK  Method = "block-best-of-k" // one beam
	MethodBlockBeam     Method = "block-beam"
)

// Methods lists all strategies.
var Methods = []Method{
	MethodSample, MethodBestOfN, MethodTokenwise, MethodGreedy, MethodBlockSampling, MethodOnePass, MethodBlockBestOfK, MethodBlockBeam,
}

// Strategy is a method with its options.
type Strategy struct {
	Method Method
	N      int   // samples of best-of-n, blocks of block-best-of-k
	Beam   Beam  // of the block methods: Block is that of block-sampling too
	Guide  Guide // of the tokenwise methods: TopK, Beta and Rest; the method sets the others
}

// NeedsValue says whether the strategy is guided by a value function.
func (s Strategy) NeedsValue() bool { return s.Method != MethodSample }

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
	case MethodBestOfN, MethodBlockBestOfK:
		return s.N
	case MethodTokenwise, MethodGreedy, MethodBlockSampling:
		if !s.Guide.Ahead { // each candidate in a fork, beside the sequence itself
			return s.Guide.TopK + 1
		}
	case MethodBlockBeam:
		return s.Beam.Beams * s.Beam.Beams
	}
	return 1
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
		return prompt + beams*maxTokens + s.Sequences()*min(s.Beam.Block, maxTokens)
	}
	return prompt + maxTokens + s.Sequences() - 1
}

// Job makes the job that answers the request by the strategy.
func (s Strategy) Job(e *engine.Engine, req Request, done func(Response)) (engine.Job, error) {
	g := s.Guide
	g.Every = 1
	switch s.Method {
	case MethodSample:
		return Sample(e, req, 1, func(rs []Response) { done(rs[0]) })
	case MethodBestOfN:
		return BestOfN(e, req, s.N, done)
	case MethodTokenwise:
		return Tokenwise(e, req, g, done)
	case MethodGreedy:
		g.Greedy, g.Rest = true, RestNone
		return Tokenwise(e, req, g, done)
	case MethodBlockSampling:
		g.Every = s.Beam.Block
		return Tokenwise(e, req, g, done)
	case MethodOnePass:
		g.Ahead = true
		return Tokenwise(e, req, g, done)
	case MethodBlockBestOfK:
		return BlockBestOfK(e, req, s.N, s.Beam.Block, done)
	case MethodBlockBeam:
		return BlockBeam(e, req, s.Beam, done)
	}
	return engine.Job{}, fmt.Errorf("unknown method %q (use one of %v)", s.Method, Methods)
}

// check finds what is wrong with a request to the strategy before any work is done.
func (s Strategy) check(e *engine.Engine, req Request, needValue bool) error {
	if err := req.check(e, needValue); err != nil {
		return err
	}
	switch s.Method {
	case MethodBestOfN:
		if s.N < 1 {
			return fmt.Errorf("%d samples (give --samples 1 or more)", s.N)
		}
	case MethodBlockBestOfK:
		if s.N < 1 || s.Beam.Block < 1 {
			return fmt.Errorf("the best of %d blocks of %d tokens (give --samples and --block positive numbers)", s.N, s.Beam.Block)
		}
	case MethodBlockBeam:
		if s.Beam.Beams < 1 || s.Beam.Block < 1 {
			return fmt.Errorf("%d beams, blocks of %d tokens (give --beams and --block positive numbers)", s.Beam.Beams, s.Beam.Block)
		}
	case MethodTokenwise:
		if err := s.Guide.check(); err != nil {
			return err
		}
		if s.Guide.Ahead && !req.Value.scores() {
			return fmt.Errorf("the one-pass method needs a head that values tokens before they are decoded (train one with ivo train --one-pass)")
		}
	}
	p := e.Params()
	switch n, cells := s.Sequences(), s.Cells(len(req.Prompt), req.MaxTokens); {
	case needValue && (n > 1 || s.Guide.Ahead) && req.Sampling.Temp == 0:
		return fmt.Errorf("at temperature 0 the base policy leaves nothing to choose from (raise --temp)")
	case n > p.Sequences:
		return fmt.Errorf("%s needs %d sequences, the context has %d (lower --samples, --beams or --candidates, or raise --parallel)", s.Method, n, p.Sequences)
	case n > p.Batch:
		return fmt.Errorf("%s decodes %d tokens at once, a batch holds %d (lower --samples, --beams or --candidates, or raise -b)", s.Method, n, p.Batch)
	case cells > p.Ctx:
		return fmt.Errorf("the prompt has %d tokens; with all candidates of up to %d tokens it takes %d of context, there are %d (raise -c, lower -n or the number of candidates, or shorten the prompt)", len(req.Prompt), req.MaxTokens, cells, p.Ctx)
	}
	if req.Reference > 0 && req.Value != nil {
		return fmt.Errorf("the KL from another temperature is known of plain sampling only (leave the value function out)")
	}
	return nil
}
