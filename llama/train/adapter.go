package train

import (
	"fmt"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama/blas"
)

// adapterScale is what the product of an adapter is multiplied by: alpha / rank of its paper.
const adapterScale = 2

// adapter is a product of low rank that is added to a matrix W [rows][cols], whose own numbers stay
// as they are: W + adapterScale * B A (LoRA, arXiv 2106.09685).
type adapter struct {
	rows, cols, rank int
	a                []float32 // [rank][cols]
	b                []float32 // [rows][rank]
}

// layerAdapters are those of a layer; queries, keys and values share one, as do gate and up.
type layerAdapters struct{ qkv, attnOut, gateUp, down adapter }

// adapterTensors lists the numbers of all adapters as tensors lists those of the model. An output
// that is new is learned whole, and with it the norm before it, by which the model is told from
// the one that it was made from.
func (c Config) adapterTensors(rank int) (out []tensor) {
	for l := range c.Layers {
		for _, m := range []tensor{{"qkv", c.qkv(), c.Width, 1}, {"attn_output", c.Width, c.Width, 1}, {"gate_up", 2 * c.FF, c.Width, 1}, {"down", c.Width, c.FF, 1}} {
			name := fmt.Sprintf("blk.%d.%s.lora_", l, m.name)
			out = append(out, tensor{name + "a", rank, m.cols, 1 / math.Sqrt(float64(m.cols))}, tensor{name + "b", m.rows, rank, 1})
		}
	}
	if c.ownOutput() {
		tensors := c.tensors()
		out = append(out, tensors[len(tensors)-2:]...)
	}
	return out
}

// ownOutput says whether the outputs are something else than the tokens.
func (c Config) ownOutput() bool { return c.Outputs != c.Vocab }

// adapters cuts a flat vector of adapterTensors into views; norm and out are what is learned whole,
// nil where there is none.
func (c Config) adapters(flat []float32, rank int) (layers []layerAdapters, norm, out []float32) {
	cut := func(rows, cols int) adapter {
		x := adapter{rows, cols, rank, flat[:rank*cols], flat[rank*cols : rank*(cols+rows)]}
		flat = flat[rank*(cols+rows):]
		return x
	}
	for range c.Layers {
		layers = append(layers, layerAdapters{cut(c.qkv(), c.Width), cut(c.Width, c.Width), cut(2*c.FF, c.Width), cut(c.Width, c.FF)})
	}
	if c.ownOutput() {
		norm, out = flat[:c.Width], flat[c.Width:]
	}
	return layers, norm, out
}

// all are a layer's adapters beside the matrices of it.
func (x *layerAdapters) all(of *layer) ([]*adapter, [][]float32) {
	return []*adapter{&x.qkv, &x.attnOut, &x.gateUp, &x.down}, [][]float32{of.qkv, of.attnOut, of.gateUp, of.down}
}

// apply makes a matrix of the one that it adapts.
func (x *adapter) apply(from, to []float32) {
	copy(to, from)
	blas.Gemm(false, false, x.rows, x.cols, x.rank, adapterScale, x.b, x.rank, x.a, x.cols, 1, to, x.cols)
}

// back writes the adapter's gradient to g, or adds it, from that of the products dy [n][rows] of the
// matrix with x [n][cols]. The matrix's own, dy^T x, is never computed.
func (x *adapter) back(n int, in, dy []float32, g *adapter, add bool) {
	ax, by := make([]float32, n*x.rank), make([]float32, n*x.rank)
	blas.Gemm(false, true, n, x.rank, x.cols, 1, in, x.cols, x.a, x.cols, 0, ax, x.rank)
	blas.Gemm(false, false, n, x.rank, x.rows, 1, dy, x.rows, x.b, x.rank, 0, by, x.rank)
	blas.Gemm(true, false, x.rows, x.rank, n, adapterScale, dy, x.rows, ax, x.rank, keep(add), g.b, x.rank)
	blas.Gemm(true, false, x.rank, x.cols, n, adapterScale, by, x.rank, in, x.cols, keep(add), g.a, x.cols)
}

