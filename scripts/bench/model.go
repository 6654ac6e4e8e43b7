package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
)

// randomModel makes a Llama of 138 million random weights and 32,000 tokens, stored as
// Q8_0.
func randomModel(cache string) (string, error) {
	path := filepath.Join(cache, "random-138M-q8_0.gguf")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	fmt.Fprintln(os.Stderr, "bench: making a random model of 138M parameters")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	cfg := train.Config{Vocab: 32000, Width: 768, Layers: 16, Heads: 12, FF: 2048, Context: 2048, Tied: true}
	tokens, types, scores := make([]string, cfg.Vocab), make([]int32, cfg.Vocab), make([]float32, cfg.Vocab)
	for i := range tokens {
		tokens[i], types[i], scores[i] = fmt.Sprintf("t%d", i), 1, -float32(i)
		if i < 256 { // llama.cpp's SentencePiece wants the bytes
			tokens[i], types[i] = fmt.Sprintf("<0x%02X>", i), 6
		}
	}
	m, err := train.New(cfg, 1)
	if err != nil {
		return "", err
	}
	full := path + ".f32"
	defer os.Remove(full)
	if err := m.WriteGGUF(full, []gguf.KV{
		{Key: "general.name", Value: "random weights"},
		{Key: "tokenizer.ggml.model", Value: "llama"},
		{Key: "tokenizer.ggml.tokens", Value: tokens},
		{Key: "tokenizer.ggml.token_type", Value: types},
		{Key: "tokenizer.ggml.scores", Value: scores},
	}); err != nil {
		return "", err
	}
	return path, llama.Quantize(full, path, llama.QuantizeParams{Type: "Q8_0"})
}
