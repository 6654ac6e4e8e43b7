package decode

import (
	"math/rand/v2"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// Sample draws n responses to the request from the base policy,
// y_t ~ pi_base(. | x, y_<t). The prompt is decoded once; the responses draw from
// random streams of their own, so response i is the same whatever n is, up to rounding. done gets them
// in order.
func Sample(e *engine.Engine, req Request, n int, done func([]Response)) (engine.Job, error) {
	return Strategy{Method: MethodSample}.Sample(e, req, n, done)
}

// Sample draws n responses from the strategy's proposal, as the function does from the base policy.
func (s Strategy) Sample(e *engine.Engine, req Request, n int, done func([]Response)) (engine.Job, error) {
	s = s.inReward(req.Value)
	guided := s.Method == MethodOnePass || s.Proposal != 0
	s = Strategy{Method: MethodBestOfN, N: n, Proposal: s.Proposal, RawBeta: true} // which takes the same room
	if err := s.check(e, req, guided); err != nil {
		return engine.Job{}, err
	}
	if err := s.checkGuidance("decode", req.Value, req.Rerank != nil); err != nil {
		return engine.Job{}, err
	}
	return s.job(req, func(d *decoder) error {
		d.tokenwise = guided
		out, err := d.sample(n)
		if err == nil {
			done(out)
		}
		return err
	}), nil
}

func (d *decoder) sample(n int) ([]Response, error) {
	root, err := d.start()
	if err != nil {
		return nil, err
	}
	growing := []*candidate{root}
	for len(growing) < n {
		c, err := d.fork(root)
		if err != nil {
			return nil, err
		}
		growing = append(growing, c)
	}
	rngs, index := make([]*rand.Rand, n), make([]int, n)
	for i := range rngs {
		rngs[i], index[i] = policy.Stream(d.req.Key, uint64(i)), i
	}
	out := make([]Response, n)
	for len(growing) > 0 {
		for i, c := range growing {
			if err := d.look(c); err != nil {
				return nil, err
			}
			d.take(c, d.draw(c, rngs[index[i]]))
		}
		if err := d.advance(growing); err != nil {
			return nil, err
		}
		if n == 1 {
			d.emit(growing[0])
		}
		keep := 0
		for i, c := range growing {
			if c.finish == "" {
				growing[keep], index[keep] = c, index[i]
				keep++
				continue
			}
			if err := d.value([]*candidate{c}); err != nil {
				return nil, err
			}
			out[index[i]] = d.response(c, c.seq.Len()-len(d.req.Prompt))
			d.drop(c)
		}
		growing, index = growing[:keep], index[:keep]
	}
	return out, nil
}

// Follow decodes a given response instead of drawing one, so that its values and
// log-probabilities are known: those of a text that was written elsewhere. It ends at the first
// end-of-generation token.
func Follow(e *engine.Engine, req Request, response []int32, done func(Response)) (engine.Job, error) {
	if len(response) == 0 {
		return engine.Job{}, fault.New("decode", "", nil, "give a text of at least one token", "the response to follow is empty")
	}
	req.MaxTokens, req.Stop, req.EachValue, req.Thoughts = len(response), nil, true, Thoughts{}
	s := Strategy{Method: MethodSample}
	if err := s.check(e, req, false); err != nil {
		return engine.Job{}, err
	}
	vocab := int32(e.Model().Info().Vocab)
	for i, token := range response {
		if token < 0 || token >= vocab {
			return engine.Job{}, fault.New("decode", "", vocab, "tokenize it with this model", "token %d of the response is %d, the vocabulary has %d", i, token, vocab)
		}
	}
	return s.job(req, func(d *decoder) error {
		c, err := d.start()
		if err != nil {
			return err
		}
		for _, token := range response {
			if err := d.look(c); err != nil {
				return err
			}
			d.take(c, token)
			if err := d.advance([]*candidate{c}); err != nil {
				return err
			}
			if !growing(c) {
				break
			}
		}
		done(d.response(c, d.s.Decoded()))
		return nil
	}), nil
}
