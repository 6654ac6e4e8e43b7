package inspect_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
)

// Any GGUF file is described, with the reason where the linked llama.cpp cannot load it.
func TestAnyFile(t *testing.T) {
	lab, err := gguf.Read(lab)
	if err != nil {
		t.Fatal(err)
	}
	weights := []gguf.Tensor{{Name: "token_embd.weight", Shape: []uint64{2, 2}, Data: make([]float32, 4)}}
	for name, tc := range map[string]struct {
		set     map[string]any
		tensors []gguf.Tensor
		want    []string
	}{
		"an unknown architecture": {map[string]any{"general.architecture": "perceptron"}, weights, []string{"perceptron", "no: architecture \"perceptron\", tokenizer ", "make LLAMA="}},
		"a vocabulary alone":      {nil, nil, []string{"llama", "no: it holds no weights", "256 tokens"}},
		"an adapter":              {map[string]any{"general.type": "adapter"}, weights, []string{"no: a GGUF file of type \"adapter\""}},
		"no model at all":         {map[string]any{"general.architecture": "", "llama.block_count": uint32(0)}, weights, []string{"names no architecture", "not known"}},
	} {
		t.Run(name, func(t *testing.T) {
			var kvs []gguf.KV
			for _, kv := range lab.KVs {
				if v, ok := tc.set[kv.Key]; ok {
					kv.Value = v
				}
				kvs = append(kvs, kv)
			}
			if v, ok := tc.set["general.type"]; ok && lab.Value("general.type") == nil {
				kvs = append(kvs, gguf.KV{Key: "general.type", Value: v})
			}
			path := filepath.Join(t.TempDir(), "any.gguf")
			if err := gguf.Write(path, kvs, tc.tensors); err != nil {
				t.Fatal(err)
			}
			found, err := inspect.Path(t.Context(), path, inspect.Options{MostCtx: 4096})
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := found.Write(&b); err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("%q is not in:\n%s", want, b.String())
				}
			}
		})
	}
}
