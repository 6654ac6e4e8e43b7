package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var tiny = Config{Vocab: 11, Width: 16, Layers: 2, Heads: 2, FF: 20, Context: 70}

// randomDocs have uneven lengths, the first of most rows, and uneven weights.
func randomDocs(n, most int, c Config, seed uint64) []Doc {
	r := rand.New(rand.NewPCG(seed, 0))
	docs := make([]Doc, n)
	for i := range docs {
		length := 2 + r.IntN(most)
		if i == 0 {
			length = most + 1
		}
		for range length {
			docs[i].Tokens = append(docs[i].Tokens, int32(r.IntN(c.Vocab)))
			docs[i].Weights = append(docs[i].Weights, r.Float32())
		}
	}
	return docs
}

// TestDocumentsAreIndependent: packing documents together changes no loss.
func TestDocumentsAreIndependent(t *testing.T) {
	m, err := New(tiny, 1)
	if err != nil {
		t.Fatal(err)
	}
	docs := randomDocs(5, tiny.Context, tiny, 2)
	_, total := size(examplesOf(docs))
	sum := 0.0
	for _, d := range docs {
		_, weight := size(examplesOf([]Doc{d}))
		loss, err := m.Loss(context.Background(), []Doc{d}, 1)
		if err != nil {
			t.Fatal(err)
		}
		sum += loss * weight
	}
	packed, err := m.Loss(context.Background(), docs, 3)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(packed-sum/total) > 1e-6 {
		t.Errorf("packed %.7f, apart %.7f", packed, sum/total)
	}
}

func encode(text string) (doc Doc) {
	for _, c := range text {
		doc.Tokens = append(doc.Tokens, c&127)
	}
	return doc
}

