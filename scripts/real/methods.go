package main

import (
	"fmt"

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
}

// cost is the number of tokens that are decoded at most for each one of a sample.
func (d draw) cost() int { return d.Strategy.Sequences() }

func (d draw) guided() bool { return d.Valued || d.Strategy.NeedsValue() }

// method is a way to answer: by one of n samples of a draw. Where a prompt has more samples than
// n, there are several such answers, whose mean counts.
type method struct {
	name string
	draw
	n      int
	choose func(a answer) float64 // of n > 1: what the largest is taken of
	kind   kind
}

// decoded is the number of tokens that are decoded at most for each one of the answer.
func (m method) decoded() int { return m.n * m.cost() }

// family are methods of which one is taken to the test: that with the largest reward on other
// prompts. All of them are where show is set.
type family struct {
	name string
	grid []method
	show bool
}

func byValue(a answer) float64 { return float64(a.Value) }

// byTask is the reward that is learned.
func byTask(a answer) float64 { return a.Rewards[0] }

func sample(name string, temp float64, samples int, valued bool) draw {
	return draw{Name: name, Strategy: decode.Strategy{Method: decode.MethodSample}, Temp: temp, Samples: samples, Valued: valued}
}

// one is the method of taking a sample as it is.
func one(d draw, k kind) method { return method{name: d.Name, draw: d, n: 1, kind: k} }

// ranked are the methods that take the best of 2, 4, ... of the samples.
func ranked(d draw, suffix string, k kind, choose func(answer) float64) family {
	f := family{name: "best-of-n " + suffix, show: true}
	for n := 2; n <= d.Samples; n *= 2 {
		f.grid = append(f.grid, method{name: fmt.Sprintf("best-of-%d %s", n, suffix), draw: d, n: n, choose: choose, kind: k})
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

// blocks search among k blocks of so many tokens each.
func blocks(k int, lengths ...int) family {
	f := family{name: fmt.Sprintf("blocks, best of %d", k)}
	for _, b := range lengths {
		f.grid = append(f.grid, one(draw{
			Name:     fmt.Sprintf("block-best-of-%d b=%d", k, b),
			Strategy: decode.Strategy{Method: decode.MethodBlockBestOfK, N: k, Beam: decode.Beam{Block: b}}, Temp: sampling.Temp, Samples: 1,
		}, byHead))
	}
	return f
}

// beams search with so many beams.
func beams(n int, lengths ...int) family {
	f := family{name: fmt.Sprintf("block beams, %d", n)}
	for _, b := range lengths {
		f.grid = append(f.grid, one(draw{
			Name:     fmt.Sprintf("block-beam B=%d b=%d", n, b),
			Strategy: decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: n, Block: b}}, Temp: sampling.Temp, Samples: 1,
		}, byHead))
	}
	return f
}

// few are the methods of a quick run, most those of a default one, all those of a full one. The
// base policy is the first.
func few(t task) []family {
	base := sample("base", sampling.Temp, 4, true)
	return []family{
		controls(base, 0), ranked(base, "by the reward", byReward, byTask), ranked(base, "by the head", byHead, byValue),
		blocks(4, 8),
	}
}

func most(t task) []family {
	base := sample("base", sampling.Temp, 8, true)
	return []family{
		controls(base, 0, 0.35, 1), ranked(base, "by the reward", byReward, byTask), ranked(base, "by the head", byHead, byValue),
		blocks(4, 8, 16),
	}
}

func all(t task) []family {
	base := sample("base", sampling.Temp, 16, true)
	return []family{
		controls(base, 0, 0.2, 0.35, 0.5, 1, 1.2), ranked(base, "by the reward", byReward, byTask), ranked(base, "by the head", byHead, byValue),
		blocks(2, 4, 8, 16), blocks(4, 4, 8, 16), beams(2, 4, 8, 16), beams(3, 4, 8, 16),
	}
}
