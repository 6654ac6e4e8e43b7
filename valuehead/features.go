package valuehead

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Block names a group of columns of a head's input row. Sums, means, minima and maxima
// run over the response so far, so that an early mistake is still seen late.
type Block string

const (
	Hidden     Block = "hidden"      // h_t: the state after token t was fed
	Previous   Block = "previous"    // h_{t-1}; zeros at the first response token
	HiddenMean Block = "hidden-mean" // mean of h_1..h_t
	HiddenMin  Block = "hidden-min"
	HiddenMax  Block = "hidden-max"
	// HiddenSum is the sum of h_1..h_t less their mean in training, and HiddenDecay the same where
	// what is 8 and 32 tokens old counts half: what a response has said so far.
	HiddenSum   Block = "hidden-sum"
	HiddenDecay Block = "hidden-decay"
	Scalar      Block = "scalar" // the scalar features of token t
	ScalarSum   Block = "scalar-sum"
	ScalarMean  Block = "scalar-mean"
	ScalarMin   Block = "scalar-min"
	ScalarMax   Block = "scalar-max"
	Length      Block = "length" // t and log(1+t), t counted from 1
	// The prompt's own states, where they are stored: their mean, and that after its last token.
	PromptMean Block = "prompt-mean"
	PromptLast Block = "prompt-last"
	// Mentions is what the prompt says of the words of the response: the sum, over the tokens so far that
	// the prompt has too, each counted once, of the prompt's state at the last place where the token
	// stands, less the mean of the prompt's states. The last place knows what became of a thing since it
	// was first named.
	Mentions Block = "mentions"
)

// halfLives are those of HiddenDecay, in tokens.
var halfLives = []float64{8, 32}

// blockOrder fixes the order of the columns in a row, whatever order the options name.
var blockOrder = []Block{Hidden, Previous, HiddenMean, HiddenMin, HiddenMax, HiddenSum, HiddenDecay, Scalar, ScalarSum, ScalarMean, ScalarMin, ScalarMax, Length, PromptMean, PromptLast, Mentions}

// defaultBlocks are those of a head that nobody chose others for.
var defaultBlocks = []Block{Hidden, HiddenMean, HiddenMin, HiddenMax, Scalar, ScalarSum, ScalarMean, ScalarMin, ScalarMax, Length}

// FeatureOptions chooses what a head sees. The zero value is all tapped layers, all
// scalars, the state and the scalars of the token, and their means and extremes.
type FeatureOptions struct {
	Layers  []int    // of the tapped layers; nil for all
	Scalars []string // of the scalar features; nil for all
	Blocks  []Block  // nil for those named above
}

// Features turns the raw data of a token, as a schema describes it, into a head's input
// row. It is read-only after New and may be shared.
type Features struct {
	schema  states.Schema
	options FeatureOptions // resolved: nothing nil
	on      map[Block]bool
	layers  [][2]int // begin and end of each chosen layer in a raw hidden row
	prompt  []promptLayer
	scalars []int // index of each chosen scalar in a raw row
	hidden  int   // floats of the chosen layers together
	width   int   // of the input row
	wide    int   // of its columns, the first: those of the layers

	promptWidth int // of the chosen layers of a prompt's row

	centre []float32 // mean state of training, [hidden], which sums leave out; nil before
}

// promptLayer is a chosen layer that the prompts' states have.
type promptLayer struct {
	from, to int // in a raw row of a prompt
	in       int // in a row of the chosen layers
}

// NewFeatures checks the options against the schema of the data.
func NewFeatures(schema states.Schema, options FeatureOptions) (*Features, error) {
	if err := schema.Validate(); err != nil {
		return nil, fmt.Errorf("valuehead: features: %w", err)
	}
	schema.Candidates = 0 // no head reads them: shards that keep none, or others, do as well
	f := &Features{schema: schema, on: make(map[Block]bool)}
	o := &f.options
	o.Layers = chosen(options.Layers, schema.Layers)
	o.Scalars = chosen(options.Scalars, schema.Scalars)
	o.Blocks = chosen(options.Blocks, defaultBlocks)
	if i := unknown(o.Layers, schema.Layers); i >= 0 {
		return nil, fault.New(op, "layers", schema.Layers, "choose {layers} from these", "features: layer %d is missing or stands twice among the tapped layers %v", o.Layers[i], schema.Layers)
	}
	if i := unknown(o.Scalars, schema.Scalars); i >= 0 {
		return nil, fmt.Errorf("valuehead: features: scalar %q is missing or stands twice among %q (choose from these)", o.Scalars[i], schema.Scalars)
	}
	if i := unknown(o.Blocks, blockOrder); i >= 0 {
		return nil, fmt.Errorf("valuehead: features: block %q is unknown or stands twice (choose from %q)", o.Blocks[i], blockOrder)
	}
	for _, layer := range o.Layers {
		w := schema.Width / len(schema.Layers)
		at := slices.Index(schema.Layers, layer) * w
		f.layers = append(f.layers, [2]int{at, at + w})
		if i := slices.Index(schema.PromptLayers, layer); i >= 0 {
			f.prompt = append(f.prompt, promptLayer{i * w, (i + 1) * w, f.hidden})
			f.promptWidth += w
		}
		f.hidden += w
	}
	for _, name := range o.Scalars {
		f.scalars = append(f.scalars, slices.Index(schema.Scalars, name))
	}
	for _, b := range o.Blocks {
		f.on[b] = true
		f.width += f.size(b)
		if b.wide() {
			f.wide += f.size(b)
		}
	}
	if f.width == 0 {
		return nil, fmt.Errorf("valuehead: features: no column is left (choose some layers, scalars or the length)")
	}
	return f, nil
}

