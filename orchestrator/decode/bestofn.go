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

// MaxDivergence bounds, in nats, the max-divergence of the strategy's responses P of so many tokens from the policy q that their
// tokens are drawn from,
//
//	D_inf(P || q) = max_y log P(y)/q(y),
//
// which is log n of best-of-n, m log k of m blocks of which one of k is taken each, (m+1) log B of B beams, and 0 where the strategy
// draws each token from q. Where responses are chosen among, as for the best of several, log P/q of what is taken may be all of it:
// [BestOfKL] bounds its mean over P alone.
func (s Strategy) MaxDivergence(tokens int) float64 {
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
