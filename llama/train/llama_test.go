package train_test

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
)

func init() { slog.SetLogLoggerLevel(slog.LevelWarn) }

// stepDocs count upwards in random strides, so that there is something to learn.
func stepDocs(n int, c train.Config, seed uint64) []train.Doc {
	r := rand.New(rand.NewPCG(seed, 1))
	docs := make([]train.Doc, n)
	for i := range docs {
		token, stride := r.IntN(c.Vocab), 1+r.IntN(5)
		for range 20 + r.IntN(c.Context-20) {
			docs[i].Tokens = append(docs[i].Tokens, int32(token))
			docs[i].Weights = append(docs[i].Weights, .2+r.Float32())
			token = (token + stride) % c.Vocab
		}
	}
	return docs
}

// TestLlamaAgrees: llama.cpp computes the loss that training computed, from the saved model.
func TestLlamaAgrees(t *testing.T) {
	for name, change := range map[string]func(*train.Config){
		"untied":        func(*train.Config) {},
		"tied":          func(c *train.Config) { c.Tied = true },
		"grouped, tied": func(c *train.Config) { c.KV, c.Tied, c.Eps = 2, true, 1e-3 },
		"one key head":  func(c *train.Config) { c.KV = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := train.Config{Vocab: 40, Width: 64, Layers: 2, Heads: 4, FF: 96, Context: 120, Theta: 5000}
			change(&cfg)
			heldOut := stepDocs(4, cfg, 2)
			var last train.Progress
			model, err := train.Run(t.Context(), cfg, train.Options{Steps: 60, LR: 5e-3, Progress: func(p train.Progress) { last = p }},
				stepDocs(100, cfg, 1), heldOut)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "model.gguf")
			if err := model.WriteGGUF(path, nil); err != nil {
				t.Fatal(err)
			}
			if apart := farthest(t, model, path, heldOut[0].Tokens); apart > 1e-4 {
				t.Errorf("a token's log-probability differs by %.2g from llama.cpp's", apart)
			}
			got := llamaLoss(t, path, heldOut)
			if math.Abs(got-last.HeldOut) > 1e-4 || got > 3 { // log 40 is 3.7
				t.Errorf("held-out loss %.6f in llama.cpp, %.6f in training", got, last.HeldOut)
			}
			if err := model.WriteGGUFAs(path, gguf.F16, nil); err != nil {
				t.Fatal(err)
			}
			if half := llamaLoss(t, path, heldOut); math.Abs(half-got) > 5e-3 || half == got {
				t.Errorf("held-out loss %.6f in F32, %.6f in F16", got, half)
			}
			read(t, path)
		})
	}
}

// read takes the weights of a file of any type.
func read(t *testing.T, path string) (*gguf.File, *train.Model) {
	t.Helper()
	f, err := gguf.ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := train.Read(f, func(tensor string) ([]float32, error) { return llama.Weights(f, tensor) })
	if err != nil {
		t.Fatal(err)
	}
	return f, m
}

// A real model, whose heads share keys and values, whose output is its embedding, and whose
// weights are quantized, is computed as llama.cpp computes it, and keeps its metadata when
// it is written.
func TestSmolLM2(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two gigabytes")
	}
	f, m := read(t, testmodel.SmolLM2(t))
	want := train.Config{Vocab: 49152, Width: 576, Layers: 30, Heads: 9, KV: 3, FF: 1536, Context: 8192, Tied: true, Outputs: 49152, Theta: 1e5, Eps: 1e-5}
	if m.Config != want {
		t.Errorf("read as %+v", m.Config)
	}
	path := filepath.Join(t.TempDir(), "f32.gguf")
	if err := m.WriteGGUF(path, train.Metadata(f)); err != nil {
		t.Fatal(err)
	}
	l, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tokens, err := l.Tokenize("The capital of France is Paris. Das ist ein Test, and 17 times 3 is 51.", true, false)
	if err != nil {
		t.Fatal(err)
	}
	apart := farthest(t, m, path, tokens)
	t.Logf("log-probabilities differ by %.2g at most", apart)
	if apart > 5e-4 {
		t.Errorf("a token's log-probability differs by %.2g from llama.cpp's", apart)
	}
	again := l.Metadata()
	for _, kv := range f.KVs {
		if kv.Key == "general.file_type" || kv.Key == "general.quantization_version" {
			continue
		}
		if a, b := kv.Value, again.Value(kv.Key); !cmp.Equal(a, b) {
			t.Errorf("%s was %v, and is %v", kv.Key, a, b)
		}
	}
}

// farthest is by how much the log-probability of a token differs at most from llama.cpp's.
func farthest(t *testing.T, m *train.Model, path string, tokens []int32) (apart float64) {
	t.Helper()
	for i, want := range surprises(t, path, []train.Doc{{Tokens: tokens}})[0] {
		one := make([]float32, len(tokens))
		one[i+1] = 1
		got, err := m.Loss(t.Context(), []train.Doc{{Tokens: tokens, Weights: one}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		apart = max(apart, math.Abs(got-want))
	}
	return apart
}

// llamaLoss is what [train.Model.Loss] computes, by llama.cpp.
func llamaLoss(t *testing.T, path string, docs []train.Doc) float64 {
	t.Helper()
	var loss, total float64
	for k, s := range surprises(t, path, docs) {
		for i, x := range s {
			w := float64(docs[k].Weights[i+1])
			loss += w * x
			total += w
		}
	}
	return loss / total
}

// surprises are -log p of each document's tokens after the first, by llama.cpp.
func surprises(t *testing.T, path string, docs []train.Doc) (out [][]float64) {
	t.Helper()
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, err := m.NewContext(llama.ContextParams{Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, d := range docs {
		if err := c.Clear(); err != nil {
			t.Fatal(err)
		}
		n := len(d.Tokens) - 1
		for i, token := range d.Tokens[:n] {
			if _, err := c.Add(token, int32(i), 0, true, 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Decode(); err != nil {
			t.Fatal(err)
		}
		var s []float64
		for i := range n {
			row, err := c.Row(i)
			if err != nil {
				t.Fatal(err)
			}
			s = append(s, float64(row.LSE-row.Logits[d.Tokens[i+1]]))
		}
		out = append(out, s)
	}
	return out
}
