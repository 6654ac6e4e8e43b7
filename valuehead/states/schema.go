// Package states is the store of trajectories with the cached per-token features that
// value heads are trained on: hidden states of the tapped layers and log-probability
// features. A shard is one file of compressed blocks, each with a checksum, closed by
// an end marker; it is written whole or not at all. The package knows nothing of models
// or heads.
package states

import (
	"fmt"
	"slices"
)

// FormatVersion is the version of the shard format; it stands in every shard.
const FormatVersion = 1

// Schema says what the rows of a shard mean. Every shard carries it.
type Schema struct {
	// Backbone is the fingerprint of the model that produced the states.
	Backbone string `json:"backbone"`
	// Layers are the tapped layers, in the order in which they are concatenated in a
	// hidden row. The store gives the numbers no meaning.
	Layers []int `json:"layers"`
	// Width is the number of floats in a hidden row: the sum over the tapped layers,
	// which all have the same width.
	Width int `json:"width"`
	// Scalars names the scalar features of a token, such as its log-probability.
	Scalars []string `json:"scalars"`
}

// limits that keep a damaged or senseless schema from asking for absurd memory
const (
	maxWidth   = 1 << 24
	maxScalars = 1 << 16
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
// difference and ends in what to do.
func (s Schema) Match(want Schema) error {
	switch {
	case s.Backbone != want.Backbone:
		return fmt.Errorf("states of model %s, not of model %s (collect them again with this model, or name the model they come from)", s.Backbone, want.Backbone)
	case !slices.Equal(s.Layers, want.Layers) || s.Width != want.Width:
		return fmt.Errorf("hidden rows of layers %v, %d floats; wanted layers %v, %d floats (collect the states again with the layers wanted)", s.Layers, s.Width, want.Layers, want.Width)
	case !slices.Equal(s.Scalars, want.Scalars):
		return fmt.Errorf("scalar features %q; wanted %q (collect the states again with this version of ivo)", s.Scalars, want.Scalars)
	}
	return nil
}

// Trajectory is one sampled response of T tokens with what was cached while it was
// decoded. Row t of Hidden and Scalars belongs to the state after response token t was
// fed to the model.
type Trajectory struct {
	Prompt  string    // identifies the prompt; trajectories of one prompt share it
	Sample  int       // which of the prompt's samples this is, from 0
	Reward  float32   // of the whole response; NaN when not scored yet
	Tokens  []int32   // [T]
	Hidden  []float32 // [T][Schema.Width], row-major
	Scalars []float32 // [T][len(Schema.Scalars)], row-major
}

// check reports whether the slices agree with the schema and hold finite numbers.
func (t *Trajectory) check(s Schema) error {
	n := len(t.Tokens)
	switch {
	case t.Sample < 0:
		return fmt.Errorf("sample number %d", t.Sample)
	case len(t.Hidden) != n*s.Width:
		return fmt.Errorf("%d hidden floats for %d tokens of width %d", len(t.Hidden), n, s.Width)
	case len(t.Scalars) != n*len(s.Scalars):
		return fmt.Errorf("%d scalars for %d tokens of %d", len(t.Scalars), n, len(s.Scalars))
	}
	for _, rows := range [][]float32{t.Hidden, t.Scalars} {
		for i, v := range rows {
			if v-v != 0 { // NaN or infinite
				return fmt.Errorf("token %d has the value %v (the model's weights or logits are not finite)", i/(len(rows)/n), v)
			}
		}
	}
	return nil
}

// Error is a fault of a shard: what is wrong, where, and in Hint what to do about it.
type Error struct {
	Path  string
	Block int // the block's number from 0, or -1 outside the blocks
	Msg   string
	Hint  string
}

func (e *Error) Error() string {
	where := ""
	if e.Block >= 0 {
		where = fmt.Sprintf("block %d: ", e.Block)
	}
	return fmt.Sprintf("%s: %s%s (%s)", e.Path, where, e.Msg, e.Hint)
}