// chosen is a copy of the choice, or of all where nothing was chosen.
func chosen[T any](choice, all []T) []T {
	if choice == nil {
		choice = all
	}
	return append([]T{}, choice...)
}

// unknown is the index of the first choice that is not among all or repeats, or -1.
func unknown[T comparable](choice, all []T) int {
	for i, c := range choice {
		if !slices.Contains(all, c) || slices.Contains(choice[:i], c) {
			return i
		}
	}
	return -1
}

// size is the number of columns of a block.
func (f *Features) size(b Block) int {
	switch {
	case b == HiddenDecay:
		return len(halfLives) * f.hidden
	case b.wide():
		return f.hidden
	case b == Length:
		return 2
	case b == PromptMean || b == PromptLast || b == Mentions:
		return f.promptWidth
	}
	return len(f.scalars)
}

// wide reports whether a block holds layers; such blocks come first in a row.
func (b Block) wide() bool {
	switch b {
	case Hidden, Previous, HiddenMean, HiddenMin, HiddenMax, HiddenSum, HiddenDecay:
		return true
	}
	return false
}

// Width is the number of floats in an input row.
func (f *Features) Width() int { return f.width }

// Schema describes the raw data that the features are made of.
func (f *Features) Schema() states.Schema { return f.schema }

// Options returns the options with every default filled in.
func (f *Features) Options() FeatureOptions { return f.options }

// equal reports whether two Features give the same rows from the same data.
func (f *Features) equal(g *Features) bool {
	return f.schema.Match(g.schema) == nil && slices.Equal(f.options.Layers, g.options.Layers) &&
		slices.Equal(f.options.Scalars, g.options.Scalars) && f.width == g.width &&
		!slices.ContainsFunc(f.options.Blocks, func(b Block) bool { return !g.on[b] })
}

// FeaturesOf are the features that suit a kind of head: Recall keeps its own memory, so
// it is shown the token alone.
func FeaturesOf(kind Kind) FeatureOptions {
	if kind == Recall {
		return FeatureOptions{Blocks: []Block{Hidden, Previous, Scalar, Length}}
	}
	return FeatureOptions{}
}

// CandidateFeatures are those of a head of kind [Recall] that scores tokens before they
// are fed: the state before the token and the scalars known by then.
func CandidateFeatures(schema states.Schema) FeatureOptions {
	known := slices.DeleteFunc(slices.Clone(schema.Scalars), func(name string) bool { return strings.HasPrefix(name, nextPrefix) })
	return FeatureOptions{Scalars: known, Blocks: []Block{Previous, Scalar, Length}}
}

// nextPrefix begins the names of scalars that are known only after the token was fed.
const nextPrefix = "next-"

// ahead reports whether rows can be made before their token is fed.
func (f *Features) ahead() bool {
	for _, b := range []Block{Hidden, HiddenMean, HiddenMin, HiddenMax, HiddenSum, HiddenDecay, Mentions} {
		if f.on[b] {
			return false
		}
	}
	return !slices.ContainsFunc(f.options.Scalars, func(name string) bool { return strings.HasPrefix(name, nextPrefix) })
}

// centred reports whether rows leave the mean state of training out.
func (f *Features) centred() bool { return f.on[HiddenSum] || f.on[HiddenDecay] }

// withCentre is f with that mean.
func (f *Features) withCentre(mean []float32) *Features {
	g := *f
	g.centre = mean
	return &g
}

// readsPrompt reports whether rows hold states of the prompt.
func (f *Features) readsPrompt() bool {
	return (f.on[PromptMean] || f.on[PromptLast] || f.on[Mentions]) && f.promptWidth > 0
}

// promptColumns are the mean and the last of a prompt's states, [2][promptWidth].
func (f *Features) promptColumns(p *states.Prompt) []float32 {
	rows := f.appendPrompt(nil, p)
	return append(f.promptMean(p), rows[len(rows)-f.promptWidth:]...)
}

// appendPrompt appends the chosen layers of a prompt's states to dst, [P][promptWidth].
func (f *Features) appendPrompt(dst []float32, p *states.Prompt) []float32 {
	w := f.schema.PromptWidth()
	for at := 0; at < len(p.Hidden); at += w {
		for _, l := range f.prompt {
			dst = append(dst, p.Hidden[at+l.from:at+l.to]...)
		}
	}
	return dst
}

// like gives, for every column of a prompt's row, the column of a response's row that holds
// the same number of a state; nil where rows hold no states as they are.
func (f *Features) like() []int {
	if !f.on[Hidden] && !f.on[Previous] { // the first columns of a row
		return nil
	}
	var out []int
	for _, l := range f.prompt {
		for i := range l.to - l.from {
			out = append(out, l.in+i)
		}
	}
	return out
}

// lastOfPrompt is the state after the prompt's last token as a response's own row of
// chosen layers, zero where the prompt's states lack a layer.
func (f *Features) lastOfPrompt(p *states.Prompt) []float32 {
	out := make([]float32, f.hidden)
	last := p.Hidden[len(p.Hidden)-f.schema.PromptWidth():]
	for _, l := range f.prompt {
		copy(out[l.in:], last[l.from:l.to])
	}
	return out
}
