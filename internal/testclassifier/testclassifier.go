// Package testclassifier writes classifiers for tests, small and random, in the layouts that llama.cpp
// loads with a head: BERT and Qwen3.
package testclassifier

import (
	"math"
	"math/rand/v2"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

const (
	width, heads, layers, hidden = 32, 4, 2, 64
	eps                          = 1e-6
	// Context is the number of tokens that the models have learned.
	Context = 64
)

// weights are a model's tensors by name, as they are made.
type weights struct {
	rng     *rand.Rand
	tensors []gguf.Tensor
}

// add makes a tensor of normal numbers, of a deviation that keeps states of about one; norms lie around 1.
func (w *weights) add(name string, shape ...uint64) []float32 {
	n := uint64(1)
	for _, d := range shape {
		n *= d
	}
	data := make([]float32, n)
	for i := range data {
		switch x := w.rng.NormFloat64(); {
		case strings.HasSuffix(name, "norm.weight"):
			data[i] = float32(1 + x/5)
		case len(shape) == 1:
			data[i] = float32(x / 5)
		default:
			data[i] = float32(x / math.Sqrt(float64(shape[0])))
		}
	}
	w.tensors = append(w.tensors, gguf.Tensor{Name: name, Shape: shape, Data: data})
	return data
}

// Words are BERT's, each a token.
var Words = []string{"the", "film", "was", "good", "bad", "dull", "and", "very", "a", "joy"}

// BERT writes a classifier of the BERT kind, with labels or without any, of one class. dense puts the
// layer with tanh before its outputs. types is the number of kinds of text it was trained with. scores are
// what it says of tokens, in double precision.
func BERT(path string, labels []string, dense bool, types int) (scores func(tokens []int32) []float64, err error) {
	tokens := []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
	kinds := []int32{3, 3, 3, 3, 3}
	for _, word := range Words {
		tokens, kinds = append(tokens, "▁"+word), append(kinds, 1)
	}
	n, classes := uint64(len(tokens)), uint64(max(1, len(labels)))
	kvs := []gguf.KV{
		{Key: "general.architecture", Value: "bert"},
		{Key: "bert.context_length", Value: uint32(Context)},
		{Key: "bert.embedding_length", Value: uint32(width)},
		{Key: "bert.block_count", Value: uint32(layers)},
		{Key: "bert.feed_forward_length", Value: uint32(hidden)},
		{Key: "bert.attention.head_count", Value: uint32(heads)},
		{Key: "bert.attention.layer_norm_epsilon", Value: float32(eps)},
		{Key: "bert.attention.causal", Value: false},
		{Key: "tokenizer.ggml.model", Value: "bert"},
		{Key: "tokenizer.ggml.token_type_count", Value: uint32(types)},
		{Key: "tokenizer.ggml.tokens", Value: tokens},
		{Key: "tokenizer.ggml.token_type", Value: kinds},
		{Key: "tokenizer.ggml.padding_token_id", Value: uint32(0)},
		{Key: "tokenizer.ggml.unknown_token_id", Value: uint32(1)},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(2)},
		{Key: "tokenizer.ggml.cls_token_id", Value: uint32(2)},
		{Key: "tokenizer.ggml.seperator_token_id", Value: uint32(3)},
		{Key: "tokenizer.ggml.mask_token_id", Value: uint32(4)},
	}
	if labels != nil {
		kvs = append(kvs, gguf.KV{Key: "bert.classifier.output_labels", Value: labels})
	}
	w := &weights{rng: rand.New(rand.NewPCG(11, uint64(len(labels))))}
	embedding, kind, position := w.add("token_embd.weight", width, n), w.add("token_types.weight", width, uint64(types)), w.add("position_embd.weight", width, Context)
	type norm struct{ gain, bias []float32 }
	normOf := func(name string) norm { return norm{w.add(name+".weight", width), w.add(name+".bias", width)} }
	first := normOf("token_embd_norm")
	type layer struct {
		weight, bias []float32
		in, out      int
	}
	layerOf := func(name string, in, out uint64) layer {
		return layer{w.add(name+".weight", in, out), w.add(name+".bias", out), int(in), int(out)}
	}
	type block struct {
		q, k, v, o, up, down layer
		attention, output    norm
	}
	var blocks []block
	for i := range layers {
		b := "blk." + string(rune('0'+i)) + "."
		blocks = append(blocks, block{
			layerOf(b+"attn_q", width, width), layerOf(b+"attn_k", width, width), layerOf(b+"attn_v", width, width), layerOf(b+"attn_output", width, width),
			layerOf(b+"ffn_up", width, hidden), layerOf(b+"ffn_down", hidden, width), normOf(b + "attn_output_norm"), normOf(b + "layer_output_norm"),
		})
	}
	var before *layer
	if dense {
		l := layerOf("cls", width, width)
		before = &l
	}
	last := layerOf("cls.output", width, classes)

	apply := func(l layer, x []float64) []float64 {
		y := make([]float64, l.out)
		for i := range y {
			y[i] = float64(l.bias[i])
			for j, v := range x {
				y[i] += float64(l.weight[i*l.in+j]) * v
			}
		}
		return y
	}
	normalize := func(n norm, x []float64) []float64 {
		mean, variance := 0.0, 0.0
		for _, v := range x {
			mean += v / width
		}
		for _, v := range x {
			variance += (v - mean) * (v - mean) / width
		}
		y := make([]float64, width)
		for i, v := range x {
			y[i] = (v-mean)/math.Sqrt(variance+eps)*float64(n.gain[i]) + float64(n.bias[i])
		}
		return y
	}
	add := func(a, b []float64) []float64 {
		y := make([]float64, len(a))
		for i := range y {
			y[i] = a[i] + b[i]
		}
		return y
	}
	scores = func(tokens []int32) []float64 {
		x := make([][]float64, len(tokens))
		for i, t := range tokens {
			x[i] = make([]float64, width)
			for j := range width {
				x[i][j] = float64(embedding[int(t)*width+j]) + float64(kind[j]) + float64(position[i*width+j])
			}
			x[i] = normalize(first, x[i])
		}
		for _, b := range blocks {
			var q, k, v [][]float64
			for _, s := range x {
				q, k, v = append(q, apply(b.q, s)), append(k, apply(b.k, s)), append(v, apply(b.v, s))
			}
			const d = width / heads
			for i := range x {
				mixed := make([]float64, width)
				for h := range heads {
					p, sum := make([]float64, len(x)), 0.0
					for j := range x {
						for c := h * d; c < (h+1)*d; c++ {
							p[j] += q[i][c] * k[j][c] / math.Sqrt(d)
						}
						p[j] = math.Exp(p[j])
						sum += p[j]
					}
					for j := range x {
						for c := h * d; c < (h+1)*d; c++ {
							mixed[c] += p[j] / sum * v[j][c]
						}
					}
				}
				x[i] = normalize(b.attention, add(x[i], apply(b.o, mixed)))
			}
			for i := range x {
				up := apply(b.up, x[i])
				for c, v := range up {
					up[c] = v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
				}
				x[i] = normalize(b.output, add(x[i], apply(b.down, up)))
			}
		}
		state := x[0]
		if before != nil {
			state = apply(*before, state)
			for i, v := range state {
				state[i] = math.Tanh(v)
			}
		}
		return apply(last, state)
	}
	return scores, gguf.Write(path, kvs, w.tensors)
}

