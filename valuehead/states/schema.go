// Package states is the store of trajectories with the cached per-token features that
// value heads are trained on: hidden states of the tapped layers, log-probability
// features and the likeliest tokens, and the states of the prompts they answer. What a
// response is worth is not stored: a reward may change, what was decoded does not.
//
// A shard is one file that only grows: a [Writer] appends blocks of whole trajectories
// and closes it with an index. A [Reader] sees the blocks that are complete, whether the
// shard is or not, and finds any of its trajectories and positions without reading the
// rest; a [Set] is several shards as one. Every byte is under a checksum: damage is
// named by block and byte range, and what is not damaged stays readable ([Verify],
// [Repair]). The package knows nothing of models or heads.
package states

import (
	"fmt"
	"math"
	"slices"
)

// FormatVersion is the version of the shard format; it stands in every shard. Versions 1
// and 2, which held rewards, and 3, which packs nothing, are read too.
const FormatVersion = 4

// Schema says what the rows of a shard mean. Every shard carries it.
type Schema struct {
	// Backbone is the fingerprint of the model that produced the states.
	Backbone string `json:"backbone"`
	// Norms is a fingerprint of that model's that all its quantizations share, of what they
	// leave as it is; empty where that is not known.
	Norms string `json:"norms,omitempty"`
	// Layers are the tapped layers, in the order in which they are concatenated in a
	// hidden row. The store gives the numbers no meaning.
	Layers []int `json:"layers"`
	// Width is the number of floats in a hidden row: the sum over the tapped layers,
	// which all have the same width.
	Width int `json:"width"`
	// Scalars names the scalar features of a token, such as its log-probability.
	Scalars []string `json:"scalars"`
	// Top is the number of likeliest tokens among which scalars that are ranks were
	// counted: any other token has the rank Top. 0 where that is not known.
	Top int `json:"top,omitempty"`
	// Candidates is the number of likeliest tokens that are kept of every state in which
	// a token was drawn.
	Candidates int `json:"candidates,omitempty"`
	// Float is how hidden states are stored. Empty means half precision, and in [Write]
	// the first of F16 and BF16 that holds all values.
	Float Float `json:"float,omitempty"`
	// Prompts says that the shard holds the prompts of its trajectories, and
	// PromptLayers, some of Layers, which layers their rows concatenate; none keeps
	// their tokens only.
	Prompts      bool  `json:"prompts,omitempty"`
	PromptLayers []int `json:"prompt_layers,omitempty"`
}

// PromptWidth is the number of floats in a hidden row of a prompt.
func (s Schema) PromptWidth() int {
	if len(s.PromptLayers) == 0 {
		return 0
	}
	return s.Width / len(s.Layers) * len(s.PromptLayers)
}

// limits that keep a damaged or senseless schema from asking for absurd memory
const (
	maxWidth   = 1 << 21
	maxScalars = 1 << 12
	maxTop     = 1 << 24
	maxKept    = 1 << 10 // candidates
)

// Validate reports whether the schema makes sense.
func (s Schema) Validate() error {
	switch {
	case s.Width < 0 || s.Width > maxWidth:
		return fmt.Errorf("hidden rows of %d floats", s.Width)
	case len(s.Layers) == 0 && s.Width != 0:
		return fmt.Errorf("hidden rows of %d floats from no layer", s.Width)
	case len(s.Layers) > 0 && (s.Width == 0 || s.Width%len(s.Layers) != 0):
		return fmt.Errorf("hidden rows of %d floats cannot hold %d layers of one width", s.Width, len(s.Layers))
	case len(s.Scalars) > maxScalars:
		return fmt.Errorf("%d scalar features", len(s.Scalars))
	case s.Top < 0 || s.Top > maxTop:
		return fmt.Errorf("ranks among %d tokens", s.Top)
	case s.Candidates < 0 || s.Candidates > maxKept:
		return fmt.Errorf("%d candidates of a state", s.Candidates)
	case s.Float != "" && s.Float.size() == 0:
		return fmt.Errorf("hidden states of type %q, not one of %q, %q, %q", s.Float, F16, BF16, F32)
	case len(s.PromptLayers) > 0 && !s.Prompts:
		return fmt.Errorf("layers %v of prompts that are not stored", s.PromptLayers)
	}
	for i, l := range s.PromptLayers {
		if !slices.Contains(s.Layers, l) || slices.Contains(s.PromptLayers[:i], l) {
			return fmt.Errorf("layer %d of the prompts stands twice or is not one of %v", l, s.Layers)
		}
	}
	for i, l := range s.Layers {
		if slices.Contains(s.Layers[:i], l) {
			return fmt.Errorf("layer %d stands twice", l)
		}
	}
	for i, name := range s.Scalars {
		if name == "" || slices.Contains(s.Scalars[:i], name) {
			return fmt.Errorf("scalar feature %q is unnamed or stands twice", name)
		}
	}
	return nil
}

