package train

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// arch is the architecture that is trained.
const arch = "llama"

// Read takes the weights of a GGUF model to train on with. weights gives a tensor of the file
// as numbers, whatever type it is stored as; nil reads F32 and F16 alone. What the package does
// not compute is refused: other architectures, biases, mixtures of experts, scaled positions.
func Read(f *gguf.File, weights func(tensor string) ([]float32, error)) (*Model, error) {
	c, err := Trainable(f)
	if err != nil {
		return nil, err
	}
	if weights == nil {
		weights = f.ReadF32
	}
	m := &Model{Config: c, params: make([]float32, 0, c.Params())}
	for _, t := range c.tensors() {
		data, err := weights(t.name)
		if err != nil {
			return nil, err
		}
		if len(data) != t.rows*t.cols {
			return nil, &gguf.Error{Path: f.Path, Msg: fmt.Sprintf("%s has %d values, not %d x %d", t.name, len(data), t.rows, t.cols), Hint: "the file is damaged: download or write it again"}
		}
		m.params = append(m.params, data...)
	}
	return m, nil
}

// Trainable is the shape of a GGUF model that [Read] takes, or why it does not.
func Trainable(f *gguf.File) (Config, error) {
	refuse := func(format string, args ...any) (Config, error) {
		return Config{}, &gguf.Error{Path: f.Path, Msg: fmt.Sprintf(format, args...),
			Hint: "what can be trained are models of the plain llama architecture: no biases, no experts, no scaled positions"}
	}
	if a := f.Str("general.architecture"); a != arch {
		return refuse("the architecture is %q", a)
	}
	stored := map[string]gguf.TensorInfo{}
	for _, part := range f.Parts() {
		for _, t := range part.Tensors {
			stored[t.Name] = t
		}
	}
	c, err := shape(f, stored)
	if err != nil {
		return refuse("%v", err)
	}
	for _, t := range c.tensors() {
		if err := t.check(stored); err != nil {
			return refuse("%v", err)
		}
		delete(stored, t.name)
	}
	for name := range stored {
		switch {
		case strings.HasSuffix(name, ".bias"):
			return refuse("it has biases (%s)", name)
		case strings.Contains(name, "rope_"):
			return refuse("positions are scaled (%s)", name)
		}
		return refuse("it has a tensor %s", name)
	}
	return c, nil
}

// shape reads a model's shape from its metadata.
func shape(f *gguf.File, stored map[string]gguf.TensorInfo) (Config, error) {
	number := func(key string) int {
		n, _ := f.Int(arch + "." + key)
		return int(n)
	}
	real := func(key string) float32 {
		x, _ := f.Float(arch + "." + key)
		return float32(x)
	}
	_, untied := stored[outputName]
	c := Config{
		Width: number("embedding_length"), Layers: number("block_count"), FF: number("feed_forward_length"), Context: number("context_length"),
		Heads: number("attention.head_count"), KV: number("attention.head_count_kv"),
		Tied: !untied, Theta: real("rope.freq_base"), Eps: real("attention.layer_norm_rms_epsilon"),
	}
	if t := stored["token_embd.weight"]; len(t.Shape) == 2 {
		c.Vocab = int(t.Shape[1])
	}
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return c, err
	}
	if c.Layers > len(stored) {
		return c, fmt.Errorf("it has %d layers and %d tensors", c.Layers, len(stored))
	}
	if n := number("expert_count"); n > 0 {
		return c, fmt.Errorf("it is a mixture of %d experts", n)
	}
	if s := f.Str(arch + ".rope.scaling.type"); s != "" && s != "none" {
		return c, fmt.Errorf("positions are scaled (%s)", s)
	}
	if s := real("rope.scale_linear"); s != 0 && s != 1 {
		return c, fmt.Errorf("positions are scaled (by %v)", s)
	}
	for _, key := range []string{"attention.key_length", "attention.value_length", "rope.dimension_count"} {
		if n := number(key); n != 0 && n != c.head() {
			return c, fmt.Errorf("%s is %d, not the %d of %d heads in a width of %d", key, n, c.head(), c.Heads, c.Width)
		}
	}
	return c, nil
}

// check holds a tensor against the one of its name in a file.
func (t tensor) check(stored map[string]gguf.TensorInfo) error {
	want := []uint64{uint64(t.cols), uint64(t.rows)}
	if t.gain() {
		want = want[:1]
	}
	switch info, ok := stored[t.name]; {
	case !ok:
		return fmt.Errorf("it has no tensor %s", t.name)
	case !slices.Equal(info.Shape, want):
		return fmt.Errorf("%s is of shape %d, not %d", t.name, info.Shape, want)
	}
	return nil
}

// copyFrom takes over the weights of a model whose layers have the same shapes. An
// output matrix of another number of classes stays as it is.
func (m *Model) copyFrom(from *Model) error {
	trunk := func(c Config) Config {
		c.Context, c.Tied, c.Outputs = 0, false, 0
		return c
	}
	a, b := m.Config, from.Config
	if trunk(a) != trunk(b) {
		return fmt.Errorf("train: the model to start from is %+v, the one to train %+v: choose the same shape", b, a)
	}
	n := len(m.params)
	if !a.Tied {
		n -= a.Outputs * a.Width
		if !b.Tied && a.Outputs == b.Outputs {
			n = len(m.params)
		}
	}
	copy(m.params[:n], from.params)
	return nil
}
