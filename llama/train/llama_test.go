package train_test

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

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
	for _, tied := range []bool{false, true} {
		t.Run(fmt.Sprintf("tied=%t", tied), func(t *testing.T) {
			cfg := train.Config{Vocab: 40, Width: 64, Layers: 2, Heads: 4, FF: 96, Context: 120, Tied: tied, Theta: 5000}
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
			got := llamaLoss(t, path, heldOut)
			if math.Abs(got-last.HeldOut) > 1e-4 || got > 3 { // log 40 is 3.7
				t.Errorf("held-out loss %.6f in llama.cpp, %.6f in training", got, last.HeldOut)
			}
		})
	}
}

func llamaLoss(t *testing.T, path string, docs []train.Doc) float64 {
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
	var loss, total float64
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
		for i := range n {
			row, err := c.Row(i)
			if err != nil {
				t.Fatal(err)
			}
			w := float64(d.Weights[i+1])
			loss += w * float64(row.LSE-row.Logits[d.Tokens[i+1]])
			total += w
		}
	}
	return loss / total
}
