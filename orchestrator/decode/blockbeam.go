package decode

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// Beam are the options of blockwise search.
type Beam struct {
	Beams int `json:"beams" yaml:"beams"` // B, those that are kept
	Block int `json:"block" yaml:"block"` // b, in tokens
}

// blocks is the number of blocks of so many tokens.
func (b Beam) blocks(tokens int) float64 { return math.Ceil(float64(tokens) / float64(b.Block)) }

// BlockBeam is value-guided blockwise beam search (IVO, arXiv 2503.02368): each of B
// beams samples B blocks of b tokens from the base policy; the B^2 candidates are
// ranked by V at the end of their block and the best B stay. Finished candidates keep
// competing with their last value. The search ends when all B beams are finished, and
// the one of highest V is the response.
//
// Samples that have drawn the same tokens so far are one sequence, decoded once until they
// differ: the answer is what it would be were each decoded by itself, and the likelier the base
// policy's favourite, the fewer tokens that takes.
//
// Emit gets the text that all beams share. A response y of m blocks comes out with at most
// B^(m+1) times its probability under the base policy, for that is how often it is drawn on
// average; so the KL is at most (m+1) log B. Where the blocks are drawn from a proposal q instead,
// that holds of q, and
//
//	KL(P || pi_base) = KL(P || q) + E_P[log q(y)/pi_base(y)],
//
// so that the bound plus log q/pi_base of the response's own tokens bounds it in the mean. It holds
// of any choice among finished candidates, and so of [Request.Rerank]'s, to which those that lost to others
// on the way come too.
func BlockBeam(e *engine.Engine, req Request, b Beam, done func(Response)) (engine.Job, error) {
	s := Strategy{Method: MethodBlockBeam, Beam: b}
	return s.search(e, req, done)
}

// BlockBestOfK samples k blocks of b tokens from the base policy, keeps the one of highest
// value and goes on from there (blockwise controlled decoding, arXiv 2310.17022, section 3.2):
// block beam search with one beam. Its KL from the base policy is at most log k - (k-1)/k a
// block, whatever chooses: no choice of one of k samples gives a set of blocks S more than
// 1 - (1-pi_base(S))^k, which the best of k gives to the best ones.
func BlockBestOfK(e *engine.Engine, req Request, k, block int, done func(Response)) (engine.Job, error) {
	s := Strategy{Method: MethodBlockBestOfK, N: k, Beam: Beam{Block: block}}
	return s.search(e, req, done)
}

