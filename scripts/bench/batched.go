package main

import (
	"context"
	"fmt"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// batched compares many prompts with several samples each, through the engine, with the
// same prompts and steps decoded bare at the same parallelism, as llama-batched-bench does.
func batched(ctx context.Context, b *bench) error {
	const prompts, samples, parallel, response = 64, 4, 32, 32
	path, err := randomModel(b.cache)
	if err != nil {
		return err
	}
	return withModel(path, func(m *llama.Model) error {
		p, err := newPaced(m, engine.Params{Sequences: parallel, Threads: b.threads}, b.clock())
		if err != nil {
			return err
		}
		defer p.Close()
		c, err := bareContext(m, p)
		if err != nil {
			return err
		}
		defer c.Close()
		// All prompts that are decoded at once have the same length, as the bare loop wants it.
		var jobs []engine.Job
		for i := range prompts {
			wave := i / (parallel / samples)
			job, err := decode.Sample(p.Engine, decode.Request{
				Prompt: randomTokens(m, 64+64*wave/(prompts*samples/parallel-1), uint64(i)), MaxTokens: response, Sampling: policy.Sampling{Temp: 1}, Key: uint64(i),
			}, samples, func([]decode.Response) {})
			if err != nil {
				return err
			}
			jobs = append(jobs, job)
		}
		// Seconds of waves, and within them of prompts and of steps.
		var whole, bare, promptWhole, promptBare, stepWhole, stepBare, inGo []float64
		tokens := 0
		for range max(b.pairs/5, 1) {
			pairs, err := against(ctx, p, c, jobs)
			if err != nil {
				return err
			}
			for _, s := range pairs {
				tokens += s.tokens
				if s.prompts {
					whole, bare, inGo = append(whole, 0), append(bare, 0), append(inGo, 0)
					promptWhole, promptBare = append(promptWhole, s.engine), append(promptBare, s.bare)
				} else {
					stepWhole, stepBare = append(stepWhole, s.engine), append(stepBare, s.bare)
				}
				last := len(whole) - 1
				whole[last], bare[last], inGo[last] = whole[last]+s.engine, bare[last]+s.bare, inGo[last]+s.inGo
			}
		}
		fmt.Printf("%-16s %-24s %12s  %-22s %-22s %-22s %s\n", "model", "through the engine", "speed", "of bare [95 %]", "prompts", "steps", "Go")
		fmt.Printf("%-16s %-24s %8.0f t/s  %-22s %-22s %-22s %.2f s\n", m.Info().Desc, fmt.Sprintf("%d prompts x %d samples", prompts, samples),
			float64(tokens)/sum(whole), share(bare, whole), share(promptBare, promptWhole), share(stepBare, stepWhole), median(inGo))
		fmt.Printf("%d sequences at once, prompts of 64 to 128 tokens, samples of %d; of bare: the same prompts, forks and steps decoded bare, batch by batch in turns; ratio of medians of %d waves of %d sequences. Go: of a wave, by the wall clock.\n",
			parallel, response, len(whole), parallel)
		return nil
	})
}

func sum(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}
