package train

import "github.com/ivo-decoding/ivo/internal/gguf"

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
	if len(tokenizer) == 0 {
		tokenizer = []gguf.KV{{Key: "tokenizer.ggml.model", Value: "none"}}
	}
	var tensors []gguf.Tensor
	rest := m.params
	for _, t := range c.tensors() {
		n := t.rows * t.cols
		shape := []uint64{uint64(t.cols), uint64(t.rows)}
		if t.gain() {
			shape = shape[:1]
		}
		tensors = append(tensors, gguf.Tensor{Name: t.name, Shape: shape, Data: rest[:n]})
		rest = rest[n:]
	}
	return gguf.Write(path, append(kvs, tokenizer...), tensors)
}
