package valuehead

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Advantages is a value that is a sum over the tokens of a response,
//
//	V(s_t) = V(x) + sum_{i<=t} a(x, y_i),   a(x, y) = u_y . [1 z(x)]
//
// so that what each token of the vocabulary adds is known before it is fed. z(x) are a few
// directions of the prompt's mean state; without them the table is the same for every
// prompt. In a table of different tokens one that was said before adds nothing. Where rewards
// have ends, V may be the sum squashed into their range: a(x, y) is what y adds to the sum, and
// [Advantages.Slope] times that, to first order, what it adds to V. It is read-only and safe for
// concurrent use.
type Advantages struct {
	features   *Features // of the prompts
	once       bool      // a token that was said before adds nothing
	rank       int       // directions that tokens are multiplied with, the first ones
	vocabulary int
	table      []float32 // [rank+1][vocabulary], of which the first row is that of the 1
	prompts    directions
	base       float32   // V(x) = base + slope . z(x)
	slope      []float32 // empty, or one for each direction
	squash     squash    // of the sum
	unit       float64
}

// Advantages are those that a head was trained with; nil of a head without.
func (h *Head) Advantages() *Advantages { return h.advantages }

// Len is the size of the vocabulary.
func (a *Advantages) Len() int { return a.vocabulary }

// Rank is the number of directions of the prompt that a token is multiplied with.
func (a *Advantages) Rank() int { return a.rank }

// Once reports whether a token that the response has already adds nothing.
func (a *Advantages) Once() bool { return a.once }

// NeedsPrompt reports whether [Advantages.Of] looks at the prompt's states.
func (a *Advantages) NeedsPrompt() bool { return a.rank > 0 }

// valuesPrompt reports whether V(x) looks at them, or a(x, y).
func (a *Advantages) valuesPrompt() bool { return a.rank > 0 || len(a.slope) > 0 }

// Unit is what betas are counted in: tilting by 2/Unit moves the base policy by 2 nats a response, as
// far as the likeliest tokens tell that are stored of each state. Where none are, it is the step of the
// values, as that of a head: [Head.Unit].
func (a *Advantages) Unit() float64 { return a.unit }

// Squashed reports whether values stay within the returns that they were learned from.
func (a *Advantages) Squashed() bool { return a.squash.reach > 0 }

// Start is the sum of an empty response to p, which may be nil as for [Advantages.Of].
func (a *Advantages) Start(p *states.Prompt) float32 { return a.start(a.directionsOf(p)) }

// Slope is by how much the value rises where its sum does, at a sum: 1 of values that are not squashed,
// towards 0 where they come near the ends of the returns.
func (a *Advantages) Slope(sum float32) float64 { return float64(a.squash.slope(a.squash.of(sum))) }

// Of is what each token of the vocabulary adds to the value of a response to p that does not have it,
// in units of reward, to the sum before it is squashed: [Len]. Over the responses of training, the mean of what their tokens add is 0, of a table
// that depends on the prompt for a prompt at the mean. p may be nil unless NeedsPrompt; without it the directions are at their mean. The result
// must not be written to.
func (a *Advantages) Of(p *states.Prompt) []float32 {
	if a.rank == 0 || p == nil {
		return a.table[:a.vocabulary]
	}
	return a.at(a.directionsOf(p))
}

func (a *Advantages) at(z []float32) []float32 {
	out := append([]float32(nil), a.table[:a.vocabulary]...)
	for k, v := range z[:a.rank] {
		for j, u := range a.table[(k+1)*a.vocabulary:][:a.vocabulary] {
			out[j] += v * u
		}
	}
	return out
}

// directionsOf is z(x), nil of a table that has no use for it.
func (a *Advantages) directionsOf(p *states.Prompt) []float32 {
	if p == nil || !a.valuesPrompt() {
		return nil
	}
	return a.prompts.of(nil, a.features.promptMean(p))
}

// start is V(x) by its directions, before it is squashed.
func (a *Advantages) start(z []float32) float32 {
	v := a.base
	for k, s := range a.slope {
		if k < len(z) {
			v += s * z[k]
		}
	}
	return v
}

// token is what y adds to a response that said some tokens, by the directions of x: 0 of one that
// is not in the vocabulary.
func (a *Advantages) token(z []float32, said []int32, y int32) float32 {
	if y < 0 || int(y) >= a.vocabulary || a.once && slices.Contains(said, y) {
		return 0
	}
	v := a.table[y]
	for k := range min(a.rank, len(z)) {
		v += z[k] * a.table[(k+1)*a.vocabulary+int(y)]
	}
	return v
}

// appendValues appends the values of an example's states to dst.
func (a *Advantages) appendValues(dst []float32, e Example) ([]float32, error) {
	if a.valuesPrompt() && e.Prompt == nil {
		return nil, fmt.Errorf("valuehead: prompt %q: its own states are missing (collect them: the head looks back at them)", e.Trajectory.Prompt)
	}
	z := a.directionsOf(e.Prompt)
	v := a.start(z)
	for i, y := range e.Trajectory.Tokens {
		v += a.token(z, e.Trajectory.Tokens[:i], y)
		dst = append(dst, a.squash.of(v))
	}
	return dst, nil
}

// check reports what does not fit in a table that was read from a file.
func (a *Advantages) check() error {
	w, d := len(a.prompts.mean), a.prompts.rank()
	switch {
	case a.rank < 0 || a.vocabulary < 1 || len(a.table)%a.vocabulary != 0 || len(a.table)/a.vocabulary != a.rank+1:
		return errors.New("its table of advantages does not fit its vocabulary")
	case w != 0 && w != a.features.promptWidth, len(a.prompts.axes) != d*w, a.rank > d, len(a.slope) != 0 && len(a.slope) != d:
		return errors.New("its directions of prompts do not fit its features")
	}
	return a.squash.check()
}

// named are the tensors of the table.
func (a *Advantages) named() []namedTensor {
	out := []namedTensor{{"advantages.table", a.rank + 1, a.vocabulary, a.table}, {"advantages.base", 1, 1, []float32{a.base}}}
	if d := a.prompts.rank(); d > 0 {
		w := len(a.prompts.mean)
		out = append(out, namedTensor{"advantages.prompt.mean", 1, w, a.prompts.mean}, namedTensor{"advantages.prompt.axes", d, w, a.prompts.axes})
	}
	if len(a.slope) > 0 {
		out = append(out, namedTensor{"advantages.slope", 1, len(a.slope), a.slope})
	}
	return append(out, a.squash.named("advantages."+squashTensor)...)
}
