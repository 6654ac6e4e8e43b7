package decode

import (
	"math"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// BestOfN draws n responses from the base policy and keeps the one whose last state
// has the highest value,
//
//	argmax_i V(x, y_i),  y_i ~ pi_base(. | x).
//
// Its KL from the base policy is at most log n - (n-1)/n (arXiv 2401.01879); with samples of a
// proposal q that is its KL from q, to which log q/pi_base of the response is added: see [BlockBeam].
// With [Request.Rerank] the reward takes the value's place.
func BestOfN(e *engine.Engine, req Request, n int, done func(Response)) (engine.Job, error) {
	return Strategy{Method: MethodBestOfN, N: n}.bestOfN(e, req, done)
}

func (s Strategy) bestOfN(e *engine.Engine, req Request, done func(Response)) (engine.Job, error) {
	if err := s.check(e, req, s.needsValue(req.Rerank != nil)); err != nil {
		return engine.Job{}, err
	}
	emit, emitThinking, emitTokens := req.Emit, req.EmitThinking, req.EmitTokens
	confined := req.Thoughts.Guided != GuidedAll
	if !confined {
		req.Emit, req.EmitThinking, req.EmitTokens = nil, nil, nil // which response wins is known at the end only
	}
	return s.job(req, func(d *decoder) error {
		if confined {
			one := s // block of all tokens
			one.Method, one.Beam.Block = MethodBlockBestOfK, req.MaxTokens
			r, err := d.blockBeam(one)
			if err == nil {
				done(r)
			}
			return err
		}
		rs, err := d.sample(s.N)
		if err != nil {
			return err
		}
		texts, values := make([]string, s.N), make([]float32, s.N)
		for i, r := range rs {
			texts[i], values[i] = r.Text, r.Value
		}
		best, err := d.choose(texts, values)
		if err != nil {
			return err
		}
		r := rs[best]
		r.Decoded, r.KL, r.KLKind, r.RewardCalls = d.s.Decoded(), BestOfKL(s.N)+r.Ratio, KLBound, d.rewardCalls
		if emitTokens != nil {
			emitTokens(r.Said())
		}
		if emitThinking != nil && r.Thinking != "" {
			emitThinking([]byte(r.Thinking))
		}
		if emit != nil {
			emit([]byte(r.Text))
		}
		done(r)
		return nil
	}), nil
}

// MostOften bounds, by its log, how many times as often the strategy gives a response of so many tokens as the policy does that it
// draws tokens from. It bounds how often whatever is made of such responses does, as the best of several: the mean that
// [BestOfKL] is holds of the strategy alone.
func (s Strategy) MostOften(tokens int) float64 {
	switch s.Method {
	case MethodBestOfN:
		return math.Log(float64(s.N))
	case MethodBlockBestOfK, MethodBlockBeam:
		beams, samples := s.width()
		return math.Log(float64(beams)) + s.Beam.blocks(tokens)*math.Log(float64(samples))
	}
	return 0
}

// BestOfKL bounds the KL from a policy of taking the best of n of its samples.
func BestOfKL(n int) float64 { return math.Log(float64(n)) - float64(n-1)/float64(n) }
