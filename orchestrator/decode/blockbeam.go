package decode

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// Beam are the options of blockwise beam search.
type Beam struct {
	Beams int `json:"beams" yaml:"beams"` // B
	Block int `json:"block" yaml:"block"` // b, in tokens
}

// BlockBeam is value-guided blockwise beam search (IVO, arXiv 2503.02368): each of B
// beams samples B blocks of b tokens from the base policy; the B^2 candidates are
// ranked by V at the end of their block and the best B stay. Finished candidates keep
// competing with their last value. The search ends when all B beams are finished, and
// the one of highest V is the response.
//
// Emit gets the text that all beams share.
func BlockBeam(e *engine.Engine, req Request, b Beam, done func(Response)) (engine.Job, error) {
	if err := req.check(e, true); err != nil {
		return engine.Job{}, err
	}
	switch {
	case b.Beams < 1 || b.Block < 1:
		return engine.Job{}, fmt.Errorf("%d beams, blocks of %d tokens (give --beams and --block positive numbers)", b.Beams, b.Block)
	case b.Beams*b.Beams > e.Params().Sequences:
		return engine.Job{}, fmt.Errorf("%d beams need %d sequences, the context has %d (lower --beams)", b.Beams, b.Beams*b.Beams, e.Params().Sequences)
	}
	return engine.Job{
		Sequences: b.Beams * b.Beams,
		Cells:     Strategy{Method: MethodBlockBeam, Beam: b}.Cells(len(req.Prompt), req.MaxTokens),
		Run: func(s *engine.Session) error {
			d := newDecoder(s, req)
			r, err := d.blockBeam(b)
			if err != nil {
				return err
			}
			done(r)
			return nil
		},
	}, nil
}

func (d *decoder) blockBeam(b Beam) (Response, error) {
	root, err := d.start()
	if err != nil {
		return Response{}, err
	}
	beams := []*candidate{root}
	emitted := 0
	for block := 0; ; block++ {
		pool, err := d.expand(beams, b.Beams)
		if err != nil {
			return Response{}, err
		}
		if err := d.sampleBlock(pool, b.Block, block); err != nil {
			return Response{}, err
		}
		beams = d.prune(pool, b.Beams)
		if d.req.Emit != nil {
			emitted += d.emitShared(beams, emitted)
		}
		if !slices.ContainsFunc(beams, growing) {
			break
		}
	}
	r := d.response(beams[0], d.s.Decoded())
	if d.req.Emit != nil {
		d.req.Emit([]byte(r.Text[emitted:]))
	}
	return r, nil
}

func growing(c *candidate) bool { return c.finish == "" }

// expand turns the beams into the pool of the next block: B copies of every beam that
// grows (B^2 of the root), and the finished ones as they are.
func (d *decoder) expand(beams []*candidate, width int) ([]*candidate, error) {
	copies := width
	if len(beams) == 1 && beams[0].length == 0 {
		copies = width * width
	}
	var pool []*candidate
	for _, c := range beams {
		pool = append(pool, c)
		if !growing(c) {
			continue
		}
		for range copies - 1 {
			f, err := d.fork(c)
			if err != nil {
				return nil, err
			}
			pool = append(pool, f)
		}
	}
	return pool, nil
}

// sampleBlock extends every candidate that grows by up to size tokens and values it at
// the block's end.
func (d *decoder) sampleBlock(pool []*candidate, size, block int) error {
	rngs := make([]*rand.Rand, len(pool))
	for i := range rngs {
		rngs[i] = stream(d.req.Key, uint64(block), uint64(i))
	}
	var fresh, active []*candidate
	for _, c := range pool {
		if growing(c) {
			fresh = append(fresh, c)
		}
	}
	for range size {
		active = active[:0]
		for i, c := range pool {
			if growing(c) {
				d.choose(c, func(row *llama.Row, recent []int32) int32 { return d.sampler.Draw(row, recent, rngs[i]) })
				active = append(active, c)
			}
		}
		if err := d.advance(active); err != nil {
			return err
		}
		for _, c := range active {
			if !growing(c) {
				d.s.Drop(c.seq)
				c.seq = nil
			}
		}
	}
	return d.value(fresh)
}

// prune keeps the candidates of highest value, best first; equal values keep the
// order of the pool.
func (d *decoder) prune(pool []*candidate, width int) []*candidate {
	slices.SortStableFunc(pool, func(a, b *candidate) int {
		switch {
		case a.value > b.value:
			return -1
		case a.value < b.value:
			return 1
		}
		return 0
	})
	n := min(width, len(pool))
	for _, c := range pool[n:] {
		d.drop(c)
	}
	return pool[:n]
}

// emitShared hands out the text that all beams have in common beyond byte emitted.
func (d *decoder) emitShared(beams []*candidate, emitted int) int {
	shared := beams[0].text[:len(beams[0].text)-beams[0].cut]
	for _, c := range beams {
		text := c.text[:len(c.text)-c.cut]
		n := 0
		for n < len(shared) && n < len(text) && shared[n] == text[n] {
			n++
		}
		shared = shared[:n]
	}
	// A shared tail could still turn out to be the start of a stop string.
	end := len(shared)
	for _, stop := range d.stop {
		end = min(end, len(shared)-len(stop)+1)
	}
	if end <= emitted {
		return 0
	}
	d.req.Emit(shared[emitted:end])
	return end - emitted
}
