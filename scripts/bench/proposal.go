package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// proposal compares sampling from a policy tilted by what each token adds with plain sampling, and with plain
// sampling whose responses the same head values: time a decoded token.
func proposal(ctx context.Context, b *bench) error {
	return withModel(b.lab, func(m *llama.Model) error {
		layers := loop.Defaults(m.Info().Layers).Layers
		head, err := additive(ctx, m, layers)
		if err != nil {
			return err
		}
		const most = 48
		fmt.Printf("%-28s %9s %10s %12s  %-34s %s\n", "model", "sequences", "vocabulary", "a token", "tilted, speed of sampling [95 %]", "of sampling with values [95 %]")
		for _, n := range []int{1, sequences} {
			e, err := engine.New(m, engine.Params{Ctx: 16 + n*most, Sequences: n, Threads: b.threads, Layers: layers})
			if err != nil {
				return err
			}
			times := make([][]float64, 3)
			clock, rng := b.clock(), rand.New(rand.NewPCG(1, 1))
			for round := range b.pairs + 1 {
				key := rng.Uint64()
				for k := range times {
					i := (k + round) % len(times)
					req := decode.Request{Prompt: randomTokens(m, 8, key), MaxTokens: most, Sampling: policy.Sampling{Temp: 0.7}, Key: key}
					s := decode.Strategy{Method: decode.MethodSample}
					if i > 0 {
						req.Value = value.Head(head, valuehead.Reading{})
					}
					if i > 1 {
						s.Proposal = 0.5 // little enough for responses of the same lengths
					}
					job, err := s.Sample(e, req, n, func([]decode.Response) {})
					if err != nil {
						return err
					}
					before, begin := e.Stats().Tokens, clock()
					if err := e.Run(ctx, []engine.Job{job}); err != nil {
						return err
					}
					if took := clock() - begin; round > 0 {
						times[i] = append(times[i], took.Seconds()/float64(e.Stats().Tokens-before))
					}
				}
			}
			fmt.Printf("%-28s %9d %10d %9.2f ms  %-34s %s\n", m.Info().Desc, n, m.Info().Vocab, 1e3*median(times[0]), share(times[0], times[2]), share(times[1], times[2]))
			if err := e.Close(); err != nil {
				return err
			}
		}
		fmt.Printf("Up to %d tokens at temperature 0.7 from a prompt of 8, layers %v tapped in all; %d rounds in turns.\n", most, layers, b.pairs)
		return nil
	})
}

// additive is a head of random advantages.
func additive(ctx context.Context, m *llama.Model, layers []int) (*valuehead.Head, error) {
	s, err := rollout.Schema(m, layers, false)
	if err != nil {
		return nil, err
	}
	f, err := valuehead.NewFeatures(s, valuehead.FeaturesOf(valuehead.Additive))
	if err != nil {
		return nil, err
	}
	data := valuehead.NewDataset(f)
	for i := range 40 {
		const n = 16
		tokens := randomTokens(m, n, uint64(i))
		p := &states.Prompt{ID: fmt.Sprint(i), Tokens: tokens, Hidden: random(n * s.PromptWidth())}
		t := &states.Trajectory{Prompt: p.ID, Tokens: tokens, Hidden: random(n * s.Width), Scalars: random(n * len(s.Scalars))}
		if err := data.AddExample(valuehead.Example{Trajectory: t, Return: float32(i % 7), Prompt: p}); err != nil {
			return nil, err
		}
	}
	embeddings, err := m.Embeddings()
	if err != nil {
		return nil, err
	}
	defer embeddings.Close()
	h, _, err := valuehead.Train(ctx, data, valuehead.TrainOptions{Kind: valuehead.Additive, Embeddings: embeddings})
	return h, err
}
