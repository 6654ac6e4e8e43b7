// Package rollout collects trajectories: responses of a policy to prompts with their
// rewards, and the states they went through, kept as they are decoded. The unit is the
// shard, a fixed list of prompts decoded from an empty context with random streams
// keyed by (seed, round, prompt, sample): a shard done again is the same shard.
package rollout

import (
	"context"
	"fmt"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Policy is what draws the trajectories.
type Policy struct {
	Strategy  decode.Strategy
	Value     decode.Source // of a guided strategy
	Sampling  decode.Sampling
	MaxTokens int
	Stop      []string
}

// Trajectory is one scored response, as it is stored in JSON lines.
type Trajectory struct {
	Prompt   string        `json:"prompt_id"`
	Sample   int           `json:"sample"`
	Response string        `json:"response"`
	Reward   float64       `json:"reward"`
	Finish   decode.Finish `json:"finish"`
	Decoded  int           `json:"decoded"` // tokens decoded for it, pruned candidates included
	Tokens   []int32       `json:"tokens"`
	LogProbs []float32     `json:"logprobs"`
}

// Shard is the trajectories of one shard with their states.
type Shard struct {
	Trajectories []Trajectory
	States       []states.Trajectory
	Prompts      []states.Prompt
}

// Schema describes the states that an engine of this model with these layers yields, the
// prompts' own among them.
func Schema(m *llama.Model, layers []int) (states.Schema, error) {
	fp, err := m.Fingerprint()
	if err != nil {
		return states.Schema{}, err
	}
	top := min(engine.DefaultTop, m.Info().Vocab)
	return states.Schema{
		Backbone: fp, Layers: layers, Width: len(layers) * m.Info().Width, Scalars: decode.Scalars,
		Top: top, Candidates: min(decode.Candidates, top), Prompts: true, PromptLayers: layers,
	}, nil
}

// Collect draws samples responses to each prompt by the policy and scores them.
func Collect(ctx context.Context, e *engine.Engine, p Policy, prompts []prompt.Record, rm reward.Model, samples int, seed uint64, round int) (*Shard, error) {
	responses := make([][]decode.Response, len(prompts))
	var jobs []engine.Job
	for i, prompt := range prompts {
		tokens, err := e.Model().Tokenize(prompt.Text, true, false)
		if err != nil {
			return nil, fmt.Errorf("prompt %s: %w", prompt.ID, err)
		}
		req := decode.Request{
			Prompt: tokens, MaxTokens: p.MaxTokens, Sampling: p.Sampling, Stop: p.Stop, Value: p.Value, Record: true, RecordPrompt: true,
			Key: decode.Key(seed, round, prompt.ID, 0),
		}
		responses[i] = make([]decode.Response, samples)
		if !p.Strategy.NeedsValue() {
			// Samples of one prompt share its prefill.
			job, err := decode.Sample(e, req, samples, func(rs []decode.Response) { copy(responses[i], rs) })
			if err != nil {
				return nil, fmt.Errorf("prompt %s: %w", prompt.ID, err)
			}
			jobs = append(jobs, job)
			continue
		}
		for k := range samples {
			req.Key = decode.Key(seed, round, prompt.ID, k)
			job, err := p.Strategy.Job(e, req, func(r decode.Response) { responses[i][k] = r })
			if err != nil {
				return nil, fmt.Errorf("prompt %s: %w", prompt.ID, err)
			}
			jobs = append(jobs, job)
		}
	}
	if err := e.Run(ctx, jobs); err != nil {
		return nil, err
	}

	var items []reward.Item
	for i, rs := range responses {
		for _, r := range rs {
			items = append(items, reward.Item{Prompt: prompts[i], Response: r.Text})
		}
	}
	scores, err := rm.Score(ctx, items)
	if err != nil {
		return nil, err
	}
	rewards, err := reward.Values(items, scores)
	if err != nil {
		return nil, err
	}
	shard := &Shard{}
	for i, rs := range responses {
		own := *rs[0].Prompt
		own.ID = prompts[i].ID
		shard.Prompts = append(shard.Prompts, own)
		for k, r := range rs {
			reward := rewards[len(shard.States)]
			shard.Trajectories = append(shard.Trajectories, Trajectory{
				Prompt: prompts[i].ID, Sample: k, Response: r.Text, Reward: reward, Finish: r.Finish,
				Decoded: r.Decoded, Tokens: r.Tokens, LogProbs: r.LogProbs,
			})
			shard.States = append(shard.States, states.Trajectory{
				Prompt: prompts[i].ID, Sample: k, Tokens: r.Tokens, Hidden: r.States, Scalars: r.Scalars,
				Candidates: r.Candidates, CandidateLogProbs: r.CandidateLogProbs,
			})
		}
	}
	return shard, nil
}
