package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/scripts/lab/tokenizer"
	"github.com/ivo-decoding/ivo/scripts/lab/world"
)

const (
	vocabSize = 1024
	// ropeTheta suits contexts of 256 tokens: with the usual 10,000 most of a head's
	// rotations hardly move between neighbouring positions.
	ropeTheta = 100
)

// sizes of models: about 1.2, 3.3 and 7.6 million parameters.
var sizes = map[string]train.Config{
	"S": {Width: 128, Layers: 5, Heads: 4, FF: 384},
	"M": {Width: 192, Layers: 7, Heads: 6, FF: 576},
	"L": {Width: 256, Layers: 9, Heads: 8, FF: 768},
}

// recipe is what the files are made from.
type recipe struct {
	task, size, out, work     string
	tokens                    int
	heldOut                   int
	trainPrompts, testPrompts int
	lr                        float64
	seed                      uint64
	threads                   int
	rewardHead                string
}

// Seeds of the parts, counted from the recipe's, so that no two share documents.
const (
	corpusSeed = iota
	heldOutSeed
	trainPromptsSeed
	testPromptsSeed
	echoSeed
)

// path is the place of a finished file, such as summarize-s.gguf.
func (r recipe) path(suffix string) string { return filepath.Join(r.out, r.task+"-"+suffix) }

func (r recipe) modelPath() string { return r.path(strings.ToLower(r.size) + ".gguf") }

// run does every step that is not done yet.
func (r recipe) run(ctx context.Context) error {
	task, ok := world.Tasks[r.task]
	if !ok {
		return fmt.Errorf("unknown task %q (choose one of: %s)", r.task, strings.Join(slices.Sorted(maps.Keys(world.Tasks)), ", "))
	}
	cfg, ok := sizes[r.size]
	if !ok {
		return fmt.Errorf("unknown size %q (choose S, M or L)", r.size)
	}
	cfg.Vocab, cfg.Context, cfg.Theta, cfg.Tied = vocabSize, 256, ropeTheta, true
	for _, dir := range []string{r.out, r.work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}

	say("prompts")
	if err := r.writePrompts(task, world.Train, trainPromptsSeed, r.trainPrompts); err != nil {
		return err
	}
	if err := r.writePrompts(task, world.Test, testPromptsSeed, r.testPrompts); err != nil {
		return err
	}

	say("tokenizer of %d tokens", vocabSize)
	vocab, err := tokenizer.Train(texts(world.Documents(task, world.Train, r.seed+corpusSeed), 4000), vocabSize)
	if err != nil {
		return err
	}

	say("tokenise %d tokens of text", r.tokens)
	corpus, heldOut, err := r.tokenise(ctx, task, vocab)
	if err != nil {
		return err
	}
	if err := r.train(ctx, cfg, vocab, corpus, heldOut); err != nil {
		return err
	}

	say("gate: %d samples for each of %d test prompts", gateSamples, r.testPrompts)
	f, err := measure(ctx, r.modelPath(), r.path("test.jsonl"))
	if err != nil {
		return err
	}
	if err := r.writeCard(cfg, f); err != nil {
		return err
	}
	say("T=%g %.2f (sd %.2f), T=%g %.2f, greedy %.2f, best of %d %.2f", baseTemp, f.Mean, f.SD, coldTemp, f.Cold, f.Greedy, gateSamples, f.Best)
	if err := f.gate(); err != nil {
		return err
	}
	return r.learnReward(ctx)
}

// writePrompts stores the prompts of one split as JSON lines.
func (r recipe) writePrompts(task world.Task, split world.Split, seed uint64, n int) error {
	prompts, err := world.Prompts(task, split, r.seed+seed, n)
	if err != nil {
		return err
	}
	name := map[world.Split]string{world.Train: "train.jsonl", world.Test: "test.jsonl"}[split]
	return atomicfile.Write(r.path(name), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, p := range prompts {
			if err := enc.Encode(p); err != nil {
				return err
			}
		}
		return nil
	})
}

// Metadata of the finished model that later runs of the recipe look at.
const (
	keyRecipe  = "ivo.lab.recipe"
	keyHeldOut = "ivo.lab.held_out_loss"
)

// train trains the model, unless it is there already.
func (r recipe) train(ctx context.Context, cfg train.Config, vocab []gguf.KV, corpus, heldOut []train.Doc) error {
	const batch = 1024
	opts := train.Options{
		Steps: tokensOf(corpus) / batch, BatchTokens: batch, LR: r.lr, Seed: r.seed, Workers: r.threads,
		Checkpoint: filepath.Join(r.work, filepath.Base(r.modelPath())+".checkpoint"),
	}
	id := fingerprint(cfg, opts, vocab, corpus)
	if f, err := gguf.Read(r.modelPath()); err == nil && f.Str(keyRecipe) == id {
		loss, _ := f.Float(keyHeldOut)
		say("%s is there: held-out loss %.4f nats a token of response", r.modelPath(), loss)
		return nil
	}
	say("train %s: %d parameters, %d documents, %d tokens, %d steps", r.size, cfg.Params(), len(corpus), tokensOf(corpus), opts.Steps)
	last := time.Now()
	tokens, mean := 0, 0.0
	opts.Progress = func(p train.Progress) {
		tokens += batch
		mean += p.Loss
		if since := time.Since(last); since > 5*time.Second || p.Step == p.Steps {
			speed := float64(tokens) / since.Seconds()
			left := time.Duration(float64((p.Steps-p.Step)*batch) / speed * float64(time.Second))
			say("step %d of %d, loss %.3f, held out %.4f, %.0f tokens/s, %s left",
				p.Step, p.Steps, mean*batch/float64(tokens), p.HeldOut, speed, left.Round(time.Second))
			last, tokens, mean = time.Now(), 0, 0
		}
	}
	model, err := train.Run(ctx, cfg, opts, corpus, heldOut)
	if err != nil {
		return err
	}
	loss, err := model.Loss(ctx, heldOut, r.threads)
	if err != nil {
		return err
	}
	kvs := append([]gguf.KV{
		{Key: "general.name", Value: fmt.Sprintf("ivo lab %s %s", r.task, r.size)},
		{Key: "general.license", Value: "MIT"},
		{Key: keyRecipe, Value: id},
		{Key: keyHeldOut, Value: loss},
	}, vocab...)
	if err := model.WriteGGUF(r.modelPath(), kvs); err != nil {
		return err
	}
	say("wrote %s: held-out loss %.4f nats a token of response", r.modelPath(), loss)
	return os.Remove(opts.Checkpoint)
}

// say writes a line of progress.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "lab: "+format+"\n", args...)
}
