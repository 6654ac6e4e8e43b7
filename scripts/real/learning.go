package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	o.Context.Threads = threads()
	return o
}

// learn draws and scores rollouts and trains a value function on them, by the loop that ivo
// iterate is.
func (w *work) learn(ctx context.Context, dir string, prompts []prompt.Record, o loop.Options) (*head, *learn.Metrics, error) {
	encoded, _, err := prompt.Fit(w.encoder, prompts, func(tokens int) error { return o.Fits(tokens, w.m.Info().ContextTrain) }, true)
	if err != nil {
		return nil, nil, err
	}
	err = loop.Run(ctx, dir, o, loop.Work{
		Model: w.m, Encoder: w.encoder, Reward: w.rewards[0], Prompts: encoded, Redo: true, // as cells are
		Notify: func(e loop.Event) { w.show(w.name+", "+e.Stage, e.Done, e.Total, e.Unit, e.Note) },
	})
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, run.Head(o.Rounds))
	content, err := run.Identify(file)
	if err != nil {
		return nil, nil, err
	}
	h, err := valuehead.Load(file)
	if err != nil {
		return nil, nil, err
	}
	m, err := run.Value[learn.Metrics](filepath.Join(dir, run.Metrics(o.Rounds)))
	return &head{h, content.XXHash}, m, err
}

// fit tells what a value function comes to that learns from some data, in a file beside the cells.
func (w *work) fit(ctx context.Context, data *learn.Data, name string, o loop.Options) (*learn.Metrics, error) {
	file := name + ".json"
	key := run.Key("fit", 2, data.From, o.Head, o.Seed)
	if done, err := w.cells.Done(file, key); err != nil {
		return nil, err
	} else if done {
		return run.Value[learn.Metrics](w.cells.Path(file))
	}
	embeddings, err := w.m.Embeddings()
	if err != nil {
		return nil, err
	}
	defer embeddings.Close()
	options := o.Head.Options(o.Seed)
	options.Embeddings, options.Temp = embeddings, o.Sampling.Temp
	_, m, err := learn.Fit(ctx, data, learn.Fitting{TrainOptions: options, Trying: func(done, total int, kind string) {
		w.show(w.name+", "+name, done, total, "kinds", kind)
	}})
	if err != nil {
		return nil, err
	}
	return m, run.Put(w.cells, file, key, data.From, nil, m)
}

// point is what a value function comes to that has learned from so many prompts.
type point struct {
	prompts int
	*learn.Metrics
}

// curve trains on an eighth, a quarter, a half and all of some prompts. The first of them are those
// of the run of the first seed, from a copy of which it goes on.
func (w *work) curve(ctx context.Context, dir string, most int) (out []point, err error) {
	prompts := w.prompts.learn[:min(most, len(w.prompts.learn))]
	o := w.options(1)
	if err := copyOnce(filepath.Join(dir, "curve"), filepath.Join(dir, "run-1")); err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "curve")
	_, whole, err := w.learn(ctx, dir, prompts, o)
	if err != nil {
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
	for shards := max(1, len(rounds[0])/8); shards < len(rounds[0]); shards *= 2 {
		data, err := learn.Of(dir, [][]string{rounds[0][:shards]}, stored.Inputs.Scores)
		if err != nil {
			return nil, err
		}
		m, err := w.fit(ctx, data, fmt.Sprintf("curve-%d", shards), o)
		if err != nil {
			return nil, err
		}
		out = append(out, point{shards * stored.ShardPrompts, m})
	}
	return append(out, point{len(prompts), whole}), nil
}

// rounds trains on the responses of two rounds, of which the second followed what the first had
// learned, and on as many of the base policy. Both go on from the run of the first seed.
func (w *work) rounds(ctx context.Context, dir string, prompts []prompt.Record) error {
	guided, more := w.options(1), w.options(1)
	guided.Rounds, more.Samples = 2, 2*more.Samples
	for _, r := range []struct {
		name string
		loop.Options
	}{{twoRounds, guided}, {eightSamples, more}} {
		if err := copyOnce(filepath.Join(dir, r.name), filepath.Join(dir, "run-1")); err != nil {
			return err
		}
		h, _, err := w.learn(ctx, filepath.Join(dir, r.name), prompts, r.Options)
		if err != nil {
			return err
		}
		w.heads[r.name] = []head{*h}
	}
	return nil
}

// copyOnce makes the folder a copy of another, unless it is there.
func copyOnce(dir, from string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.CopyFS(part, os.DirFS(from)); err != nil {
		return err
	}
	return os.Rename(part, dir)
}

// fits is the share of the rewards' variance that a value function explains over all states and at
// the last ones, by cross-validation over prompts where it was chosen by one, and how that is known.
func fits(m *learn.Metrics) (all, last float64, how string) {
	if len(m.Tried) == 0 {
		return m.Training.HeldOut.All.R2, m.Training.HeldOut.Last.R2, "on prompts that were held out"
	}
	best := slices.MaxFunc(m.Tried, func(a, b valuehead.Trial) int { return cmp.Compare(a.Explained(), b.Explained()) })
	return best.R2, best.R2Last, "by cross-validation over prompts"
}

// trials tells what a value function was chosen from.
func trials(m *learn.Metrics) string {
	var out []string
	for _, t := range m.Tried {
		out = append(out, fmt.Sprintf("%s %.2f and %.2f", t.Name, t.R2, t.R2Last))
	}
	return strings.Join(out, "; ")
}