// WriteAdapter saves what a model that was trained with a Rank has learned as an adapter to the model that
// it was made from, which llama.cpp loads (llama_adapter_lora_init): F16 or F32. A new output is not in it.
func (m *Model) WriteAdapter(path string, stored gguf.TensorType, metadata []gguf.KV) error {
	l := m.adapted
	if l == nil {
		return fmt.Errorf("train: the model has no adapters: train it with a rank")
	}
	kvs := append([]gguf.KV{
		{Key: "general.type", Value: "adapter"},
		{Key: "general.architecture", Value: arch},
		{Key: "adapter.type", Value: "lora"},
		{Key: "adapter.lora.alpha", Value: float32(adapterScale * l.rank)},
	}, metadata...)
	c, rank := m.Config, uint64(l.rank)
	var tensors []gguf.Tensor
	layers, _, _ := c.adapters(l.flat, l.rank)
	for i := range layers {
		x := &layers[i]
		for _, part := range []struct {
			name       string
			of         *adapter
			from, rows int
		}{
			{"attn_q", &x.qkv, 0, c.Width}, {"attn_k", &x.qkv, c.Width, c.kv()}, {"attn_v", &x.qkv, c.Width + c.kv(), c.kv()},
			{"attn_output", &x.attnOut, 0, c.Width},
			{"ffn_gate", &x.gateUp, 0, c.FF}, {"ffn_up", &x.gateUp, c.FF, c.FF}, {"ffn_down", &x.down, 0, c.Width},
		} {
			name := fmt.Sprintf("blk.%d.%s.weight.lora_", i, part.name)
			tensors = append(tensors,
				gguf.Tensor{Name: name + "a", Shape: []uint64{uint64(part.of.cols), rank}, Type: stored, Data: part.of.a},
				gguf.Tensor{Name: name + "b", Shape: []uint64{rank, uint64(part.rows)}, Type: stored, Data: part.of.b[part.from*l.rank : (part.from+part.rows)*l.rank]})
		}
	}
	return gguf.Write(path, kvs, tensors)
}

// learned is what training moves: the numbers of a model itself, or of adapters to it.
type learned struct {
	model   *Model
	rank    int       // 0 without adapters
	base    []float32 // the model's numbers without them
	tensors []tensor
	flat    []float32
}

// learn prepares a model for training. With a rank adapters are learned, from random ones that add
// nothing yet.
func (m *Model) learn(rank int, seed uint64) *learned {
	if rank == 0 {
		return &learned{model: m, tensors: m.Config.tensors(), flat: m.params}
	}
	l := &learned{model: m, rank: rank, base: slices.Clone(m.params), tensors: m.Config.adapterTensors(rank)}
	l.flat, m.adapted = random(l.tensors, seed), l
	layers, norm, out := m.Config.adapters(l.flat, rank)
	for i := range layers {
		some, _ := layers[i].all(&layer{})
		for _, x := range some {
			clear(x.b)
		}
	}
	had := m.Config.view(m.params)
	copy(norm, had.norm)
	copy(out, had.out)
	return l
}

// apply brings the model to what was learned.
func (l *learned) apply(workers int) {
	if l.rank == 0 {
		return
	}
	c := l.model.Config
	from, to := c.view(l.base), c.view(l.model.params)
	layers, norm, out := c.adapters(l.flat, l.rank)
	copy(to.norm, norm)
	copy(to.out, out)
	parallel(workers, len(layers), func(_, i int) {
		some, had := layers[i].all(&from.layers[i])
		_, made := layers[i].all(&to.layers[i])
		for k, x := range some {
			x.apply(had[k], made[k])
		}
	})
}

// gradient is where the backward pass leaves what it finds: of all numbers of a model, or of its
// adapters and what is learned beside them, where the other slices are nil.
type gradient struct {
	weights
	adapters, of []layerAdapters // nil without; of are the adapters themselves
}

// gradient views a flat vector as the gradient of what is learned.
func (l *learned) gradient(flat []float32) gradient {
	c := l.model.Config
	if l.rank == 0 {
		return gradient{weights: c.view(flat)}
	}
	g := gradient{weights: weights{layers: make([]layer, c.Layers)}}
	g.adapters, g.norm, g.out = c.adapters(flat, l.rank)
	g.of, _, _ = c.adapters(l.flat, l.rank)
	return g
}
