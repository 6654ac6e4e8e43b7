// Package train trains small Llama-architecture models on the CPU, from scratch or from
// the weights of a GGUF file: forward and backward written by hand over [blas.Gemm],
// data-parallel over goroutines, and a GGUF file that llama.cpp loads. One trainer serves
// all that is learned: a loss is a function of what a document scores, or of by how much the
// better of two documents scores more ([Run], [TrainValue], [TrainReward], [TrainPolicy]). A run is a
// function of its options, data and seed alone: the number of workers and
// interruptions do not change a bit of it. The package does not link llama.cpp.
//
// The architecture is llama.cpp's "llama": RMS norm before attention and feed-forward
// (Zhang and Sennrich 2019), rotary positions over interleaved pairs (Su et al. 2021),
// attention whose queries share keys and values in groups (Ainslie et al. 2023), SwiGLU
// (Shazeer 2020), no biases.
package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
)

// Config is the shape of a model.
type Config struct {
	Vocab   int     // tokens
	Width   int     // of the residual stream
	Layers  int     // transformer blocks
	Heads   int     // attention heads
	KV      int     `json:",omitempty"` // heads of keys and values, each shared by Heads/KV others; 0 means Heads
	FF      int     // width of the feed-forward layer
	Context int     // most positions a document may take
	Tied    bool    // the output matrix is the token embedding
	Outputs int     // classes that the output matrix tells apart; 0 means the tokens
	Theta   float32 // base of the rotary frequencies; 0 means 10000
	Eps     float32 // of the RMS norms; 0 means 1e-5
}

func (c Config) withDefaults() Config {
	if c.Theta == 0 {
		c.Theta = 10000
	}
	if c.Eps == 0 {
		c.Eps = 1e-5
	}
	if c.Outputs == 0 {
		c.Outputs = c.Vocab
	}
	if c.KV == 0 {
		c.KV = c.Heads
	}
	return c
}

// FineTuneRate is a peak learning rate for all weights of a model of this size, or for adapters to them,
// where nothing better is known: 5e-4 up to the lab model's 1.2 million (docs/log.md), falling to about
// 2e-5 at 135 million, which is what the field uses at that size; of adapters four times as much.
func (c Config) FineTuneRate(adapters bool) float64 {
	rate := 5e-4 * min(1, math.Pow(1.25e6/float64(c.Params()), 2./3))
	if adapters {
		rate *= 4
	}
	return rate
}

// head is the size of a head, kv the width of all keys, qkv that of queries, keys and values.
func (c Config) head() int { return c.Width / c.Heads }
func (c Config) kv() int   { return c.KV * c.head() }
func (c Config) qkv() int  { return c.Width + 2*c.kv() }

func (c Config) check() error {
	switch {
	case c.Vocab <= 0 || c.Width <= 0 || c.Layers <= 0 || c.Heads <= 0 || c.FF <= 0 || c.Context <= 0:
		return fmt.Errorf("train: %+v: set vocab, width, layers, heads, ff and context to at least 1", c)
	case c.Width%(2*c.Heads) != 0:
		return fmt.Errorf("train: width %d does not split into %d heads of even size: choose a multiple of %d", c.Width, c.Heads, 2*c.Heads)
	case c.KV < 0 || c.KV > c.Heads || c.Heads%c.KV != 0:
		return fmt.Errorf("train: %d heads do not share the keys and values of %d: choose a divisor", c.Heads, c.KV)
	case c.Outputs < 0 || c.Outputs > c.Vocab || (c.Tied && c.Outputs != c.Vocab):
		return fmt.Errorf("train: %d outputs for %d tokens: choose at most as many, and an output matrix of its own for fewer", c.Outputs, c.Vocab)
	case !(c.Theta > 0 && c.Eps > 0):
		return fmt.Errorf("train: rope base %v and norm epsilon %v must be positive", c.Theta, c.Eps)
	}
	return nil
}

// Params is the number of parameters.
func (c Config) Params() int {
	n, c := 0, c.withDefaults()
	for _, t := range c.tensors() {
		n += t.rows * t.cols
	}
	return n
}

const outputName = "output.weight"

// tensor is one parameter: a matrix [rows][cols], or the gain of a norm (rows 1).
// name is llama.cpp's.
type tensor struct {
	name       string
	rows, cols int
	std        float64 // of the initial values; 0 for a gain, which starts at 1
}

func (t tensor) gain() bool { return t.std == 0 }

