// Package head scores conversations with a reward head: a small network that reads states of a
// language model, its trunk, and says how good the last answer is. Heads come from checkpoints
// that were trained elsewhere ([Import]) or are learned from preferences, and are files of their own
// beside the trunk's GGUF, for llama.cpp serves no such head. The package knows nothing of how
// answers come about, nor of other rewards.
package head

import (
	"fmt"
	"math"
	"slices"
)

// Head is a reward head. It reads states of a conversation in the trunk's chat template.
type Head struct {
	Trunk   Trunk
	Reading Reading // the state after the final norm at the last token, unless it says otherwise
	// Layers follow each other with max(0, x) between them; the last one gives the outputs.
	Layers []Layer
	Gate   *Gate // how several outputs become one; nil of one output
	// Padding are tokens that do not count at the end of a conversation: the head reads the state at
	// the last other one.
	Padding []int32
	// Prefixes says that it was trained to judge answers that are not finished, too.
	Prefixes bool
	Source   string // what it was made from, for people
}

// Trunk is the model whose states a head reads, as far as that is known.
type Trunk struct {
	Architecture string // llama.cpp's name for it; "" where it is not known
	Width        int    // of a state
	Vocabulary   int    // tokens; 0 where it is not known
	Template     string // the chat template that the head was trained with; "" for that of the trunk's file
	// Norm are the gains of the final norm, [Width], which tell the trunk from the model that it was
	// fine-tuned from: quantization leaves them as they are. nil where they are not known.
	Norm []float32
}

// Layer is W x + b.
type Layer struct {
	In, Out int
	Weight  []float32 // [Out][In]
	Bias    []float32 // [Out]; nil without
}

// Gate weights the outputs by a network of its own, which reads the state at the prompt's last
// token (arXiv 2406.12845): the reward is the sum over the outputs of
//
//	Scale * softmax(Layers(state of the prompt) / Temperature) * output
type Gate struct {
	Layers             []Layer
	Temperature, Scale float64
}

// Reward is the reward of an answer by the states that the head reads of it. It is computed in double
// precision, but for what a recall head says.
func (h *Head) Reward(s States) (float64, error) {
	pooled, err := h.Reading.pool(s, h.Reading.width(h.Trunk))
	if err != nil {
		return 0, err
	}
	out := run(h.Layers, pooled)
	if h.Gate == nil {
		return out[0], nil
	}
	weights := run(h.Gate.Layers, wide(s.Gate))
	most := slices.Max(weights)
	sum, r := 0.0, 0.0
	for i, w := range weights {
		w = math.Exp((w - most) / h.Gate.Temperature)
		sum += w
		r += w * out[i]
	}
	return h.Gate.Scale * r / sum, nil
}

// run is the output of layers.
func run(layers []Layer, x []float64) []float64 {
	for k, l := range layers {
		y := make([]float64, l.Out)
		for i := range y {
			row := l.Weight[i*l.In : (i+1)*l.In]
			for j, w := range row {
				y[i] += float64(w) * x[j]
			}
			if l.Bias != nil {
				y[i] += float64(l.Bias[i])
			}
			if k < len(layers)-1 {
				y[i] = max(0, y[i])
			}
		}
		x = y
	}
	return x
}

func wide(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// check finds what does not fit in a head.
func (h *Head) check() error {
	if h.Trunk.Width < 1 || h.Trunk.Norm != nil && len(h.Trunk.Norm) != h.Trunk.Width {
		return fmt.Errorf("its trunk's width is %d, and its norm's %d", h.Trunk.Width, len(h.Trunk.Norm))
	}
	pooled, err := h.Reading.check(h.Trunk)
	if err != nil {
		return err
	}
	outputs, err := chain(h.Layers, pooled)
	if err != nil {
		return err
	}
	if h.Gate != nil && (h.Reading.Layers != nil || !h.Reading.one()) {
		return fmt.Errorf("it has a gate, which goes with the last token's state after the final norm alone")
	}
	if h.Gate == nil {
		if outputs != 1 {
			return fmt.Errorf("it has %d outputs and no gate", outputs)
		}
		return nil
	}
	weights, err := chain(h.Gate.Layers, h.Trunk.Width)
	if err == nil && weights != outputs {
		err = fmt.Errorf("its gate has %d weights for %d outputs", weights, outputs)
	}
	if t, s := h.Gate.Temperature, h.Gate.Scale; err == nil && (!(t > 0) || math.IsInf(t, 1) || s-s != 0) {
		err = fmt.Errorf("its gate has temperature %v and scale %v", t, s)
	}
	return err
}

// chain is the number of outputs of layers that read a state of some width.
func chain(layers []Layer, width int) (int, error) {
	if len(layers) == 0 {
		return 0, fmt.Errorf("it has no layers")
	}
	for i, l := range layers {
		if l.In != width || l.Out < 1 || len(l.Weight) != l.In*l.Out || l.Bias != nil && len(l.Bias) != l.Out {
			return 0, fmt.Errorf("layer %d is of shape [%d %d] with %d weights and %d biases, and reads %d numbers", i, l.Out, l.In, len(l.Weight), len(l.Bias), width)
		}
		width = l.Out
	}
	return width, nil
}
