package valuehead

import (
	"fmt"
	"math"
	"slices"
)

// Probe is a text with the states that a head's own model came to at its end. Another
// quantization of that model comes to nearly the same ones, another model does not, whatever
// its shapes and names are.
type Probe struct {
	Tokens []int32
	From   int       // states are those after Tokens[From:]
	States []float32 // [len(Tokens)-From][Schema.Width]
}

// probeStates is how many states a probe has at most.
const probeStates = 16

// probe is what an example would be as a probe, better or not than another: the beginning of the
// response, whose states are those that heads read, after a prompt that is soon decoded.
func probe(best *Probe, e Example) *Probe {
	n := min(len(e.Trajectory.Tokens), probeStates)
	if e.Prompt == nil || n == 0 {
		return best
	}
	if best != nil {
		if had := len(best.Tokens) - best.From; n < had || n == had && len(e.Prompt.Tokens) >= best.From {
			return best
		}
	}
	width := len(e.Trajectory.Hidden) / len(e.Trajectory.Tokens)
	return &Probe{
		Tokens: slices.Concat(e.Prompt.Tokens, e.Trajectory.Tokens[:n]), From: len(e.Prompt.Tokens),
		States: slices.Clone(e.Trajectory.Hidden[:n*width]),
	}
}

// Probe is the head's, nil of one that has none: heads are given them since states are stored
// with their prompts.
func (h *Head) Probe() *Probe { return h.probe }

// LeastLikeness is what the states of another quantization have of [Head.Likeness] at the
// least, in practice: down to here a head's values go with those that it gives its own
// model (docs/log.md has the figures).
const LeastLikeness = 0.9

// Likeness compares a model's states after the tokens of the probe, as [Probe].States has
// them, with those of the head's own model: the mean cosine, of the layer that the head
// reads in which it is least. What the states have in common is subtracted, for in most models a few
// large numbers that never change would make any two states alike. 1 is of the same states.
func (h *Head) Likeness(states []float32) (float64, error) {
	if h.probe == nil || len(states) != len(h.probe.States) {
		return 0, fmt.Errorf("valuehead: %d floats to compare with the head's probe (decode its tokens with the layers of its schema)", len(states))
	}
	least := 1.0
	for _, l := range h.features.layers {
		least = min(least, likeness(h.probe.States, states, h.features.schema.Width, l))
	}
	return least, nil
}

// likeness is the mean cosine of columns [l[0], l[1]) of two matrices' rows, less the
// columns' means.
func likeness(a, b []float32, width int, l [2]int) float64 {
	n, w := len(a)/width, l[1]-l[0]
	mean := func(x []float32) []float64 {
		m := make([]float64, w)
		if n == 1 { // it is all that there is
			return m
		}
		for i := range n {
			for j, v := range x[i*width+l[0]:][:w] {
				m[j] += float64(v) / float64(n)
			}
		}
		return m
	}
	ma, mb, total := mean(a), mean(b), 0.0
	for i := range n {
		var ab, aa, bb float64
		for j, v := range a[i*width+l[0]:][:w] {
			x, y := float64(v)-ma[j], float64(b[i*width+l[0]+j])-mb[j]
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		}
		if aa > 0 && bb > 0 {
			total += ab / math.Sqrt(aa*bb)
		} else if aa == bb { // both are what they have in common
			total++
		}
	}
	return total / float64(n)
}
