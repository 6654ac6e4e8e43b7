// Command bench measures speed as ratios: what ivo's Go side makes of a model against
// a bare C loop of llama_decode over the same batch shapes, in one run, alternating,
// so that a machine whose speed drifts does not matter. Run it with make bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	lab := flag.String("lab", "testdata/lab/summarize-s.gguf", "the lab model")
	cache := flag.String("cache", ".cache/bench", "folder of the random-weight model")
	pairs := flag.Int("pairs", 15, "measured pairs of runs; the median ratio is reported")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, *lab, *cache, *pairs); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, lab, cache string, pairs int) error {
	large, err := randomModel(cache)
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %-26s %4s %9s  %-14s %7s\n", "model", "steps of sequences through", "seq.", "of bare", "[95 %]", "copied")
	for _, path := range []string{lab, large} {
		m, err := llama.Load(path, llama.ModelParams{})
		if err != nil {
			return err
		}
		for _, sequences := range []int{1, 8, 32} {
			if err := binding(ctx, m, engine.Threads(m), sequences, pairs); err != nil {
				return err
			}
		}
		if err := m.Close(); err != nil {
			return err
		}
	}
	fmt.Println("of bare: speed as a share of the bare C loop over the same tokens, step by step in turns, ratio of medians; copied: bytes a step beside llama.cpp's own.")
	fmt.Println()

	fmt.Printf("%-28s %-22s %9s %17s %14s %12s\n", "model", "decoding", "sequences", "of the bare loop", "(min..max)", "Go a step")
	for _, path := range []string{lab, large} {
		m, err := llama.Load(path, llama.ModelParams{})
		if err != nil {
			return err
		}
		n := m.Info().Layers
		for _, c := range []struct {
			name   string
			layers []int
		}{{"sampling", nil}, {"sampling, two layers", []int{n / 2, n}}} {
			r, err := compare(ctx, m, c.layers, 8, pairs)
			if err != nil {
				return err
			}
			slices.Sort(r.ratios)
			fmt.Printf("%-28s %-22s %9d %17.3f %14s %12v\n", m.Info().Desc, c.name, 8, r.ratios[len(r.ratios)/2],
				fmt.Sprintf("(%.2f..%.2f)", r.ratios[0], r.ratios[len(r.ratios)-1]), r.goSide.Round(100*time.Nanosecond))
		}
		if err := m.Close(); err != nil {
			return err
		}
	}
	fmt.Println("Of the bare loop: speed of sampling through the engine as a share of the bare C loop's, median of the pairs.")
	fmt.Println("Go a step: time of a step outside llama_decode's own call, sampling included.")
	return nil
}

type result struct {
	ratios []float64
	goSide time.Duration
}

// compare times sequences decoded through the engine and by the bare loop in turns.
func compare(ctx context.Context, m *llama.Model, layers []int, sequences, pairs int) (result, error) {
	const prefix = 32
	// Enough steps for a tenth of a second and more, within one context.
	steps := 24
	if m.Info().Params < 8<<20 {
		steps = 96
	}
	e, err := engine.New(m, engine.Params{Ctx: 2048, Sequences: sequences, Layers: layers})
	if err != nil {
		return result{}, err
	}
	defer e.Close()
	p := e.Params()
	c, err := m.NewContext(llama.ContextParams{Ctx: p.Ctx, Batch: p.Batch, UBatch: p.UBatch, Sequences: sequences, Threads: p.Threads})
	if err != nil {
		return result{}, err
	}
	defer c.Close()

	var r result
	for i := range pairs + 1 {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		guided, goSide, tokens, err := throughEngine(ctx, e, sequences, prefix, steps)
		if err != nil {
			return r, err
		}
		bare, err := bareLoop(c, tokens, sequences, prefix)
		if err != nil {
			return r, err
		}
		if i > 0 { // the first pair warms up
			r.ratios = append(r.ratios, bare.Seconds()/guided.Seconds())
			r.goSide += goSide / time.Duration(pairs)
		}
	}
	return r, nil
}

// bareLoop is the floor: llama_decode of the same tokens called from C, nothing done
// with the logits.
func bareLoop(c *llama.Context, tokens []int32, sequences, prefix int) (time.Duration, error) {
	if err := c.Clear(); err != nil {
		return 0, err
	}
	for i := range prefix {
		if _, err := c.Add(1, int32(i), 0, i == prefix-1, 0); err != nil {
			return 0, err
		}
	}
	if err := c.Decode(); err != nil {
		return 0, err
	}
	for s := 1; s < sequences; s++ {
		if err := c.Fork(0, int32(s)); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	err := c.BareLoop(tokens, sequences, prefix)
	return time.Since(begin), err
}

// throughEngine decodes the same shape by sampling: every step draws a token a sequence
// from its logits, which also cost the row's statistics and its sorted candidates.
func throughEngine(ctx context.Context, e *engine.Engine, sequences, prefix, steps int) (total, goSide time.Duration, fed []int32, err error) {
	const temp = 0.8
	prompt := slices.Repeat([]int32{1}, prefix)
	err = e.Run(ctx, []engine.Job{{Sequences: sequences, Cells: prefix + sequences*(steps+1), Run: func(s *engine.Session) error {
		root, err := s.Prefill(prompt, temp)
		if err != nil {
			return err
		}
		seqs := []*engine.Seq{root}
		for range sequences - 1 {
			q, err := s.Fork(root)
			if err != nil {
				return err
			}
			seqs = append(seqs, q)
		}
		sampler, rng := decode.Sampler{Sampling: decode.Sampling{Temp: temp}}, rand.New(rand.NewPCG(1, 1))
		tokens := make([]int32, sequences)
		before, begin := e.Stats(), time.Now()
		for range steps {
			for i, q := range seqs {
				tokens[i] = sampler.Draw(q.Row(), nil, rng)
			}
			fed = append(fed, tokens...)
			if err := s.Step(seqs, tokens); err != nil {
				return err
			}
		}
		total = time.Since(begin)
		goSide = (total - (e.Stats().InC - before.InC)) / time.Duration(steps)
		return nil
	}}})
	return total, goSide, fed, err
}

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