// Match returns nil when s holds what want asks for, else an error that names the
// difference and ends in what to do. How the floats are stored makes no difference, nor
// do prompts and candidates that are not asked for.
func (s Schema) Match(want Schema) error {
	switch {
	case s.Backbone != want.Backbone:
		return fmt.Errorf("states of model %s, not of model %s (collect them again with this model, or name the model they come from)", s.Backbone, want.Backbone)
	case !slices.Equal(s.Layers, want.Layers) || s.Width != want.Width:
		return fmt.Errorf("hidden rows of layers %v, %d floats; wanted layers %v, %d floats (collect the states again with the layers wanted)", s.Layers, s.Width, want.Layers, want.Width)
	case !slices.Equal(s.Scalars, want.Scalars):
		return fmt.Errorf("scalar features %q; wanted %q (collect the states again with this version of ivo)", s.Scalars, want.Scalars)
	case s.Top != want.Top && s.Top != 0 && want.Top != 0:
		return fmt.Errorf("ranks among the %d likeliest tokens; wanted among %d (collect the states again with an engine that lists %[2]d tokens)", s.Top, want.Top)
	case want.Candidates > 0 && s.Candidates != want.Candidates:
		return fmt.Errorf("%d candidates of a state; wanted %d (collect the states again with this version of ivo)", s.Candidates, want.Candidates)
	case want.Prompts && (!s.Prompts || !slices.Equal(s.PromptLayers, want.PromptLayers)):
		return fmt.Errorf("prompts stored: %v, with layers %v; wanted layers %v (collect the states again with the prompts)", s.Prompts, s.PromptLayers, want.PromptLayers)
	}
	return nil
}

// Trajectory is one sampled response of T tokens with what was cached while it was
// decoded. Row t of Hidden and Scalars belongs to the state after response token t was
// fed to the model.
type Trajectory struct {
	Prompt  string    // identifies the prompt; trajectories of one prompt share it
	Sample  int       // which of the prompt's samples this is, from 0
	Tokens  []int32   // [T]
	Hidden  []float32 // [T][Schema.Width], row-major
	Scalars []float32 // [T][len(Schema.Scalars)], row-major
	// The likeliest tokens of the state before token t, the likeliest first, and their
	// log-probabilities, which are stored in half precision.
	Candidates        []int32   // [T][Schema.Candidates]
	CandidateLogProbs []float32 // [T][Schema.Candidates]
}

// Prompt is a prompt of P tokens with the states after each of them, which the
// trajectories of the prompt share. A shard holds it once.
type Prompt struct {
	ID     string    // the Prompt of its trajectories
	Tokens []int32   // [P]
	Hidden []float32 // [P][Schema.PromptWidth()], row-major
}

// Meta is a trajectory without its rows.
type Meta struct {
	Prompt string `json:"prompt"`
	Sample int    `json:"sample"`
	Tokens int    `json:"tokens"`
}

// check reports whether the slices agree with the schema and hold numbers that can be
// stored.
func (t *Trajectory) check(s Schema) error {
	n := len(t.Tokens)
	switch {
	case t.Sample < 0 || t.Sample > math.MaxInt32:
		return fmt.Errorf("sample number %d (number the samples of a prompt from 0)", t.Sample)
	case len(t.Hidden) != n*s.Width:
		return fmt.Errorf("%d hidden floats for %d tokens of width %d (the schema names other layers than were tapped)", len(t.Hidden), n, s.Width)
	case len(t.Scalars) != n*len(s.Scalars):
		return fmt.Errorf("%d scalars for %d tokens of %d (the schema names other features than were recorded)", len(t.Scalars), n, len(s.Scalars))
	case len(t.Candidates) != n*s.Candidates || len(t.CandidateLogProbs) != n*s.Candidates:
		return fmt.Errorf("%d candidates with %d log-probabilities for %d tokens of %d (the schema names another number than was recorded)", len(t.Candidates), len(t.CandidateLogProbs), n, s.Candidates)
	}
	if i, ok := logProbs.fits(t.CandidateLogProbs); !ok {
		return fmt.Errorf("token %d has a candidate of log-probability %v (the model's weights or logits are not finite)", i/s.Candidates, t.CandidateLogProbs[i])
	}
	if i, ok := F32.fits(t.Scalars); !ok {
		return fmt.Errorf("token %d has the scalar %v (the model's weights or logits are not finite)", i/len(s.Scalars), t.Scalars[i])
	}
	return checkHidden(t.Hidden, s.Width, s.Float)
}

func (p *Prompt) check(s Schema) error {
	switch {
	case !s.Prompts:
		return fmt.Errorf("the schema has no prompts (set Schema.Prompts)")
	case len(p.Hidden) != len(p.Tokens)*s.PromptWidth():
		return fmt.Errorf("%d hidden floats for %d tokens of width %d (the schema names other layers than were tapped)", len(p.Hidden), len(p.Tokens), s.PromptWidth())
	}
	return checkHidden(p.Hidden, s.PromptWidth(), s.Float)
}

func checkHidden(rows []float32, width int, f Float) error {
	i, ok := f.fits(rows)
	switch {
	case ok:
		return nil
	case rows[i]-rows[i] != 0: // NaN or infinite
		return fmt.Errorf("token %d has the state %v (the model's weights or logits are not finite)", i/width, rows[i])
	case f == F16:
		return fmt.Errorf("token %d has the state %g, and half precision ends at %d (store these states in bfloat16: Schema.Float = states.BF16)", i/width, rows[i], maxHalf)
	}
	return fmt.Errorf("token %d has the state %g, beyond bfloat16 (store these states in single precision: Schema.Float = states.F32)", i/width, rows[i])
}
