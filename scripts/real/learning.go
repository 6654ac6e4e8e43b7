package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
)

// head is a value function with what identifies it.
type head struct {
	*valuehead.Head
	key string
}

// options are those of the loop under a seed.
func (w *work) options(seed int) loop.Options {
	o := loop.Defaults(w.m.Info().Layers)
	o.Model, o.Reward, o.Rounds, o.MaxTokens, o.Seed, o.Sampling = w.model, w.reward, 1, w.maxTokens, uint64(seed), sampling
	return o
}

// collect draws and scores rollouts by the loop that ivo iterate is.
func (w *work) collect(ctx context.Context, dir string, prompts []prompt.Record, o loop.Options) (*learn.Data, error) {
	encoded, _, err := prompt.Fit(w.encoder, prompts, func(tokens int) error { return o.Fits(tokens, w.m.Info().ContextTrain) }, true)
	if err != nil {
		return nil, err
	}
	err = loop.Run(ctx, dir, o, loop.Work{
		Model: w.m, Encoder: w.encoder, Reward: w.rewards[0], Prompts: encoded,
		Notify: func(e loop.Event) { w.show(w.name+", "+e.Stage, e.Done, e.Total, e.Unit, e.Note) },
	})
	if err != nil {
		return nil, err
	}
	return loop.Data(dir, 0, "")
}

// train fits a value function that is a sum over tokens, and keeps it beside the cells.
func (w *work) train(ctx context.Context, data *learn.Data, name string, o loop.Options) (*head, *learn.Metrics, error) {
	file, metrics := name+".gguf", name+".json"
	key := run.Key("additive", 1, data.From, o.Seed)
	if done, err := w.cells.Done(metrics, key); err != nil {
		return nil, nil, err
	} else if !done {
		embeddings, err := w.m.Embeddings()
		if err != nil {
			return nil, nil, err
		}
		defer embeddings.Close()
		h, m, err := learn.Train(ctx, data, valuehead.FeaturesOf(valuehead.Additive), valuehead.TrainOptions{Kind: valuehead.Additive, Embeddings: embeddings, Seed: o.Seed})
		if err != nil {
			return nil, nil, err
		}
		if err := h.Save(w.cells.Path(file)); err != nil {
			return nil, nil, err
		}
		if err := run.Put(w.cells, metrics, key, data.From, []string{file}, m); err != nil {
			return nil, nil, err
		}
	}
	content, err := run.Identify(w.cells.Path(file))
	if err != nil {
		return nil, nil, err
	}
	h, err := valuehead.Load(w.cells.Path(file))
	if err != nil {
		return nil, nil, err
	}
	m, err := run.Value[learn.Metrics](w.cells.Path(metrics))
	return &head{h, content.XXHash}, m, err
}

// point is what a value function comes to that has learned from so many prompts.
type point struct {
	prompts int
	*learn.Metrics
}

// curve trains on an eighth, a quarter, a half and all of some prompts, which are collected anew:
// the run that the methods follow stays as it is.
func (w *work) curve(ctx context.Context, dir string, most int) (out []point, err error) {
	prompts := w.prompts.learn[:min(most, len(w.prompts.learn))]
	o := w.options(1)
	if _, err := w.collect(ctx, dir, prompts, o); err != nil {
		return nil, err
	}
	stored, err := loop.ReadOptions(dir)
	if err != nil {
		return nil, err
	}
	rounds, err := loop.Trajectories(dir, stored, 1, 1)
	if err != nil {
		return nil, err
	}
	for shards := max(1, len(rounds[0])/8); shards <= len(rounds[0]); shards *= 2 {
		data, err := learn.Of(dir, [][]string{rounds[0][:shards]}, stored.Inputs.Scores)
		if err != nil {
			return nil, err
		}
		_, m, err := w.train(ctx, data, fmt.Sprintf("curve-%d", shards), o)
		if err != nil {
			return nil, err
		}
		out = append(out, point{min(shards*stored.ShardPrompts, len(prompts)), m})
	}
	return out, nil
}

// rounds trains on the responses of two rounds, of which the second followed what the first had
// learned, and on as many of the base policy.
func (w *work) rounds(ctx context.Context, dir string, prompts []prompt.Record) error {
	guided, more := w.options(1), w.options(1)
	guided.Rounds, more.Samples = 2, 2*more.Samples
	for _, r := range []struct {
		name string
		loop.Options
	}{{twoRounds, guided}, {eightSamples, more}} {
		data, err := w.collect(ctx, filepath.Join(dir, r.name), prompts, r.Options)
		if err != nil {
			return err
		}
		h, _, err := w.train(ctx, data, r.name, r.Options)
		if err != nil {
			return err
		}
		w.heads[r.name] = []head{*h}
	}
	return nil
}

// fits is the share of the rewards' variance that a value function explains over all states and at
// the last ones, by cross-validation over prompts where training did one, and how it is known.
func fits(m *learn.Metrics) (all, last float64, how string) {
	if a := m.Training.Additive; a != nil {
		return a.Kept.R2, a.Kept.R2Last, "by cross-validation over prompts"
	}
	return m.Training.HeldOut.All.R2, m.Training.HeldOut.Last.R2, "on prompts that were held out"
}
