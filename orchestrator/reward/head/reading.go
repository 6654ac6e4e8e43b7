package head

import (
	"fmt"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Pooling says how the states of an answer's tokens become one.
type Pooling string

const (
	Last      Pooling = "last token" // the state at the conversation's last token; also the empty Pooling
	Mean      Pooling = "mean"       // of the states after each token of the answer
	Sum       Pooling = "sum"        // of these and of a 1 behind each, over Reading.Longest
	Attention Pooling = "attention"  // their mean, weighted by softmax(Reading.Query . state)
	Recall    Pooling = "recall"     // what Reading.Recall says after the last token, a single number
	// Mentions is Sum, and behind it what the prompt says of the answer's tokens, [valuehead.SumOfMentions] over
	// Reading.Longest.
	Mentions Pooling = "mentions"
)

// Embeddings is the layer below the first: a token's embedding as it is stored, for which nothing is
// computed. It is read alone.
const Embeddings = -1

// Reading says which states of the trunk a head reads and how those after the tokens of an answer,
// with what ends its turn, become one. The zero value is the state after the final norm at the last
// token.
type Reading struct {
	// Layers are the trunk's layers whose states lie side by side: 0 is the output of the first, the
	// trunk's number of layers the state after the final norm, or [Embeddings] alone. nil stands for the
	// state after the final norm.
	Layers  []int
	Pooling Pooling
	Longest int       // tokens of an answer by which sums are divided, so that they stay in range
	Query   []float32 // of Attention, [width]
	// Each is a layer that every state goes through before they are pooled, with max(0, x) behind it;
	// nil for none. What attends are the states themselves.
	Each *Layer
	// Recall is a value head that reads the answer token by token and looks back at the prompt's own
	// states, which the layers give, too.
	Recall *valuehead.Head
}

// Schema describes the states of some layers for heads that look back at the prompt.
func Schema(layers []int, width int) states.Schema {
	return states.Schema{Layers: layers, Width: len(layers) * width, Prompts: true, PromptLayers: layers}
}

// embeddings says whether nothing is computed of the trunk.
func (r Reading) embeddings() bool { return len(r.Layers) == 1 && r.Layers[0] == Embeddings }

// one says whether a single state is read.
func (r Reading) one() bool { return r.Pooling == "" || r.Pooling == Last }

// sums says whether states are summed up.
func (r Reading) sums() bool { return r.Pooling == Sum || r.Pooling == Mentions }

// LooksBack says whether the states of the prompt are read, too.
func (r Reading) LooksBack() bool { return r.Pooling == Recall || r.Pooling == Mentions }

// width is that of a state.
func (r Reading) width(t Trunk) int { return max(1, len(r.Layers)) * t.Width }

// pool makes one state of n, [n][width].
func (r Reading) pool(s States, width int) ([]float64, error) {
	if r.Pooling == Recall {
		worth, err := r.Recall.Worth(valuehead.Example{Trajectory: &states.Trajectory{Tokens: s.Tokens, Hidden: s.Hidden}, Prompt: s.Prompt})
		return []float64{float64(worth)}, err
	}
	n := len(s.Hidden) / width
	row := func(i int) []float64 {
		x := wide(s.Hidden[i*width : (i+1)*width])
		if r.Each != nil {
			x = run([]Layer{*r.Each}, x)
			for j, v := range x {
				x[j] = max(0, v)
			}
		}
		return x
	}
	if r.one() {
		return row(n - 1), nil
	}
	weights := make([]float64, n)
	switch r.Pooling {
	case Sum, Mentions:
		for i := range weights {
			weights[i] = 1 / float64(r.Longest)
		}
	case Mean:
		for i := range weights {
			weights[i] = 1 / float64(n)
		}
	case Attention:
		for i := range weights {
			for j, q := range r.Query {
				weights[i] += float64(q) * float64(s.Hidden[i*width+j])
			}
		}
		most, sum := slices.Max(weights), 0.0
		for i, w := range weights {
			weights[i] = math.Exp(w - most)
			sum += weights[i]
		}
		for i := range weights {
			weights[i] /= sum
		}
	}
	var pooled []float64
	for i, w := range weights {
		x := row(i)
		if pooled == nil {
			pooled = make([]float64, len(x))
		}
		for j, v := range x {
			pooled[j] += w * v
		}
	}
	if r.sums() {
		pooled = append(pooled, float64(n)/float64(r.Longest))
	}
	if r.Pooling == Mentions {
		for _, v := range valuehead.SumOfMentions(s.Prompt, s.Tokens) {
			pooled = append(pooled, float64(v)/float64(r.Longest))
		}
	}
	return pooled, nil
}

// check finds what does not fit, and says how wide the pooled state is.
func (r Reading) check(t Trunk) (pooled int, err error) {
	width := r.width(t)
	if r.Layers != nil && len(r.Layers) == 0 {
		return 0, fmt.Errorf("it reads no layers")
	}
	for i, l := range r.Layers {
		if l < 0 && !r.embeddings() || slices.Contains(r.Layers[:i], l) {
			return 0, fmt.Errorf("it reads the layers %v", r.Layers)
		}
	}
	if (r.Query != nil) != (r.Pooling == Attention) || r.Query != nil && len(r.Query) != width {
		return 0, fmt.Errorf("its query has %d numbers for %q of states of %d", len(r.Query), r.Pooling, width)
	}
	if (r.Longest > 0) != r.sums() || r.Longest < 0 {
		return 0, fmt.Errorf("its longest answer has %d tokens for %q", r.Longest, r.Pooling)
	}
	if (r.Recall != nil) != (r.Pooling == Recall) || r.Recall != nil && (r.embeddings() || r.Each != nil) {
		return 0, fmt.Errorf("it pools by %q, and has a value head for that: %t", r.Pooling, r.Recall != nil)
	}
	if r.Pooling == Mentions && (r.embeddings() || r.Each != nil) {
		return 0, fmt.Errorf("it reads the prompt's states of the layers %v, with a layer on each: %t", r.Layers, r.Each != nil)
	}
	if r.Recall != nil { // whatever model its states are of
		if err := Schema(r.Layers, t.Width).Match(r.Recall.Features().Schema()); err != nil {
			return 0, fmt.Errorf("its value head reads other states: %w", err)
		}
	}
	if r.Layers == nil && !r.one() {
		return 0, fmt.Errorf("it pools by %q and names no layers", r.Pooling)
	}
	if r.Each != nil {
		if width, err = chain([]Layer{*r.Each}, width); err != nil {
			return 0, err
		}
	}
	switch r.Pooling {
	case "", Last, Mean, Attention:
		return width, nil
	case Recall:
		return 1, nil
	case Sum:
		return width + 1, nil
	case Mentions:
		return width + 1 + width, nil
	}
	return 0, fmt.Errorf("it pools by %q", r.Pooling)
}
