package train

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

const tokenizerKey = "tokenizer.ggml.model"

// Metadata is what a model that was made from a file takes over from it: all of its metadata
// that [Model.WriteGGUF] does not write itself, such as the tokenizer and the chat template.
func Metadata(f *gguf.File) (out []gguf.KV) {
	for _, kv := range f.KVs {
		own := slices.Contains([]string{
			"general.architecture", "general.file_type", "general.quantization_version", "general.alignment",
		}, kv.Key)
		if !own && !strings.HasPrefix(kv.Key, arch+".") && !strings.HasPrefix(kv.Key, "split.") {
			out = append(out, kv)
		}
	}
	return out
}

// WriteGGUF saves the model at path as an F32 GGUF file that llama.cpp loads.
// tokenizer is metadata to add: the tokenizer.* keys and what else describes the
// model (see [Metadata]). Without it the file has a vocabulary of Vocab
// nameless tokens.
func (m *Model) WriteGGUF(path string, tokenizer []gguf.KV) error {
	return m.WriteGGUFAs(path, gguf.F32, tokenizer)
}

// WriteGGUFAs is [Model.WriteGGUF] with matrices of a type: F32, or F16, which takes half the space and
// rounds to 11 bits. Weights that F16 cannot hold are an error.
func (m *Model) WriteGGUFAs(path string, matrices gguf.TensorType, tokenizer []gguf.KV) error {
	if matrices == gguf.F16 {
		for _, x := range m.params {
			if !(math.Abs(float64(x)) <= gguf.MaxF16) {
				return fmt.Errorf("train: a weight of %v does not fit F16: write the model as F32", x)
			}
		}
	}
	c := m.Config
	kvs := []gguf.KV{
		{Key: "general.architecture", Value: arch},
		{Key: "general.file_type", Value: uint32(matrices)}, // of F32 and F16 the same numbers
		{Key: arch + ".vocab_size", Value: uint32(c.Vocab)},
		{Key: arch + ".context_length", Value: uint32(c.Context)},
		{Key: arch + ".embedding_length", Value: uint32(c.Width)},
		{Key: arch + ".block_count", Value: uint32(c.Layers)},
		{Key: arch + ".feed_forward_length", Value: uint32(c.FF)},
		{Key: arch + ".attention.head_count", Value: uint32(c.Heads)},
		{Key: arch + ".attention.head_count_kv", Value: uint32(c.KV)},
		{Key: arch + ".attention.layer_norm_rms_epsilon", Value: c.Eps},
		{Key: arch + ".rope.dimension_count", Value: uint32(c.head())},
		{Key: arch + ".rope.freq_base", Value: c.Theta},
	}
	if !slices.ContainsFunc(tokenizer, func(kv gguf.KV) bool { return kv.Key == tokenizerKey }) {
		kvs = append(kvs, gguf.KV{Key: tokenizerKey, Value: "none"})
	}
	for _, kv := range tokenizer { // of one key the last value counts
		kvs = append(slices.DeleteFunc(kvs, func(had gguf.KV) bool { return had.Key == kv.Key }), kv)
	}
	var tensors []gguf.Tensor
	rest := m.params
	for _, t := range c.tensors() {
		n := t.rows * t.cols
		data := rest[:n:n]
		rest = rest[n:]
		shape, stored := []uint64{uint64(t.cols), uint64(t.rows)}, matrices
		switch {
		case t.gain(): // llama.cpp wants them in F32
			shape, stored = shape[:1], gguf.F32
		case t.name == outputName && c.Outputs < c.Vocab: // llama.cpp wants a row a token
			shape[1] = uint64(c.Vocab)
			data = append(data, make([]float32, (c.Vocab-c.Outputs)*c.Width)...)
		}
		tensors = append(tensors, gguf.Tensor{Name: t.name, Shape: shape, Type: stored, Data: data})
	}
	return gguf.Write(path, kvs, tensors)
}
