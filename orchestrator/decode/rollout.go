package decode

import (
	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// Rollouts value the candidates of the block methods, at a block's end, by what becomes of them
// instead of by the value function: N samples of at most Tokens tokens more, drawn from the proposal, are
// scored by the reward ([Request.Rerank]), and their mean is the candidate's value,
//
//	V(s) = 1/N sum_i R(x, y_i),  y_i ~ q(. | s).
//
// The samples of a finished candidate are its text, and so are those of 0 tokens.
type Rollouts struct {
	N      int `json:"n"` // 0 for none
	Tokens int `json:"tokens"`
}

// sequences is the number of those that the samples of so many candidates take.
func (r Rollouts) sequences(candidates int) int {
	if r.Tokens == 0 {
		return 0
	}
	return candidates * r.N
}

// cells is the number of those beyond the candidates' own. The last token of a sample is not fed, and a
// candidate has one of its response's tokens at least; but no sequence is without a cell.
func (r Rollouts) cells(candidates, maxTokens int) int {
	return r.sequences(candidates) * max(1, min(r.Tokens, maxTokens-1)-1)
}

func (r Rollouts) check(op string) error {
	if r.N < 0 || r.Tokens < 0 {
		return fault.New(op, "rollouts", nil, "set {rollouts} and {rollout_tokens} to 0 or more", "%d rollouts of %d tokens", r.N, r.Tokens)
	}
	return nil
}

// rollout ranks the candidates of a pool after a block by rollouts. A sample's stream is keyed by the
// block, the candidate's number in the pool and its own.
func (d *decoder) rollout(pool []*candidate, block int, r Rollouts) error {
	var texts []string
	var of []*candidate // that each text is a sample of
	end := func(f, c *candidate, times int) {
		text := string(f.Text[:len(f.Text)-f.Cut])
		for range times {
			texts, of = append(texts, text), append(of, c)
		}
	}
	type sample struct {
		*candidate // which stands for those that have drawn the same
		of         *candidate
	}
	var live []sample
	for i, c := range pool {
		c.rank = 0
		if !growing(c) || r.Tokens == 0 {
			end(c, c, r.N)
			continue
		}
		f, err := d.fork(c)
		if err != nil {
			return err
		}
		f.streams = nil
		for k := range r.N {
			f.streams = append(f.streams, policy.Stream(d.req.Key, uint64(block), uint64(i), uint64(k)))
		}
		live = append(live, sample{f, c})
		if row := c.seq.Row(); row != nil {
			c.row = keepRow(row) // the first step of the samples ends it
		}
	}
	for left := r.Tokens; len(live) > 0; left-- {
		var next []sample
		var feed []*candidate
		for _, l := range live {
			fs, err := d.split(l.candidate)
			if err != nil {
				return err
			}
			for _, f := range fs {
				if err := d.note(f); err != nil {
					return err
				}
				if !growing(f) || left == 1 {
					end(f, l.of, f.places)
					d.drop(f)
					continue
				}
				next, feed = append(next, sample{f, l.of}), append(feed, f)
			}
		}
		if live = next; len(live) == 0 {
			break
		}
		if err := d.feed(feed); err != nil {
			return err
		}
		if d.proposal != 0 { // which may depend on what the value function has seen
			if err := d.values.Push(d.view(feed)); err != nil {
				return err
			}
		}
	}
	rewards, err := d.rewards(texts)
	if err != nil {
		return err
	}
	for i, reward := range rewards {
		of[i].rank += reward / float64(r.N)
	}
	return nil
}
