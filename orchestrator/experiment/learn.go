package experiment

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
)

// prepare has a value function ready to guide under a seed, where it is one that is learned.
func (w *work) prepare(ctx context.Context, id string, seed uint64) error {
	at := slices.IndexFunc(w.x.Values, func(v recipe.Value) bool { return v.ID == id })
	if at < 0 || w.ready[prepared{id, seed}] {
		return nil
	}
	file, err := w.learned(ctx, &w.x.Values[at], seed)
	if err != nil {
		return fmt.Errorf("values.%s: %w", id, err)
	}
	if w.ready[prepared{id, seed}] = true; file == "" {
		return nil
	}
	return w.x.Learned(id, seed, file)
}

// Teach has a value function of the recipe ready under a seed, where it is one that is learned: the recipe's methods
// draw by it from then on. What that takes lies in a folder of an experiment.
func Teach(ctx context.Context, x *recipe.Experiment, dir, value string, seed uint64, notify func(Event)) error {
	w := begun(x, notify)
	if err := w.open(dir); err != nil {
		return err
	}
	return errors.Join(w.prepare(ctx, value, seed), w.d.Close())
}

// prepared is a value function under a seed.
type prepared struct {
	value string
	seed  uint64
}

// learned is the file of a value function that is learned; empty of one that is there.
func (w *work) learned(ctx context.Context, v *recipe.Value, seed uint64) (string, error) {
	s := v.Source
	if s.Run == "" {
		if s.Learn == nil {
			return "", nil
		}
		return w.train(ctx, v.ID, *s.Learn)
	}
	dir, err := w.loop(ctx, w.x.Run(s.Run), seed)
	if err != nil {
		return "", err
	}
	if s.After > 0 {
		return filepath.Join(dir, run.Head(s.After)), w.keepLearned(v.ID, seed, filepath.Join(dir, run.Metrics(s.After)))
	}
	l := *s.Learn
	l.Run, l.Seed = dir, seed
	file, err := w.train(ctx, v.ID, l)
	if err != nil {
		return "", err
	}
	return file, w.keepLearned(v.ID, seed, strings.TrimSuffix(file, ".gguf")+".json")
}

// loop makes a run of the recipe under a seed, in a folder of the experiment that bears its key.
func (w *work) loop(ctx context.Context, r *recipe.Run, seed uint64) (string, error) {
	key, err := w.x.Key(r, seed, r.Options.Rounds)
	if err != nil {
		return "", err
	}
	folder := path.Join("runs", key)
	dir := w.d.Path(folder)
	if w.looped[key] {
		return dir, nil
	}
	o, of := w.x.Loop(r, seed)
	of.Drawer, of.Own = rollout.Under(folder, of.Drawer), of.Own.Under(folder)
	if scored := of.Elsewhere; scored != nil {
		of.Elsewhere = func(m reward.Model) batch.Elsewhere { return scored(m).Under(folder) }
	}
	of.Notify = func(e loop.Event) {
		w.notify(Event{Stage: fmt.Sprintf("run %s, seed %d: %s", r.ID, seed, e.Stage), Done: e.Done, Total: e.Total, Unit: e.Unit, Note: e.Note})
	}
	if err := loop.Run(ctx, dir, o, of); err != nil {
		return "", err
	}
	w.looped[key] = true
	return dir, nil
}

// train fits a head to a run's stored states and what the recipe's reward said of its responses.
func (w *work) train(ctx context.Context, id string, l recipe.Learn) (name string, err error) {
	o, err := loop.ReadOptions(l.Run)
	if err != nil {
		return "", err
	}
	data, err := loop.Data(l.Run, l.Round, w.scorers[0].Folder())
	if err != nil {
		return "", err
	}
	var embeddings *llama.Embeddings
	if !l.Ahead { // what each token adds would take the place of what such a head says of it
		if embeddings, err = loop.TokenEmbeddings(ctx, l.Run, data); err != nil {
			return "", err
		}
	}
	key := run.Key("value", 1, l, o.Head, o.Sampling.Temp, data.From, embeddings != nil)
	file, metrics := path.Join("values", key+".gguf"), path.Join("values", key+".json")
	if embeddings != nil {
		defer embeddings.Close()
	}
	if done, err := w.d.Done(metrics, key); done || err != nil {
		return w.d.Path(file), err
	}
	w.begin("learn "+id, 1, "value functions")
	how := o.Head
	if l.Kind != "" {
		how.Kind = l.Kind
	}
	options := how.Options(l.Seed)
	options.Target, options.Temp = valuehead.Target(l.Target), o.Sampling.Temp
	if options.Progress = func(p valuehead.Progress) { w.at(p.Step, p.Steps, "steps") }; embeddings != nil {
		options.Embeddings = embeddings
	}
	if l.Ahead {
		options.Shape.Embedding = embedding
	}
	h, m, err := learn.Fit(ctx, data, learn.Fitting{TrainOptions: options, OnePass: l.Ahead, Trying: func(done, total int, _ string) { w.at(done, total, "kinds") }})
	if err != nil {
		return "", err
	}
	if err := w.d.Make(file); err != nil {
		return "", err
	}
	if err := h.Save(w.d.Path(file)); err != nil {
		return "", err
	}
	return w.d.Path(file), run.Put(w.d, metrics, key, nil, []string{file}, m)
}

// embedding is the width of a token's own features in heads that value tokens before they are fed.
const embedding = 32
