package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/internal/cachedir"
	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// chain compares sampling as generate does it with a loop in C that samples by llama.cpp's own chain
// of temperature and distribution, on models of large vocabularies.
func chain(ctx context.Context, b *bench) error {
	paths, err := b.vocabularies()
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %10s %9s %11s %11s  %-22s %-22s %s\n", "model", "vocabulary", "sequences", "C's step", "C's tokens", "of C's sampling [95 %]", "of C's bare loop", "Go")
	for _, path := range paths {
		err := withModel(path, func(m *llama.Model) error {
			for _, n := range b.parallel {
				if err := chainOf(ctx, b, m, n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	fmt.Printf("Samples of one prompt at temperature %v, the text and log-probabilities of every token kept as generate does; steps in turns, ratios of medians. C's sampling: llama_decode and llama_sampler_sample of a chain of temperature and distribution; its bare loop: llama_decode alone. Go: of a step, by the wall clock.\n", chainTemp)
	return nil
}

const chainTemp = 0.7

// vocabularies are the models to sample from: those of the option, else those in ivo's cache.
func (b *bench) vocabularies() ([]string, error) {
	if b.models != "" {
		return strings.Split(b.models, ","), nil
	}
	var paths []string
	for _, name := range []string{testmodel.Name, "gemma-3-270m-Q4_K_M.gguf"} {
		path, err := cachedir.Path("models", name)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			fmt.Printf("%s is not in ivo's cache: left out.\n", name)
			continue
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// chainOf times steps of n sequences.
func chainOf(ctx context.Context, b *bench, m *llama.Model, n int) error {
	steps := max(6, 48/n)
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		return err
	}
	text, err := encoder.Literal("It was late in the evening when the last of the guests had gone, and she went to the window to see whether it still rained. What she saw there was")
	if err != nil {
		return err
	}
	p, err := newPaced(m, engine.Params{Ctx: len(text) + n*(steps+2), Sequences: n, Threads: b.threads}, b.clock())
	if err != nil {
		return err
	}
	defer p.Close()
	var loops [2]*llama.Context // that samples, and that does not
	for i := range loops {
		if loops[i], err = bareContext(m, p); err != nil {
			return err
		}
		defer loops[i].Close()
	}
	var times [3][]float64 // of the engine, and of the loops
	var inGo []float64
	// round is a job's steps, the first of which warms up.
	round := func(key int) error {
		for _, c := range loops {
			if err := shared(c, n, text); err != nil {
				return err
			}
		}
		job, err := decode.Strategy{Method: decode.MethodSample}.Sample(p.Engine, decode.Request{
			Prompt: text, MaxTokens: steps + 1, Sampling: policy.Sampling{Temp: chainTemp}, Key: uint64(key),
		}, n, func([]decode.Response) {})
		if err != nil {
			return err
		}
		if err := p.start(ctx, []engine.Job{job}); err != nil {
			return err
		}
		defer p.stop()
		_, more, err := p.step() // the prompt
		drawn := ids(p.batch)
		for step := 0; err == nil && more && len(p.batch.Tokens) == n; step++ { // until a response ends
			fed := ids(p.batch)
			for k := range times {
				i := (k + step + key) % len(times)
				inC, begin, wall := p.Stats().InC, p.clock(), time.Now()
				switch i {
				case 0:
					_, more, err = p.step()
				case 1:
					err = loops[0].BareSampling(drawn, len(text)+step, 1, chainTemp, uint32(key*steps+step))
				case 2:
					err = loops[1].BareLoop(fed, n, len(text)+step)
				}
				if err != nil {
					return err
				}
				if step == 0 {
					continue
				}
				times[i] = append(times[i], (p.clock() - begin).Seconds())
				if i == 0 {
					inGo = append(inGo, (time.Since(wall) - (p.Stats().InC - inC)).Seconds())
				}
			}
		}
		return err
	}
	for key := range b.pairs {
		if err := round(key); err != nil {
			return err
		}
	}
	fmt.Printf("%-28s %10d %9d %8.2f ms %7.0f t/s  %-22s %-22s %.2f ms\n", m.Info().Desc, m.Info().Vocab, n, 1e3*median(times[1]), float64(n)/median(times[1]),
		share(times[1], times[0]), share(times[2], times[0]), 1e3*median(inGo))
	return nil
}

// ids are the tokens of a batch.
func ids(b engine.Batch) []int32 {
	var out []int32
	for _, t := range b.Tokens {
		out = append(out, t.ID)
	}
	return out
}
