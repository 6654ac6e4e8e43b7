package llama_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

// split writes an F32 model as several files, as llama-gguf-split does: all metadata
// and no tensors or some in the first file, the tensors in their order. sizes are the
// numbers of tensors a file; the last file gets the rest. It returns the first's path.
func split(t testing.TB, path string, sizes ...int) string {
	t.Helper()
	f, err := gguf.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(t.TempDir(), "model")
	left := f.Tensors
	name := func(i int) string { return fmt.Sprintf("%s-%05d-of-%05d.gguf", base, i+1, len(sizes)+1) }
	for i, n := range append(slices.Clone(sizes), len(left)) {
		n = min(n, len(left))
		kvs := []gguf.KV{
			{Key: "split.no", Value: uint16(i)}, {Key: "split.count", Value: uint16(len(sizes) + 1)},
			{Key: "split.tensors.count", Value: int32(len(f.Tensors))},
		}
		if i == 0 {
			kvs = append(slices.Clone(f.KVs), kvs...)
		}
		var tensors []gguf.Tensor
		for _, info := range left[:n] {
			data, err := f.ReadF32(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, gguf.Tensor{Name: info.Name, Shape: info.Shape, Data: data})
		}
		left = left[n:]
		if err := gguf.Write(name(i), kvs, tensors); err != nil {
			t.Fatal(err)
		}
	}
	return name(0)
}

// greedy is the text of the n likeliest tokens, one after the other.
func greedy(t testing.TB, m *llama.Model, prompt string, n int) string {
	t.Helper()
	c := newContext(t, m, exact)
	tokens, err := m.Tokenize(prompt, true, false)
	if err != nil {
		t.Fatal(err)
	}
	logits, _ := feed(t, c, 0, 0, tokens...)
	var out []int32
	for range n {
		best := int32(0)
		for i, l := range logits {
			if l > logits[best] {
				best = int32(i)
			}
		}
		out = append(out, best)
		logits, _ = feed(t, c, 0, int32(len(tokens)+len(out)-1), best)
	}
	text, err := m.Detokenize(out, true)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A split model is the model that was split, whichever way.
func TestSplit(t *testing.T) {
	lab := filepath.Join("..", "testdata", "lab", "summarize-s.gguf")
	whole := load(t, lab)
	const prompt = "i found a red kettle.\nTL;DR:"
	text := greedy(t, whole, prompt, 16)
	print, err := whole.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	for name, sizes := range map[string][]int{"three files": {5, 20}, "no tensors in the first": {0, 10}} {
		t.Run(name, func(t *testing.T) {
			m := load(t, split(t, lab, sizes...))
			if got := greedy(t, m, prompt, 16); got != text {
				t.Errorf("text %q, of the whole model %q", got, text)
			}
			if got, err := m.Fingerprint(); got != print {
				t.Errorf("fingerprint %s, of the whole model %s, %v", got, print, err)
			}
			if got, want := m.Info(), whole.Info(); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestSplitRefused(t *testing.T) {
	first := split(t, randomModel(t, "llama", 1, nil), 5, 5)
	second := first[:len(first)-len("00001-of-00003.gguf")] + "00002-of-00003.gguf"
	refused := func(path, at string) {
		t.Helper()
		_, err := llama.Load(path, llama.ModelParams{})
		var e *gguf.Error
		if !errors.As(err, &e) || e.Path != at || e.Hint == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
	refused(second, second)
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
	refused(first, second)
}

// Quantizing a split model joins it.
func TestQuantizeSplit(t *testing.T) {
	out := filepath.Join(t.TempDir(), "q.gguf")
	whole := randomModel(t, "llama", 1, nil)
	if err := llama.Quantize(split(t, whole, 10), out, llama.QuantizeParams{Type: "F16", Threads: 1}); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.ReadModel(out)
	if err != nil {
		t.Fatal(err)
	}
	if w, err := gguf.Read(whole); err != nil || len(f.Tensors) != len(w.Tensors) {
		t.Errorf("%d tensors, want %d; %v", len(f.Tensors), len(w.Tensors), err)
	}
}

// What reads the header of a model reads those of all its files.
func TestSplitHeaders(t *testing.T) {
	path := randomModel(t, "llama", 1, nil)
	first := split(t, path, 2, 5)
	if _, err := load(t, first).LoadLoRA(newAdapter(1).write(t, nil)); err != nil {
		t.Error(err)
	}
	var sizes []llama.Memory
	for _, path := range []string{path, first} {
		f, err := gguf.ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := llama.EstimateMemory(f, llama.ContextParams{})
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, m)
	}
	if sizes[0] != sizes[1] {
		t.Errorf("memory of the whole %+v, of its parts %+v", sizes[0], sizes[1])
	}
	if err := os.Remove(first[:len(first)-len("00001-of-00003.gguf")] + "00002-of-00003.gguf"); err != nil {
		t.Fatal(err)
	}
	var bad *gguf.Error
	if err := llama.Quantize(first, filepath.Join(t.TempDir(), "q.gguf"), llama.QuantizeParams{Type: "F16", Threads: 1}); !errors.As(err, &bad) {
		t.Errorf("a part is missing: %v", err)
	}
}
