package decode

import (
	"fmt"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// Method names a strategy, as --method does.
type Method string

const (
	MethodSample    Method = "sample"
	MethodBestOfN   Method = "best-of-n"
	MethodBlockBeam Method = "block-beam"
)

// Methods lists all strategies.
var Methods = []Method{MethodSample, MethodBestOfN, MethodBlockBeam}

// Strategy is a method with its options.
type Strategy struct {
	Method Method
	N      int // samples of best-of-n
	Beam   Beam
}

// NeedsHead says whether the strategy is guided by a value function.
func (s Strategy) NeedsHead() bool { return s.Method != MethodSample }

// Sequences is the number of sequences that one request holds at once.
func (s Strategy) Sequences() int {
	switch s.Method {
	case MethodBestOfN:
		return s.N
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
	case MethodBlockBeam:
		// The kept beams may differ from their first token on; the candidates add a block each.
		return prompt + s.Beam.Beams*maxTokens + s.Sequences()*min(s.Beam.Block, maxTokens)
	}
	return prompt + maxTokens
}

// Job makes the job that answers the request by the strategy.
func (s Strategy) Job(e *engine.Engine, req Request, done func(Response)) (engine.Job, error) {
	switch s.Method {
	case MethodSample:
		return Sample(e, req, 1, func(rs []Response) { done(rs[0]) })
	case MethodBestOfN:
		return BestOfN(e, req, s.N, done)
	case MethodBlockBeam:
		return BlockBeam(e, req, s.Beam, done)
	}
	return engine.Job{}, fmt.Errorf("unknown method %q (use one of %v)", s.Method, Methods)
}
