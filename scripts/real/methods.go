package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// kind says what a method uses at decoding time.
type kind string

const (
	alone     kind = "the model alone"
	byHead    kind = "the head"
	byReward  kind = "the reward"
	rewardToo kind = "head and reward"
)

// draw is how answers are drawn: what a cell holds.
type draw struct {
	Name     string
	Strategy decode.Strategy // its betas in units of the head
	Temp     float64
	Samples  int  // a prompt
	Valued   bool // by the head, which a strategy may need anyway
	Rerank   bool // the task's reward takes part in the search
	// Learned names the value function where it is not that of the rollouts.
	Learned string `json:",omitempty"`
}

// cost is the number of tokens that are decoded at most for each one of a sample.
func (d draw) cost() int {
	s := d.Strategy
	if n := s.Rollouts.N * s.Rollouts.Tokens; n > 0 { // after each block of each candidate
		s.Rollouts = decode.Rollouts{}
		return s.Sequences() * (s.Beam.Block + n) / s.Beam.Block
	}
	return s.Sequences()
}

func (d draw) guided() bool { return d.Valued || d.Strategy.NeedsValue() }

// method is a way to answer: by one of n samples of a draw. Where a prompt has more samples than
// n, there are several such answers, whose mean counts.
type method struct {
	name string
	draw
	n       int
	byValue bool // of n > 1: the best by the head, not by the reward
	kind    kind
}

// decoded is the number of tokens that are decoded at most for each one of the answer.
func (m method) decoded() int { return m.n * m.cost() }

// family are methods of which one is taken to the test: that with the largest reward on other
// prompts. All of them are where show is set.
type family struct {
	name string
	grid []method
	show bool
	// within names the method that none may decode more tokens an answer than. Of each draw the most
	// samples that are within are tried.
	within string
}

func sample(name string, temp float64, samples int, valued bool) draw {
	return draw{Name: name, Strategy: decode.Strategy{Method: decode.MethodSample}, Temp: temp, Samples: samples, Valued: valued}
}

// one is the method of taking a sample as it is.
func one(d draw, k kind) method { return method{name: d.Name, draw: d, n: 1, kind: k} }

// ranked are the methods that take the best of 2, 4, ... of the samples.
func ranked(d draw, suffix string, k kind, byValue bool) family {
	f := family{name: "best-of-n " + suffix, show: true}
	for n := 2; n <= d.Samples; n *= 2 {
		f.grid = append(f.grid, method{name: fmt.Sprintf("best-of-%d %s", n, suffix), draw: d, n: n, byValue: byValue, kind: k})
	}
	return f
}

// controls are what costs nothing: the base policy, greedy decoding, other temperatures.
func controls(base draw, temps ...float64) family {
	f := family{name: "the model alone", show: true, grid: []method{one(base, alone)}}
	for _, t := range temps {
		name := fmt.Sprintf("temperature %g", t)
		if t == 0 {
			name = "greedy"
		}
		f.grid = append(f.grid, one(sample(name, t, 1, false), alone))
	}
	return f
}

// tilted are draws from the base policy tilted by what each token adds to the value, with each beta:
// one-pass, one decode a token.
func tilted(samples int, betas ...float64) (out []draw) {
	for _, beta := range betas {
		d := sample(fmt.Sprintf("one-pass beta=%g", beta), sampling.Temp, samples, true)
		d.Strategy.Proposal = beta
		out = append(out, d)
	}
	return out
}

// onePass are the families of such draws: a sample as it is, and the best of 2, 4, ... of them by the
// reward and by the head. The more samples there are to choose from, the less each need be tilted.
func onePass(samples int, betas ...float64) []family {
	out := []family{{name: "one-pass"}}
	for i, d := range tilted(samples, betas...) {
		methods := []method{one(d, byHead)}
		methods = append(methods, ranked(d, "by the reward, "+d.Name, rewardToo, false).grid...)
		methods = append(methods, ranked(d, "by the head, "+d.Name, byHead, true).grid...)
		for k, m := range methods {
			if i == 0 && k > 0 {
				out = append(out, family{name: strings.Replace(m.name, d.Name, "one-pass", 1)})
			}
			out[k].grid = append(out[k].grid, m)
		}
	}
	return out
}

// asManyTokens begins the names of the families that [within] makes.
const asManyTokens = "one-pass within the tokens of "

// within are the families of the best of one-pass's samples by the reward, as many as cost what the
// best of 2, 4, ... of the base policy's do. The answers of a policy that follows a value may well
// be shorter ones.
func within(base, samples int, betas ...float64) (out []family) {
	for n := 2; n <= base; n *= 2 {
		f := family{within: fmt.Sprintf("best-of-%d by the reward", n)}
		f.name = asManyTokens + f.within
		for _, d := range tilted(samples, betas...) {
			f.grid = append(f.grid, one(d, byHead))
			for k := 2; k <= samples; k++ {
				f.grid = append(f.grid, method{name: fmt.Sprintf("best-of-%d by the reward, %s", k, d.Name), draw: d, n: k, kind: rewardToo})
			}
		}
		out = append(out, f)
	}
	return out
}

