package llama_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

// Rope parameters given to a context do what the same parameters in the model file do.
func TestRope(t *testing.T) {
	for _, test := range []struct {
		name string
		file []gguf.KV
		rope llama.RopeParams
	}{
		{"base", []gguf.KV{{Key: "llama.rope.freq_base", Value: float32(100)}}, llama.RopeParams{FreqBase: 100}},
		{"linear", []gguf.KV{{Key: "llama.rope.scaling.type", Value: "linear"}, {Key: "llama.rope.scaling.factor", Value: float32(2)}},
			llama.RopeParams{Scaling: llama.RopeLinear, FreqScale: 0.5}},
		{"yarn", []gguf.KV{{Key: "llama.rope.scaling.type", Value: "yarn"}, {Key: "llama.rope.scaling.factor", Value: float32(4)},
			{Key: "llama.rope.scaling.original_context_length", Value: uint32(64)}},
			llama.RopeParams{Scaling: llama.RopeYaRN, FreqScale: 0.25, YaRNOrigCtx: 64}},
	} {
		logits := func(path string, r llama.RopeParams) []float32 {
			p := exact
			p.Rope = r
			l, _ := feed(t, newContext(t, load(t, path), p), 0, 0, 10, 20, 30, 40, 50, 60)
			return l
		}
		own := randomModel(t, "llama", 3, nil)
		plain := logits(own, llama.RopeParams{})
		want := logits(randomModel(t, "llama", 3, func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
			return append(kvs, test.file...), ts
		}), llama.RopeParams{})
		got := logits(own, test.rope)
		if d := maxDiff(got, want); d > 1e-5 {
			t.Errorf("%s: off by %g from the file's", test.name, d)
		}
		if d := maxDiff(got, plain); d < 1e-3 {
			t.Errorf("%s: changes the logits by %g only", test.name, d)
		}
	}
	m := load(t, randomModel(t, "llama", 3, nil))
	nan := float32(math.NaN())
	for _, r := range []llama.RopeParams{{Scaling: 9}, {FreqBase: -1}, {FreqScale: nan}, {YaRNBetaFast: float32(math.Inf(1))}, {YaRNOrigCtx: -1}} {
		if c, err := m.NewContext(llama.ContextParams{Rope: r}); err == nil {
			c.Close()
			t.Errorf("%+v passed", r)
		}
	}
}

func TestDevices(t *testing.T) {
	devices := llama.Devices()
	cpu := ""
	for _, d := range devices {
		if d.Type == llama.DeviceCPU {
			cpu = d.Name
		}
		if d.Name == "" || d.Total == 0 && d.Type != llama.DeviceAccelerator {
			t.Errorf("%+v", d)
		}
	}
	if cpu == "" {
		t.Fatalf("no CPU among %+v", devices)
	}
	path := randomModel(t, "llama", 1, nil)
	for want, p := range map[string]llama.ModelParams{
		"is the CPU":       {Devices: []string{cpu}},
		`device "XPU7"`:    {Devices: []string{"XPU7"}},
		"split mode":       {Split: 7},
		"main GPU":         {MainGPU: 99},
		"tensor split of ": {TensorSplit: []float32{-1}},
		"of 99 values":     {TensorSplit: make([]float32, 99)},
	} {
		if m, err := llama.Load(path, p); err == nil || !strings.Contains(err.Error(), want) {
			if m != nil {
				m.Close()
			}
			t.Errorf("%+v: want %q, got %v", p, want, err)
		}
	}
	// What names no device passes through on any machine.
	for _, p := range []llama.ModelParams{{GPULayers: -1}, {GPULayers: 2, Split: llama.SplitRow}, {Split: llama.SplitNone}, {TensorSplit: []float32{1}}, {NoMmap: true}} {
		m, err := llama.Load(path, p)
		if err != nil {
			t.Errorf("%+v: %v", p, err)
			continue
		}
		feed(t, newContext(t, m, llama.ContextParams{}), 0, 0, 1, 2, 3)
		t.Cleanup(func() { m.Close() })
	}
}

func TestVocabularyAccess(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	if m.VocabType() != llama.VocabSentencePiece {
		t.Errorf("vocabulary type %d", m.VocabType())
	}
	for id, want := range map[int32]llama.Token{
		0:             {"<unk>", 0, llama.AttrUnknown},
		1:             {"<s>", -1, llama.AttrControl},
		3 + 'a':       {"<0x61>", -3 - 'a', llama.AttrByte},
		testVocab - 1: {"▁ab", -(testVocab - 1), llama.AttrNormal},
	} {
		if got, err := m.Token(id); got != want || err != nil {
			t.Errorf("token %d: %+v, %v, want %+v", id, got, err, want)
		}
	}
	if s := m.Special(); s.BOS != 1 || s.EOS != 2 || s.Pad != -1 || s.FIMPrefix != -1 {
		t.Errorf("special tokens %+v", s)
	}
	for _, id := range []int32{-1, testVocab} {
		if _, err := m.Token(id); err == nil {
			t.Errorf("token %d exists", id)
		}
	}
}

func TestQuantizeProgress(t *testing.T) {
	in := randomModel(t, "llama", 1, nil)
	dir := t.TempDir()
	var seen []float32
	out := filepath.Join(dir, "out.gguf")
	if err := llama.Quantize(in, out, llama.QuantizeParams{Type: "Q8_0", Progress: func(x float32) bool {
		seen = append(seen, x)
		return true
	}}); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(f.Tensors)+1 || seen[0] != 0 || seen[len(seen)-1] != 1 {
		t.Errorf("%d tensors, progress %v", len(f.Tensors), seen)
	}

	calls := 0
	err = llama.Quantize(in, filepath.Join(dir, "none.gguf"), llama.QuantizeParams{Type: "Q8_0", Progress: func(float32) bool {
		calls++
		return calls < 5
	}})
	if !errors.Is(err, llama.ErrCancelled) || calls != 5 {
		t.Errorf("cancelled after %d calls: %v", calls, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("a cancelled quantization left %v", files)
	}
	// Quantizing again goes on as if nothing had happened.
	if err := llama.Quantize(out, filepath.Join(dir, "again.gguf"), llama.QuantizeParams{Type: "Q4_0"}); err == nil {
		t.Error("quantized weights were quantized again unasked")
	}
	if err := llama.Quantize(out, filepath.Join(dir, "again.gguf"), llama.QuantizeParams{Type: "Q4_0", Requantize: true}); err != nil {
		t.Error(err)
	}
}
