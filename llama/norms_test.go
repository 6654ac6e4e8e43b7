package llama_test

import (
	"path/filepath"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

// Every quantization of a model has its norms; one of other gains has others, whatever
// else is the same.
func TestNorms(t *testing.T) {
	norms := func(path string) string {
		t.Helper()
		f, err := gguf.ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := llama.Norms(f)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	path := randomModel(t, "llama", 1, nil)
	want := norms(path)
	if want == "" {
		t.Fatal("no norms")
	}
	for _, quantized := range []string{"F16", "BF16", "Q8_0", "Q4_0"} {
		out := filepath.Join(t.TempDir(), quantized+".gguf")
		if err := llama.Quantize(path, out, llama.QuantizeParams{Type: quantized, Threads: 1}); err != nil {
			t.Fatal(err)
		}
		if got := norms(out); got != want {
			t.Errorf("%s has the norms %s, want %s", quantized, got, want)
		}
	}
	edit := func(gain bool) string {
		return norms(randomModel(t, "llama", 1, func(kvs []gguf.KV, tensors []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
			for _, x := range tensors {
				if len(x.Shape) == 1 == gain {
					x.Data[len(x.Data)-1] += 0.001
				}
			}
			return kvs, tensors
		}))
	}
	if edit(true) == want {
		t.Error("another gain was not noticed")
	}
	if edit(false) != want {
		t.Error("matrices are no norms")
	}
}
