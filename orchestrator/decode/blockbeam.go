package decode

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// Beam are the options of blockwise search.
type Beam struct {
	Beams int `json:"beams" yaml:"beams"` // B, those that are kept
	Block int `json:"block" yaml:"block"` // b, in tokens
}

// BlockBeam is value-guided blockwise beam search (IVO, arXiv 2503.02368): each of B
// beams samples B blocks of b tokens from the base policy; the B^2 candidates are
// ranked by V at the end of their block and the best B stay. Finished candidates keep
// competing with their last value. The search ends when all B beams are finished, and
// the one of highest V is the response.
//
// Emit gets the text that all beams share. A response y of m blocks comes out with at most
// B^(m+1) times its probability under the base policy, for that is how often it is drawn on
// average; so the KL is at most (m+1) log B.
func BlockBeam(e *engine.Engine, req Request, b Beam, done func(Response)) (engine.Job, error) {
	s := Strategy{Method: MethodBlockBeam, Beam: b}
	return s.search(e, req, done)
}

// BlockBestOfK samples k blocks of b tokens from the base policy, keeps the one of highest
// value and goes on from there (blockwise controlled decoding, arXiv 2310.17022, section 3.2):
// block beam search with one beam. Its KL from the base policy is at most log k - (k-1)/k a
// block.
func BlockBestOfK(e *engine.Engine, req Request, k, block int, done func(Response)) (engine.Job, error) {
	s := Strategy{Method: MethodBlockBestOfK, N: k, Beam: Beam{Block: block}}
	return s.search(e, req, done)
}

func (s Strategy) search(e *engine.Engine, req Request, done func(Response)) (engine.Job, error) {
	if err := s.check(e, req, true); err != nil {
		return engine.Job{}, err
	}
	return job(req, s.Sequences(), s.Cells(len(req.Prompt), req.MaxTokens), func(d *decoder) error {
		beams, samples := s.width()
		r, err := d.blockBeam(beams, samples, s.Beam.Block)
		if err == nil {
			done(r)
		}
		return err
	}), nil
}

// width is the number of beams that are kept, and of the blocks that each samples.
func (s Strategy) width() (beams, samples int) {
	if s.Method == MethodBlockBestOfK {
		return 1, s.N
	}
	return s.Beam.Beams, s.Beam.Beams
}

func (d *decoder) blockBeam(beams, samples, block int) (Response, error) {
	root, err := d.start()
	if err != nil {
		return Response{}, err
	}
	kept := []*candidate{root}
	emitted, blocks := 0, 0
	for ; slices.ContainsFunc(kept, growing); blocks++ {
		copies := samples
		if blocks == 0 {
			copies *= beams
		}
		pool, err := d.expand(kept, copies)
		if err != nil {
			return Response{}, err
		}
		if err := d.sampleBlock(pool, block, blocks); err != nil {
			return Response{}, err
		}
		kept = d.prune(pool, beams)
		emitted += d.emitShared(kept, emitted)
	}
	r := d.response(kept[0], d.s.Decoded())
	if beams == 1 {
		r.KL = float64(blocks) * bestOfKL(samples)
	} else {
		r.KL = math.Log(float64(beams*samples)) + float64(blocks-1)*math.Log(float64(samples))
	}
	r.KLKind = KLBound
	if d.req.Emit != nil {
		d.req.Emit([]byte(r.Text[emitted:]))
	}
	return r, nil
}

// expand turns the beams into the pool of the next block: copies of every beam that
// grows, and the finished ones as they are.
func (d *decoder) expand(beams []*candidate, copies int) ([]*candidate, error) {
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
				d.look(c)
				d.take(c, d.base.draw(rngs[i]))
				active = append(active, c)
			}
		}
		if err := d.advance(active); err != nil {
			return err
		}
		for _, c := range active {
			if !growing(c) {
				d.dropSeq(c)
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
	if d.req.Emit == nil || end <= emitted {
		return 0
	}
	d.req.Emit(shared[emitted:end])
	return end - emitted
}
