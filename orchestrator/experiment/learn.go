package experiment

import (
	"context"
	"fmt"
	"path"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
)

// learn trains the value functions that are learned from runs, those that are not there.
func (w *work) learn(ctx context.Context) error {
	for i := range w.x.Values {
		v := &w.x.Values[i]
		if v.Source.Learn == nil {
			continue
		}
		file, err := w.train(ctx, v)
		if err != nil {
			return fmt.Errorf("values.%s: %w", v.ID, err)
		}
		w.x.Learned(v.ID, w.d.Path(file))
	}
	return w.x.CheckLearned()
}

// train fits a head to a run's stored states and what the recipe's reward said of its responses.
func (w *work) train(ctx context.Context, v *recipe.Value) (file string, err error) {
	l := v.Source.Learn
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
	key := run.Key("value", 1, *l, o.Head, o.Sampling.Temp, data.From, embeddings != nil)
	file, metrics := path.Join("values", key+".gguf"), path.Join("values", key+".json")
	if embeddings != nil {
		defer embeddings.Close()
	}
	if done, err := w.d.Done(metrics, key); done || err != nil {
		return file, err
	}
	w.begin("learn "+v.ID, 1, "value functions")
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
	return file, run.Put(w.d, metrics, key, nil, []string{file}, m)
}

// embedding is the width of a token's own features in heads that value tokens before they are fed.
const embedding = 32