func (s Strategy) search(e *engine.Engine, req Request, done func(Response)) (engine.Job, error) {
	if err := s.check(e, req, s.needsValue(req.Rerank != nil)); err != nil {
		return engine.Job{}, err
	}
	return s.job(req, func(d *decoder) error {
		r, err := d.blockBeam(s)
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

func (d *decoder) blockBeam(s Strategy) (Response, error) {
	beams, samples := s.width()
	block := s.Beam.Block
	root, err := d.start()
	if err != nil {
		return Response{}, err
	}
	if err := d.alone(root, 0, d.guided); err != nil {
		return Response{}, err
	}
	from := root.Length
	root.places = 1
	kept := []*candidate{root}
	var finished []*candidate // that the reward chooses from
	blocks := 0
	for ; slices.ContainsFunc(kept, searching); blocks++ {
		copies := samples
		if blocks == 0 {
			copies *= beams
		}
		branch(kept)
		d.expand(kept, copies, blocks)
		pool, err := d.sampleBlock(kept, block)
		if err != nil {
			return Response{}, err
		}
		if s.Rollouts.N > 0 {
			if err := d.rollout(pool, blocks, s.Rollouts); err != nil {
				return Response{}, err
			}
		}
		if d.req.Rerank != nil {
			for _, c := range pool {
				if !growing(c) && !slices.Contains(finished, c) {
					finished = append(finished, c)
				}
			}
		}
		all := slices.Clone(pool) // which pruning sorts
		kept = d.prune(pool, beams)
		d.branches(all, kept)
		if beams == 1 && growing(kept[0]) { // what was left behind comes back in no block
			finished = nil
		}
		d.emit(slices.Concat(kept, finished)...)
	}
	best := kept[0]
	if d.req.Rerank != nil && len(finished) > 0 && !best.rests {
		if best, err = d.chooseOf(finished); err != nil {
			return Response{}, err
		}
	}
	m := s.Beam.blocks(best.Length - from) // other beams may have gone on after it was finished
	if growing(best) {
		for _, c := range kept {
			if c != best {
				d.drop(c)
			}
		}
		if err := d.alone(best, 1, func(*candidate) bool { return false }); err != nil {
			return Response{}, err
		}
	}
	if err := d.value([]*candidate{best}); err != nil {
		return Response{}, err
	}
	r := d.response(best, d.s.Decoded())
	r.KLKind = KLBound
	switch {
	case m == 0: // there was nothing to search
	case beams == 1:
		r.KL = m * BestOfKL(samples)
	default:
		r.KL = math.Log(float64(beams)) + m*math.Log(float64(samples))
	}
	r.KL += r.Ratio
	d.emit(best)
	return r, nil
}

// chooseOf is the candidate of the highest reward.
func (d *decoder) chooseOf(finished []*candidate) (*candidate, error) {
	texts, values := make([]string, len(finished)), make([]float32, len(finished))
	for i, c := range finished {
		texts[i], values[i] = string(c.Text[:len(c.Text)-c.Cut]), c.value
	}
	best, err := d.choose(texts, values)
	if err != nil {
		return nil, err
	}
	return finished[best], nil
}

// expand gives every beam that grows the random streams of its samples of the next block,
// copies for each place that it holds. A sample's stream is keyed by its number in the block, in
// which a finished beam's places count too.
func (d *decoder) expand(beams []*candidate, copies, block int) {
	number := 0
	for _, c := range beams {
		c.streams = nil
		if !searching(c) {
			number += c.places
			continue
		}
		for range c.places * copies {
			c.streams = append(c.streams, policy.Stream(d.req.Key, uint64(block), uint64(number)))
			number++
		}
	}
}

// sampleBlock extends every beam that grows by up to size tokens, by different ones where its
// samples draw different ones, and values what has become of it at the block's end.
func (d *decoder) sampleBlock(pool []*candidate, size int) ([]*candidate, error) {
	for range size {
		var next, active []*candidate
		for _, c := range pool {
			if !searching(c) {
				next = append(next, c)
				continue
			}
			cs, err := d.split(c)
			if err != nil {
				return nil, err
			}
			next, active = append(next, cs...), append(active, cs...)
		}
		pool = next
		if len(active) == 0 {
			break
		}
		if err := d.advance(active); err != nil {
			return nil, err
		}
		for _, c := range active {
			if d.rest(c); !growing(c) {
				d.dropSeq(c)
			}
		}
	}
	if err := d.value(pool); err != nil {
		return nil, err
	}
	for _, c := range pool {
		c.rank = float64(c.value)
	}
	return pool, nil
}

// split draws the next token of each of the samples that a candidate stands for, and makes a
// candidate of those that drew the same.
func (d *decoder) split(c *candidate) ([]*candidate, error) {
	if err := d.look(c); err != nil {
		return nil, err
	}
	var tokens []int32
	var streams [][]*rand.Rand
	for _, rng := range c.streams {
		token := d.draw(c, rng)
		i := slices.Index(tokens, token)
		if i < 0 {
			i = len(tokens)
			tokens, streams = append(tokens, token), append(streams, nil)
		}
		streams[i] = append(streams[i], rng)
	}
	out := []*candidate{c}
	for range len(tokens) - 1 {
		f, err := d.fork(c)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	for i, f := range out {
		f.streams, f.places = streams[i], len(streams[i])
		d.take(f, tokens[i])
	}
	return out, nil
}

// prune keeps the candidates of highest value, best first, until width places are taken, one by
// each of the samples that a candidate stands for; equal values keep the order of the pool.
func (d *decoder) prune(pool []*candidate, width int) []*candidate {
	slices.SortStableFunc(pool, func(a, b *candidate) int { return cmp.Compare(b.rank, a.rank) })
	n := 0
	for ; n < len(pool) && width > 0; n++ {
		pool[n].places = min(pool[n].places, width)
		width -= pool[n].places
	}
	for _, c := range pool[n:] {
		d.drop(c)
	}
	return pool[:n]
}