// tensors lists the parameters in the order in which they lie in the flat vector.
// Those multiplied with the same input are neighbours: one product does q, k and v,
// one does gate and up.
func (c Config) tensors() []tensor {
	// Queries and keys start small, so that attention starts out even: a head then sees
	// every position and finds what is worth attending to. With embeddings as large as
	// this, circuits that copy from the prompt form several times sooner than with
	// GPT-2's 0.02 (docs/log.md). What is added to the residual stream starts smaller
	// with depth, as in GPT-2.
	const std = .1
	output := std
	if c.Outputs == 1 {
		output = 1e-3 // a score starts near 0 on any states
	}
	in := 1 / math.Sqrt(float64(c.Width))
	add := func(cols int) float64 { return 1 / math.Sqrt(float64(2*c.Layers*cols)) }
	out := []tensor{{"token_embd.weight", c.Vocab, c.Width, std}}
	for l := range c.Layers {
		name := func(s string) string { return fmt.Sprintf("blk.%d.%s.weight", l, s) }
		out = append(out,
			tensor{name("attn_norm"), 1, c.Width, 0},
			tensor{name("attn_q"), c.Width, c.Width, in / 4},
			tensor{name("attn_k"), c.kv(), c.Width, in / 4},
			tensor{name("attn_v"), c.kv(), c.Width, in},
			tensor{name("attn_output"), c.Width, c.Width, add(c.Width)},
			tensor{name("ffn_norm"), 1, c.Width, 0},
			tensor{name("ffn_gate"), c.FF, c.Width, in},
			tensor{name("ffn_up"), c.FF, c.Width, in},
			tensor{name("ffn_down"), c.Width, c.FF, add(c.FF)})
	}
	out = append(out, tensor{"output_norm.weight", 1, c.Width, 0})
	if !c.Tied {
		out = append(out, tensor{outputName, c.Outputs, c.Width, output})
	}
	return out
}

// weights are views into a flat vector of parameters, or of their gradients.
type weights struct {
	embd      []float32 // [Vocab][Width]
	layers    []layer
	norm, out []float32 // [Width]; [Outputs][Width], the same as embd when tied
}

type layer struct {
	attnNorm []float32 // [Width]
	qkv      []float32 // [Width+2*kv][Width]
	attnOut  []float32 // [Width][Width]
	ffnNorm  []float32 // [Width]
	gateUp   []float32 // [2*FF][Width]
	down     []float32 // [Width][FF]
}

func (c Config) view(flat []float32) weights {
	cut := func(n int) (v []float32) {
		v, flat = flat[:n:n], flat[n:]
		return v
	}
	w := weights{embd: cut(c.Vocab * c.Width)}
	for range c.Layers {
		w.layers = append(w.layers, layer{
			attnNorm: cut(c.Width),
			qkv:      cut(c.qkv() * c.Width),
			attnOut:  cut(c.Width * c.Width),
			ffnNorm:  cut(c.Width),
			gateUp:   cut(2 * c.FF * c.Width),
			down:     cut(c.Width * c.FF),
		})
	}
	w.norm, w.out = cut(c.Width), w.embd
	if !c.Tied {
		w.out = cut(c.Outputs * c.Width)
	}
	return w
}

// Model is a set of parameters.
type Model struct {
	Config  Config
	params  []float32 // in the order of tensors
	adapted *learned  // the adapters by which they were made from those of another model, nil without
}

// New makes a model with random weights, the same ones for the same seed. Large
// ones are quick too: benchmarks use them.
func New(cfg Config, seed uint64) (*Model, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Model{Config: cfg, params: random(cfg.tensors(), seed)}, nil
}

// random are initial values of tensors, one after another.
func random(tensors []tensor, seed uint64) []float32 {
	total := 0
	for _, t := range tensors {
		total += t.rows * t.cols
	}
	flat := make([]float32, total)
	var views [][]float32
	rest := flat
	for _, t := range tensors {
		views, rest = append(views, rest[:t.rows*t.cols]), rest[t.rows*t.cols:]
	}
	parallel(runtime.GOMAXPROCS(0), len(tensors), func(_, i int) {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		width := float32(2 * math.Sqrt(3) * tensors[i].std) // of the uniform distribution with that deviation
		for j := range views[i] {
			if views[i][j] = 1; !tensors[i].gain() {
				views[i][j] = (r.Float32() - .5) * width
			}
		}
	})
	return flat
}
