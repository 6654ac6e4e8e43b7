package valuehead

import (
	"fmt"
	"iter"
	"math/rand/v2"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Example is a scored trajectory with what else a head may learn from. The trainer keeps
// examples only for a while, and writes to none.
type Example struct {
	Trajectory *states.Trajectory
	Return     float32 // of the whole response: what the state's value is to foretell
	// Prompt holds the prompt's own states, for heads that look back at it; else nil.
	Prompt *states.Prompt
	// Candidates are the likeliest tokens before each token, for [CDQ]; else nil.
	Candidates *Candidates
	// Rival is a response to the same prompt to which Trajectory was preferred, by Margin, for
	// [Preference]; else nil.
	Rival  *states.Trajectory
	Margin float32
}

// Candidates are the K likeliest tokens in each of the T states before a token of a
// response, the likeliest first, and what would be known of them before they are fed.
type Candidates struct {
	K        int
	Tokens   []int32   // [T][K]
	LogProbs []float32 // [T][K] log p(a | s_{t-1}) of the policy that is valued: at its own temperature, up to a constant for each state
	Scalars  []float32 // [T][K][len(Schema.Scalars)]; names that begin with "next-" are not read
}

// Source is where training finds its examples. It may be larger than memory: the trainer
// holds a window of them at a time and asks for neighbours one after the other.
type Source interface {
	// Features lays out the rows of the head.
	Features() *Features
	// Len is the number of trajectories.
	Len() int
	// At reads trajectory i. It is called from one goroutine.
	At(i int) (Example, error)
}

// checkExample reports what makes an example unfit to learn from.
func checkExample(f *Features, e Example) error {
	t := e.Trajectory
	fail := func(format string, args ...any) error {
		return fmt.Errorf("valuehead: prompt %q, sample %d: %w", t.Prompt, t.Sample, fmt.Errorf(format, args...))
	}
	n, s := len(t.Tokens), f.schema
	ns := len(s.Scalars)
	switch {
	case !finite(e.Return):
		return fail("return %v (score the trajectory before training on it)", e.Return)
	case len(t.Hidden) != n*s.Width || len(t.Scalars) != n*ns:
		return fail("%d hidden floats and %d scalars for %d tokens of %d and %d (read it with the schema it was written with)", len(t.Hidden), len(t.Scalars), n, s.Width, ns)
	}
	for _, x := range [][]float32{t.Hidden, t.Scalars} {
		for i, v := range x {
			if !finite(v) {
				return fail("token %d has the feature %v (collect it again: the model gave numbers that are not finite)", i*n/len(x), v)
			}
		}
	}
	if c := e.Candidates; c != nil && (c.K < 1 || len(c.Tokens) != n*c.K || len(c.LogProbs) != n*c.K || len(c.Scalars) != n*c.K*ns) {
		return fail("%d candidates, %d log-probabilities and %d scalars for %d states of %d (collect them again)", len(c.Tokens), len(c.LogProbs), len(c.Scalars), n, c.K)
	}
	if e.Prompt != nil {
		if err := checkPrompt(e.Prompt, s); err != nil {
			return err
		}
	}
	if e.Rival == nil {
		return nil
	}
	if n == 0 || len(e.Rival.Tokens) == 0 || !finite(e.Margin) {
		return fail("a pair of %d and %d tokens with the margin %v (leave it out)", n, len(e.Rival.Tokens), e.Margin)
	}
	return checkExample(f, Example{Trajectory: e.Rival})
}

func finite(v float32) bool { return v-v == 0 }

// bytes is the memory that the rows of responses take.
func (e Example) bytes() int {
	n := 4 * (len(e.Trajectory.Hidden) + len(e.Trajectory.Scalars))
	if e.Rival != nil {
		n += e.rival().bytes()
	}
	return n
}

// entry is what training remembers of every trajectory of a source.
type entry struct {
	index  int
	prompt string
	tokens int
	ret    float32
}

// windowBytes is the memory that a shuffled stream fills with examples.
const windowBytes = 1 << 28

// chunk is the number of neighbours that a stream reads in one go.
const chunk = 64

// stream yields the examples of entries in an order that rng decides: chunks of
// neighbours come in random order, and are mixed within a window of the size given. With
// together, neighbours that share a prompt stay side by side, so that a head that looks
// at the prompt reads it once for all of them.
func stream(src Source, entries []entry, rng *rand.Rand, window int, together bool) iter.Seq2[Example, error] {
	return func(yield func(Example, error) bool) {
		var groups [][]Example
		size := 0
		flush := func() bool {
			rng.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
			for _, g := range groups {
				for _, e := range g {
					if !yield(e, nil) {
						return false
					}
				}
			}
			groups, size = groups[:0], 0
			return true
		}
		for _, c := range rng.Perm((len(entries) + chunk - 1) / chunk) {
			part := entries[c*chunk : min((c+1)*chunk, len(entries))]
			for i, e := range part {
				ex, err := src.At(e.index)
				if err != nil {
					yield(ex, err)
					return
				}
				if last := len(groups) - 1; together && i > 0 && size > 0 && part[i-1].prompt == e.prompt {
					groups[last] = append(groups[last], ex)
				} else {
					groups = append(groups, []Example{ex})
				}
				if size += ex.bytes(); size >= window && !flush() {
					return
				}
			}
		}
		flush()
	}
}