// Qwen3 writes a classifier of the Qwen3 kind with the vocabulary of another model's file, and a second file of the same
// model without its head. head is that, [class][width]: the state after the final norm at the last token is
// what it reads.
func Qwen3(path, trunk, vocabulary string, labels []string) (head [][]float32, err error) {
	from, err := gguf.ReadModel(vocabulary)
	if err != nil {
		return nil, err
	}
	kvs := []gguf.KV{
		{Key: "general.architecture", Value: "qwen3"},
		{Key: "qwen3.context_length", Value: uint32(2 * Context)},
		{Key: "qwen3.embedding_length", Value: uint32(width)},
		{Key: "qwen3.block_count", Value: uint32(layers)},
		{Key: "qwen3.feed_forward_length", Value: uint32(hidden)},
		{Key: "qwen3.attention.head_count", Value: uint32(heads)},
		{Key: "qwen3.attention.head_count_kv", Value: uint32(heads / 2)},
		{Key: "qwen3.attention.key_length", Value: uint32(16)},
		{Key: "qwen3.attention.value_length", Value: uint32(16)},
		{Key: "qwen3.attention.layer_norm_rms_epsilon", Value: float32(eps)},
		{Key: "qwen3.rope.freq_base", Value: float32(10000)},
		{Key: "tokenizer.chat_template.rerank", Value: "query: {query}\ndocument: {document}\nanswer:"},
	}
	n := uint64(0)
	for _, kv := range from.KVs {
		if strings.HasPrefix(kv.Key, "tokenizer.") {
			kvs = append(kvs, gguf.KV{Key: kv.Key, Value: kv.Value})
		}
		if tokens, ok := kv.Value.([]string); ok && kv.Key == "tokenizer.ggml.tokens" {
			n = uint64(len(tokens))
		}
	}
	w := &weights{rng: rand.New(rand.NewPCG(12, uint64(len(labels))))}
	w.add("token_embd.weight", width, n)
	for i := range layers {
		b := "blk." + string(rune('0'+i)) + "."
		w.add(b+"attn_norm.weight", width)
		w.add(b+"attn_q.weight", width, 16*heads)
		w.add(b+"attn_k.weight", width, 16*heads/2)
		w.add(b+"attn_v.weight", width, 16*heads/2)
		w.add(b+"attn_output.weight", 16*heads, width)
		w.add(b+"attn_q_norm.weight", 16)
		w.add(b+"attn_k_norm.weight", 16)
		w.add(b+"ffn_norm.weight", width)
		w.add(b+"ffn_gate.weight", width, hidden)
		w.add(b+"ffn_up.weight", width, hidden)
		w.add(b+"ffn_down.weight", hidden, width)
	}
	w.add("output_norm.weight", width)
	if err := gguf.Write(trunk, kvs, w.tensors); err != nil {
		return nil, err
	}
	if labels != nil {
		kvs = append(kvs, gguf.KV{Key: "qwen3.classifier.output_labels", Value: labels})
	}
	classes := max(1, len(labels))
	flat := w.add("cls.output.weight", width, uint64(classes))
	for i := range classes {
		head = append(head, flat[i*width:(i+1)*width])
	}
	return head, gguf.Write(path, kvs, w.tensors)
}
