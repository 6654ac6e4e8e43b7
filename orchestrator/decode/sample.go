package decode

import (
	"fmt"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// Sample draws n responses to the request from the base policy,
// y_t ~ pi_base(. | x, y_<t). The prompt is decoded once; the responses draw from
// random streams of their own, so response i is the same whatever n is, up to rounding. done gets them
// in order.
func Sample(e *engine.Engine, req Request, n int, done func([]Response)) (engine.Job, error) {
	if err := req.check(e, false); err != nil {
		return engine.Job{}, err
	}
	if n < 1 || n > e.Params().Sequences {
		return engine.Job{}, fmt.Errorf("%d samples, the context has %d sequences (give --samples 1 or more, or raise --parallel)", n, e.Params().Sequences)
	}
	return engine.Job{
		Sequences: n, Cells: Strategy{Method: MethodBestOfN, N: n}.Cells(len(req.Prompt), req.MaxTokens),
		Run: func(s *engine.Session) error {
			d := newDecoder(s, req)
			out, err := d.sample(n)
			if err != nil {
				return err
			}
			done(out)
			return nil
		},
	}, nil
}

func (d *decoder) sample(n int) ([]Response, error) {
	root, err := d.start()
	if err != nil {
		return nil, err
	}
	all := []*candidate{root}
	for len(all) < n {
		c, err := d.fork(root)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	draws := make([]func(*llama.Row, []int32) int32, n)
	for i := range draws {
		rng := stream(d.req.Key, uint64(i))
		draws[i] = func(row *llama.Row, recent []int32) int32 { return d.sampler.Draw(row, recent, rng) }
	}
	out := make([]Response, n)
	growing, index := all, make([]int, n)
	for i := range index {
		index[i] = i
	}
	emitted := 0
	for len(growing) > 0 {
		for i, c := range growing {
			d.choose(c, draws[index[i]])
		}
		if err := d.advance(growing); err != nil {
			return nil, err
		}
		if d.req.Emit != nil && n == 1 {
			emitted += d.emit(growing[0], emitted)
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
			out[index[i]] = d.response(c, c.length)
			d.drop(c)
		}
		growing, index = growing[:keep], index[:keep]
	}
	return out, nil
}

// emit hands out a candidate's text from byte emitted on, but for the tail that could
// still turn out to be the start of a stop string, and returns how much it was.
func (d *decoder) emit(c *candidate, emitted int) int {
	end := len(c.text) - c.cut
	if c.finish == "" {
		for _, stop := range d.stop {
			end = min(end, len(c.text)-len(stop)+1)
		}
	}
	if end <= emitted {
		return 0
	}
	d.req.Emit(c.text[emitted:end])
	return end - emitted
}