// blocks search block by block, the blocks drawn with each of some betas: the best of k, or so
// many beams, by the head or by what the reward says of rollouts.
func blocks(s decode.Strategy, betas ...float64) family {
	f := family{name: fmt.Sprintf("block-best-of-%d b=%d", s.N, s.Beam.Block)}
	if s.Method == decode.MethodBlockBeam {
		f.name = fmt.Sprintf("block-beam B=%d b=%d", s.Beam.Beams, s.Beam.Block)
	}
	by := byHead
	if s.Rollouts.N > 0 {
		by, f.name = rewardToo, f.name+fmt.Sprintf(" by the reward after %d tokens", s.Rollouts.Tokens)
	}
	for _, beta := range betas {
		d := draw{Name: f.name, Strategy: s, Temp: sampling.Temp, Samples: 1, Rerank: by == rewardToo}
		if d.Strategy.Proposal = beta; beta > 0 {
			d.Name += fmt.Sprintf(" beta=%g", beta)
		}
		f.grid = append(f.grid, one(d, by))
	}
	return f
}

// inside is a search whose blocks the reward chooses by one rollout of so many tokens; of none, by
// the text so far.
func inside(s decode.Strategy, tokens int) decode.Strategy {
	s.Rollouts = decode.Rollouts{N: 1, Tokens: tokens}
	return s
}

func bestBlock(k, block int) decode.Strategy {
	return decode.Strategy{Method: decode.MethodBlockBestOfK, N: k, Beam: decode.Beam{Block: block}}
}

func beam(beams, block int) decode.Strategy {
	return decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: beams, Block: block}}
}

// few are the methods of a quick run, most those of a default one, all those of a full one. The
// base policy is the first. Every family that has settings has as many.
func few(t task) families {
	return families{
		inside: t.inside, samples: 4, tilted: 4, temps: []float64{0}, betas: []float64{2, 4}, blocks: []float64{1, 2},
		searches: []decode.Strategy{bestBlock(4, 8)},
	}
}

func most(t task) families {
	f := families{inside: t.inside, samples: 16, tilted: 4, temps: []float64{0, 0.35}, betas: []float64{2, 4, 4.5, 6}, blocks: []float64{2, 3, 4, 6}}
	if f.searches = []decode.Strategy{bestBlock(4, 8)}; t.inside {
		f.samples, f.tilted = 8, 16
		f.betas, f.blocks = []float64{2, 4, 6}, []float64{2, 4, 6}
	}
	return f
}

func all(t task) families {
	return families{
		inside: t.inside, samples: 16, tilted: 16, temps: []float64{0, 0.2, 0.35, 0.5, 1, 1.2},
		betas: []float64{1, 2, 2.5, 3, 3.5, 4, 5, 6}, blocks: []float64{0, 0.5, 1, 1.5, 2, 3, 4, 6},
		searches: []decode.Strategy{
			bestBlock(2, 8), bestBlock(4, 4), bestBlock(4, 8), bestBlock(4, 16), bestBlock(8, 8), beam(2, 8), beam(3, 8),
			inside(bestBlock(2, 8), 0), inside(bestBlock(4, 8), 0), inside(bestBlock(8, 8), 0), inside(bestBlock(2, 16), 16), inside(bestBlock(4, 16), 16),
		},
	}
}

// families are the methods of an effort.
type families struct {
	samples, tilted int               // of the base policy, and of one-pass
	temps           []float64         // of the model alone, beside the base policy's
	betas, blocks   []float64         // of one-pass, and of the blocks of searches
	searches        []decode.Strategy // block by block
	inside          bool              // the reward is asked at decoding time
}

func (f families) list() []family {
	base := sample("base", sampling.Temp, f.samples, true)
	out := []family{controls(base, f.temps...), ranked(base, "by the reward", byReward, false), ranked(base, "by the head", byHead, true)}
	out = append(out, onePass(f.tilted, f.betas...)...)
	for _, s := range f.searches {
		out = append(out, blocks(s, f.blocks...))
	}
	if f.inside {
		out = append(out, within(f.samples, f.tilted, f.betas...)...)
	}
	return out
}

// control are the families that follow value functions of twice as many responses.
func (f families) control() (out []family) {
	for _, name := range []string{twoRounds, eightSamples} {
		out = append(out, learned(name, append(onePass(1, f.betas...), blocks(bestBlock(4, 8), f.blocks...))...)...)
	}
	return out
}

// Value functions that have seen twice as many responses.
const (
	twoRounds    = "two-rounds"    // the second drawn by what the first had learned
	eightSamples = "eight-samples" // of the base policy, as many responses: the control
)

// learned are families that follow another value function.
func learned(name string, families ...family) (out []family) {
	for _, f := range families {
		f.name, f.grid = f.name+", "+name, slices.Clone(f.grid)
		for i := range f.grid {
			m := &f.grid[i]
			m.name, m.Name, m.Learned = m.name+", "+name, m.Name+", "+name, name
		}
		out = append(out, f)
	}
	return out
}
