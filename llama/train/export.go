package train

import (
	"slices"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

const tokenizerKey = "tokenizer.ggml.model"

// WriteGGUF saves the model at path as an F32 GGUF file that llama.cpp loads.
// tokenizer is metadata to add: the tokenizer.* keys and what else describes the
// model (general.name and so on). Without it the file has a vocabulary of Vocab
// nameless tokens.
func (m *Model) WriteGGUF(path string, tokenizer []gguf.KV) error {
	c := m.Config
	kvs := []gguf.KV{
		{Key: "general.architecture", Value: "llama"},
		{Key: "general.file_type", Value: uint32(0)}, // all F32
		{Key: "llama.vocab_size", Value: uint32(c.Vocab)},
		{Key: "llama.context_length", Value: uint32(c.Context)},
		{Key: "llama.embedding_length", Value: uint32(c.Width)},
		{Key: "llama.block_count", Value: uint32(c.Layers)},
		{Key: "llama.feed_forward_length", Value: uint32(c.FF)},
		{Key: "llama.attention.head_count", Value: uint32(c.Heads)},
		{Key: "llama.attention.head_count_kv", Value: uint32(c.Heads)},
		{Key: "llama.attention.layer_norm_rms_epsilon", Value: c.Eps},
		{Key: "llama.rope.dimension_count", Value: uint32(c.Width / c.Heads)},
		{Key: "llama.rope.freq_base", Value: c.Theta},
	}
	if !slices.ContainsFunc(tokenizer, func(kv gguf.KV) bool { return kv.Key == tokenizerKey }) {
		kvs = append(kvs, gguf.KV{Key: tokenizerKey, Value: "none"})
	}
	var tensors []gguf.Tensor
	rest := m.params
	for _, t := range c.tensors() {
		n := t.rows * t.cols
		data := rest[:n:n]
		rest = rest[n:]
		shape := []uint64{uint64(t.cols), uint64(t.rows)}
		switch {
		case t.gain():
			shape = shape[:1]
		case t.name == outputName && c.Outputs < c.Vocab: // llama.cpp wants a row a token
			shape[1] = uint64(c.Vocab)
			data = append(data, make([]float32, (c.Vocab-c.Outputs)*c.Width)...)
		}
		tensors = append(tensors, gguf.Tensor{Name: t.name, Shape: shape, Data: data})
	}
	return gguf.Write(path, append(kvs, tokenizer...), tensors)
}