func TestOverfits(t *testing.T) {
	docs := []Doc{encode("the quick brown fox jumps over the lazy dog"), encode("pack my box with five dozen liquor jugs")}
	cfg := Config{Vocab: 128, Width: 32, Layers: 2, Heads: 4, FF: 64, Context: 64}
	m, err := Run(t.Context(), cfg, Options{Steps: 200, LR: 5e-3}, docs, nil)
	if err != nil {
		t.Fatal(err)
	}
	loss, err := m.Loss(t.Context(), docs, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Only the first letters remain uncertain: 2 documents of about 40 letters.
	if loss > .1 {
		t.Errorf("loss %.3f after training on two sentences", loss)
	}
}

// TestRunIsDeterministic: neither workers nor a stop and resume change a bit.
func TestRunIsDeterministic(t *testing.T) {
	t.Run("whole", func(t *testing.T) { testDeterministic(t, nil, 0) })
	t.Run("adapters", func(t *testing.T) {
		base, err := New(tiny, 9)
		if err != nil {
			t.Fatal(err)
		}
		testDeterministic(t, base, 2)
	})
}

func testDeterministic(t *testing.T, from *Model, rank int) {
	docs, heldOut := randomDocs(30, tiny.Context, tiny, 7), randomDocs(3, tiny.Context, tiny, 8)
	run := func(ctx context.Context, workers int, checkpoint string, progress func(Progress)) (*Model, error) {
		return Run(ctx, tiny, Options{Steps: 25, BatchTokens: 200, Shards: 3, Workers: workers, Seed: 4, From: from, Rank: rank,
			Checkpoint: checkpoint, CheckpointEvery: 10, EvalEvery: 5, Progress: progress}, docs, heldOut)
	}
	want, err := run(t.Context(), 1, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string, got *Model, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.params, want.params) {
			t.Errorf("%s: other parameters than the plain run's", what)
		}
	}
	got, err := run(t.Context(), 3, "", nil)
	same("three workers", got, err)

	path := filepath.Join(t.TempDir(), "checkpoint")
	ctx, cancel := context.WithCancel(t.Context())
	var killed []byte // what a kill after step 13 leaves: the checkpoint of step 10
	_, err = run(ctx, 2, path, func(p Progress) {
		switch p.Step {
		case 13:
			if killed, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		case 14:
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	resume := func(what string, first int) {
		t.Helper()
		steps := []int{}
		got, err := run(t.Context(), 2, path, func(p Progress) { steps = append(steps, p.Step) })
		same(what, got, err)
		if steps[0] != first || len(steps) != 26-first {
			t.Errorf("%s: did steps %v, not %d to 25", what, steps, first)
		}
	}
	resume("stopped", 15)
	if err := os.WriteFile(path, killed, 0o644); err != nil {
		t.Fatal(err)
	}
	resume("killed", 11)
	got, err = run(t.Context(), 2, path, nil)
	same("finished already", got, err)

	_, err = Run(t.Context(), tiny, Options{Steps: 26, Checkpoint: path}, docs, nil)
	if err == nil || !strings.Contains(err.Error(), "another run") {
		t.Errorf("checkpoint of other options: %v", err)
	}
}

// Snapshots are taken of the model as it is then, whether the run was stopped or not.
func TestSnapshots(t *testing.T) {
	docs, path := randomDocs(30, tiny.Context, tiny, 7), filepath.Join(t.TempDir(), "checkpoint")
	took := map[int][]float32{}
	opts := Options{Steps: 10, BatchTokens: 200, Workers: 1, Checkpoint: path, CheckpointEvery: 1, Snapshots: 3, Snapshot: func(step int, m *Model) error {
		took[step] = slices.Clone(m.params)
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	opts.Progress = func(p Progress) {
		if p.Step == 4 {
			cancel()
		}
	}
	if _, err := Run(ctx, tiny, opts, docs, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	m, err := Run(t.Context(), tiny, opts, docs, nil)
	if err != nil {
		t.Fatal(err)
	}
	if at := slices.Sorted(maps.Keys(took)); !slices.Equal(at, []int{3, 6, 10}) || !slices.Equal(at, SnapshotSteps(10, 3)) {
		t.Errorf("taken after steps %v", at)
	}
	if !slices.Equal(took[10], m.params) || slices.Equal(took[3], took[6]) {
		t.Error("a snapshot is not the model after its step")
	}
	if at := SnapshotSteps(2, 3); !slices.Equal(at, []int{1, 2}) {
		t.Errorf("of two steps: %v", at)
	}
}

// Supervised fine-tuning of pairs is training on the tokens of the chosen answers.
func TestSFT(t *testing.T) {
	base, err := New(tiny, 9)
	if err != nil {
		t.Fatal(err)
	}
	docs := randomDocs(20, 20, tiny, 3)
	var pairs []Pair
	for i := range 10 {
		pairs = append(pairs, Pair{docs[i], docs[10+i], 5})
	}
	opts := Options{Steps: 5, BatchTokens: 100, From: base}
	got, err := TrainPolicy(t.Context(), base, SFT(), opts, pairs, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Run(t.Context(), tiny, opts, docs[:10], nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.params, want.params) || slices.Equal(got.params, base.params) {
		t.Error("another model than by next tokens of the chosen answers")
	}
}

func TestRunRefuses(t *testing.T) {
	good := []Doc{{Tokens: []int32{1, 2, 3}}}
	for name, c := range map[string]struct {
		change func(*Config, *Options)
		docs   []Doc
		want   string
	}{
		"no steps":      {func(_ *Config, o *Options) { o.Steps = 0 }, good, "at least 1"},
		"shared heads":  {func(c *Config, _ *Options) { c.Heads, c.KV = 4, 3 }, good, "divisor"},
		"no base":       {func(_ *Config, o *Options) { o.Rank = 2 }, good, "for a model to start from"},
		"odd heads":     {func(c *Config, _ *Options) { c.Heads = 3 }, good, "multiple of 6"},
		"no layers":     {func(c *Config, _ *Options) { c.Layers = 0 }, good, "layers"},
		"no documents":  {nil, nil, "at least one"},
		"short":         {nil, []Doc{{Tokens: []int32{1}}}, "shorter"},
		"long":          {nil, []Doc{{Tokens: make([]int32, tiny.Context+2)}}, "split"},
		"foreign token": {nil, []Doc{{Tokens: []int32{1, 11}}}, "tokenizer"},
		"weights":       {nil, []Doc{{Tokens: []int32{1, 2}, Weights: []float32{1}}}, "weights"},
		"NaN weight":    {nil, []Doc{{Tokens: []int32{1, 2}, Weights: []float32{0, float32(math.NaN())}}}, "weight"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, opts := tiny, Options{Steps: 1}
			if c.change != nil {
				c.change(&cfg, &opts)
			}
			if _, err := Run(t.Context(), cfg, opts, c.docs, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

// BenchmarkRun trains the lab model on documents of 60 to 180 tokens. The figure
// leaves out what a run costs before its first step.
func BenchmarkRun(b *testing.B) {
	const steps = 20
	cfg := Config{Vocab: 1024, Width: 128, Layers: 5, Heads: 4, FF: 384, Context: 256}
	r := rand.New(rand.NewPCG(1, 1))
	docs := make([]Doc, 500)
	for i := range docs {
		for range 60 + r.IntN(120) {
			docs[i].Tokens = append(docs[i].Tokens, int32(r.IntN(cfg.Vocab)))
		}
	}
	for _, tokens := range []int{1024, 2048, 4096} {
		b.Run(fmt.Sprintf("tokens=%d", tokens), func(b *testing.B) {
			seconds := 0.0 // a token, summed over steps
			for b.Loop() {
				_, err := Run(b.Context(), cfg, Options{Steps: steps, BatchTokens: tokens,
					Progress: func(p Progress) { seconds += 1 / p.TokensPerSecond }}, docs, nil)
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*steps/seconds, "tokens/s")
		})
	}
}

// BenchmarkSmolLM2 does steps at the size of SmolLM2-135M: documents of 256 tokens by their next
// tokens, and pairs of 128 and 128 by DPO. It states the memory at its peak.
func BenchmarkSmolLM2(b *testing.B) {
	cfg := Config{Vocab: 49152, Width: 576, Layers: 30, Heads: 9, KV: 3, FF: 1536, Context: 8192, Tied: true, Theta: 1e5}
	base, err := New(cfg, 1)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	docs := make([]Doc, 64)
	for i := range docs {
		for range 257 {
			docs[i].Tokens = append(docs[i].Tokens, int32(r.IntN(cfg.Vocab)))
		}
	}
	var pairs []Pair
	for _, d := range docs {
		weights := slices.Concat(make([]float32, 65), slices.Repeat([]float32{1}, 64))
		pairs = append(pairs, Pair{Doc{Tokens: d.Tokens[:129], Weights: weights}, Doc{Tokens: d.Tokens[128:], Weights: weights}, 0})
	}
	seconds := 0.0 // a token, summed over steps
	opts := Options{Steps: 1, BatchTokens: 2048, From: base, Progress: func(p Progress) { seconds += 1 / p.TokensPerSecond }}
	for name, run := range map[string]func() (*Model, error){
		"next": func() (*Model, error) { return Run(b.Context(), cfg, opts, docs, nil) },
		"DPO":  func() (*Model, error) { return TrainPolicy(b.Context(), base, DPO(.1), opts, pairs, nil) },
	} {
		b.Run(name, func(b *testing.B) {
			seconds = 0
			for b.Loop() {
				if _, err := run(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*opts.Steps)/seconds, "tokens/s")
			if status, err := os.ReadFile("/proc/self/status"); err == nil {
				_, after, _ := strings.Cut(string(status), "VmHWM:")
				var kilobytes float64
				fmt.Sscan(after, &kilobytes)
				b.ReportMetric(kilobytes/1e6, "GB")
			}
		})
	}
}
