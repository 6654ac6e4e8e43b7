package train_test

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
)

// evenPairs are answers of random tokens, equally many, to a prompt of one, of which the one with more even
// tokens is preferred. last counts the last token alone, otherwise every token of the answer.
func evenPairs(n, vocab int, last bool, seed uint64) (pairs []train.Pair) {
	r := rand.New(rand.NewPCG(seed, 9))
	for len(pairs) < n {
		prompt, length := int32(r.IntN(vocab)), 4+r.IntN(6)
		answer := func() (d train.Doc, even int) {
			d.Tokens, d.Weights = []int32{prompt}, []float32{0}
			for range length {
				token := int32(r.IntN(vocab))
				if token%2 == 0 {
					even++
				}
				d.Tokens, d.Weights = append(d.Tokens, token), append(d.Weights, 1)
			}
			if last {
				clear(d.Weights[:len(d.Weights)-1])
			}
			return d, even
		}
		a, more := answer()
		b, less := answer()
		switch {
		case more > less:
			pairs = append(pairs, train.Pair{Chosen: a, Rejected: b})
		case more < less:
			pairs = append(pairs, train.Pair{Chosen: b, Rejected: a})
		}
	}
	return pairs
}

func sides(pairs []train.Pair) (docs []train.Doc) {
	for _, p := range pairs {
		docs = append(docs, p.Chosen, p.Rejected)
	}
	return docs
}

// A reward model learns what is preferred, and its scores are the products of its output with the
// states that llama.cpp computes of its trunk.
func TestReward(t *testing.T) {
	cfg := train.Config{Vocab: 20, Width: 32, Layers: 2, Heads: 4, KV: 2, FF: 48, Context: 16, Theta: 100, Tied: true}
	base, err := train.New(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	var first float64
	opts := train.Options{Steps: 250, LR: 4e-3, BatchTokens: 512, Progress: func(p train.Progress) {
		if p.Step == 1 {
			first = p.Loss
		}
	}}
	m, err := train.TrainReward(t.Context(), base, opts, evenPairs(2000, cfg.Vocab, true, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(first-math.Ln2) > .02 {
		t.Errorf("the first loss is %.4f, of equal scores %.4f", first, math.Ln2)
	}
	held := evenPairs(200, cfg.Vocab, true, 2)
	scores, err := m.Scores(t.Context(), sides(held), 0)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i := range held {
		if scores[2*i] > scores[2*i+1] {
			right++
		}
	}
	if right < 180 {
		t.Errorf("%d of 200 pairs are told right", right)
	}

	path := filepath.Join(t.TempDir(), "trunk.gguf")
	if err := m.Trunk().WriteGGUF(path, nil); err != nil {
		t.Fatal(err)
	}
	l, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := l.NewContext(llama.ContextParams{Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Embeddings: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tokens := held[0].Chosen.Tokens
	for i, token := range tokens {
		if _, err := c.Add(token, int32(i), 0, i == len(tokens)-1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Decode(); err != nil {
		t.Fatal(err)
	}
	row, err := c.Row(0)
	if err != nil {
		t.Fatal(err)
	}
	got := 0.0
	for i, w := range m.Output() {
		got += float64(w) * float64(row.Hidden[i])
	}
	if math.Abs(got-scores[0]) > 1e-4 {
		t.Errorf("score %.6f by llama.cpp's state, %.6f in training", got, scores[0])
	}
}

// A policy comes to prefer what is preferred, beyond what the reference says. Before the first
// step both say the same, so that the losses are known.
func TestPolicies(t *testing.T) {
	cfg := train.Config{Vocab: 20, Width: 32, Layers: 2, Heads: 4, KV: 2, FF: 48, Context: 16, Theta: 100, Tied: true}
	base, err := train.New(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	pairs, held := evenPairs(500, cfg.Vocab, false, 1), evenPairs(100, cfg.Vocab, false, 2)
	for _, some := range [][]train.Pair{pairs, held} {
		reference, err := base.Reference(t.Context(), some, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range some {
			some[i].Offset = reference[i]
		}
	}
	for name, test := range map[string]struct {
		loss  train.PairLoss
		rank  int
		first float64
	}{
		"DPO":             {train.DPO(.5), 0, math.Ln2},
		"IPO":             {train.IPO(.2), 0, 1 / (4 * .2 * .2)},
		"DPO of adapters": {train.DPO(.5), 4, math.Ln2},
	} {
		t.Run(name, func(t *testing.T) {
			var losses []float64
			opts := train.Options{Steps: 100, LR: 4e-3, BatchTokens: 512, Rank: test.rank, Progress: func(p train.Progress) { losses = append(losses, p.Loss) }}
			m, err := train.TrainPolicy(t.Context(), base, test.loss, opts, pairs, nil)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(losses[0]-test.first) > 1e-5 {
				t.Errorf("the first loss is %.6f, not %.6f", losses[0], test.first)
			}
			ratio, err := m.Reference(t.Context(), held, 0)
			if err != nil {
				t.Fatal(err)
			}
			right := 0
			for i, p := range held {
				if ratio[i] > p.Offset {
					right++
				}
			}
			if right < 80 {
				t.Errorf("%d of 100 pairs moved the right way", right)
			}
		})
	}
}

// A model and the adapter that was learned to it are, to llama.cpp, the model that training made.
func TestAdapterFile(t *testing.T) {
	cfg := train.Config{Vocab: 20, Width: 32, Layers: 2, Heads: 4, KV: 2, FF: 48, Context: 16, Theta: 100, Tied: true}
	base, err := train.New(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	pairs := evenPairs(100, cfg.Vocab, false, 1)
	m, err := train.TrainPolicy(t.Context(), base, train.DPO(.5), train.Options{Steps: 20, LR: 4e-3, Rank: 3}, pairs, nil)
	if err != nil {
		t.Fatal(err)
	}
	model, adapter := filepath.Join(t.TempDir(), "base.gguf"), filepath.Join(t.TempDir(), "adapter.gguf")
	if err := base.WriteGGUF(model, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteAdapter(adapter, gguf.F32, nil); err != nil {
		t.Fatal(err)
	}
	if err := base.WriteAdapter(adapter, gguf.F32, nil); err == nil {
		t.Error("a model without adapters writes one")
	}
	l, err := llama.Load(model, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lora, err := l.LoadLoRA(adapter)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.NewContext(llama.ContextParams{Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetLoRA(llama.LoRAScale{LoRA: lora, Scale: 1}); err != nil {
		t.Fatal(err)
	}
	doc := pairs[0].Chosen
	for i, token := range doc.Tokens {
		if _, err := c.Add(token, int32(i), 0, true, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Decode(); err != nil {
		t.Fatal(err)
	}
	got := 0.0
	for i, next := range doc.Tokens[1:] {
		row, err := c.Row(i)
		if err != nil {
			t.Fatal(err)
		}
		got += float64(doc.Weights[i+1]) * float64(row.Logits[next]-row.LSE)
	}
	want, err := m.LogProbs(t.Context(), []train.Doc{doc}, 0)
	if err != nil {
		t.Fatal(err)
	}
	before, err := base.LogProbs(t.Context(), []train.Doc{doc}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(got-want[0]) > 1e-4 || math.Abs(want[0]-before[0]) < .1 {
		t.Errorf("log-probability %.6f by llama.cpp, %.6f in training, %.6f before it", got, want[0], before[0])
	}
}
