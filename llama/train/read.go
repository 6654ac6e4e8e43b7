package train

import (
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// Read takes the weights of a GGUF model to train on with: Llama's architecture as
// [Model.WriteGGUF] writes it, in F32 or F16, with keys and values for every head, no
// biases and no scaling of positions.
func Read(f *gguf.File) (*Model, error) {
	refuse := func(format string, args ...any) error {
		return &gguf.Error{Path: f.Path, Msg: fmt.Sprintf(format, args...), Hint: "only F32 and F16 models of the plain llama architecture can be trained on"}
	}
	if arch := f.Str("general.architecture"); arch != "llama" {
		return nil, refuse("the architecture is %q", arch)
	}
	number := func(key string) int {
		n, _ := f.Int("llama." + key)
		return int(n)
	}
	real := func(key string, otherwise float32) float32 {
		if x, ok := f.Value("llama." + key).(float32); ok {
			return x
		}
		return otherwise
	}
	has := func(name string) bool {
		return slices.ContainsFunc(f.Tensors, func(t gguf.TensorInfo) bool { return t.Name == name })
	}
	c := Config{
		Width: number("embedding_length"), Layers: number("block_count"), Heads: number("attention.head_count"), FF: number("feed_forward_length"),
		Context: number("context_length"), Tied: !has(outputName), Theta: real("rope.freq_base", 10000), Eps: real("attention.layer_norm_rms_epsilon", 1e-5),
	}
	for _, t := range f.Tensors {
		if t.Name == "token_embd.weight" && len(t.Shape) == 2 {
			c.Vocab = int(t.Shape[1])
		}
	}
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, refuse("%v", err)
	}
	switch kv := number("attention.head_count_kv"); {
	case kv != 0 && kv != c.Heads:
		return nil, refuse("%d heads share the keys and values of %d", c.Heads, kv)
	case f.Str("llama.rope.scaling.type") != "" && f.Str("llama.rope.scaling.type") != "none":
		return nil, refuse("positions are scaled (%s)", f.Str("llama.rope.scaling.type"))
	case number("rope.dimension_count") != 0 && number("rope.dimension_count") != c.Width/c.Heads:
		return nil, refuse("%d of %d dimensions of a head are rotated", number("rope.dimension_count"), c.Width/c.Heads)
	}
	m := &Model{c, make([]float32, 0, c.Params())}
	tensors := c.tensors()
	for _, t := range tensors {
		if stored, ok := f.Tensor(t.name); ok && stored.Type != gguf.F32 && stored.Type != gguf.F16 {
			return nil, refuse("%s is stored as %v", t.name, stored.Type)
		}
		data, err := f.ReadF32(t.name)
		if err != nil {
			return nil, err
		}
		if len(data) != t.rows*t.cols {
			return nil, refuse("%s has %d values, not %d x %d", t.name, len(data), t.rows, t.cols)
		}
		m.params = append(m.params, data...)
	}
	if len(f.Tensors) != len(tensors) {
		return nil, refuse("it has %d tensors, not %d", len(f.Tensors), len(tensors))
	}
	return m, nil
}

// copyFrom takes over the weights of a model whose layers have the same shapes. An
// output matrix of another number of classes stays as it is.
func (m *Model) copyFrom(from *Model) error {
	a, b := m.Config, from.Config
	if a.Vocab != b.Vocab || a.Width != b.Width || a.Layers != b.Layers || a.Heads != b.Heads || a.FF != b.FF || a.Theta != b.Theta || a.Eps != b.Eps {
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
