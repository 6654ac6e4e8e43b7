package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// sampling compares sampling through the engine with the bare C loop.
func sampling(ctx context.Context, b *bench) error {
	fmt.Printf("%-28s %-22s %9s %17s %14s %12s\n", "model", "decoding", "sequences", "of the bare loop", "(min..max)", "Go a step")
	err := b.eachModel(func(m *llama.Model) error {
		n := m.Info().Layers
		for _, c := range []struct {
			name   string
			layers []int
		}{{"sampling", nil}, {"sampling, two layers", []int{n / 2, n}}} {
			r, err := compare(ctx, m, engine.Params{Ctx: 2048, Sequences: 8, Threads: b.threads, Layers: c.layers}, b.pairs)
			if err != nil {
				return err
			}
			slices.Sort(r.ratios)
			fmt.Printf("%-28s %-22s %9d %17.3f %14s %12v\n", m.Info().Desc, c.name, 8, r.ratios[len(r.ratios)/2],
				fmt.Sprintf("(%.2f..%.2f)", r.ratios[0], r.ratios[len(r.ratios)-1]), r.goSide.Round(100*time.Nanosecond))
		}
		return nil
	})
	fmt.Println("Of the bare loop: speed of sampling through the engine as a share of the bare C loop's, median of the pairs.")
	fmt.Println("Go a step: time of a step outside llama_decode's own call, sampling included.")
	return err
}

type result struct {
	ratios []float64
	goSide time.Duration
}

// compare times sequences decoded through the engine and by the bare loop in turns.
func compare(ctx context.Context, m *llama.Model, params engine.Params, pairs int) (result, error) {
	const prefix = 32
	// Enough steps for a tenth of a second and more, within one context.
	steps := 24
	if m.Info().Params < 8<<20 {
		steps = 96
	}
	e, err := engine.New(m, params)
	if err != nil {
		return result{}, err
	}
	defer e.Close()
	p, sequences := e.Params(), params.Sequences
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
	if err := shared(c, sequences, slices.Repeat([]int32{1}, prefix)); err != nil {
		return 0, err
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
		sampler, rng := policy.Sampler{Sampling: policy.Sampling{Temp: temp}}, rand.New(rand.NewPCG(1, 1))
		tokens := make([]int32, sequences)
		before, begin := e.Stats(), time.Now()
		for range steps {
			for i, q := range seqs {
				sampler.At(q.Row(), nil)
				tokens[i] = sampler.Draw(rng)
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
