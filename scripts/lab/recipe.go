package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/scripts/lab/tokenizer"
	"github.com/ivo-decoding/ivo/scripts/lab/world"
)

// recipe is what the files of one model are made from.
type recipe struct {
	model
	out, work    string
	heldOut      int
	prompts      [3]int // how many of each world.Split
	seed         uint64
	threads      int
	rewardEpochs int
}

// Seeds of the parts, counted from the recipe's, so that no two share documents.
const (
	corpusSeed = iota
	heldOutSeed
	trainPromptsSeed
	testPromptsSeed
	echoSeed
	validationPromptsSeed

	seedsOfStage = 16 // seeds from one stage to the next
)

// splits are in the order in which prompts are drawn.
var splits = []struct {
	split world.Split
	seed  uint64
}{{world.Train, trainPromptsSeed}, {world.Test, testPromptsSeed}, {world.Validation, validationPromptsSeed}}

// path is the place of a finished file, such as summarize-test.jsonl.
func (r recipe) path(name string) string { return filepath.Join(r.out, name) }

// modelPath is the place of the finished model.
func (r recipe) modelPath() string {
	if r.store == "" {
		return r.weightsPath(r.name)
	}
	return r.path(r.name + ".gguf")
}

// weightsPath is where the weights of a policy are kept in full precision.
func (r recipe) weightsPath(name string) string {
	if p, ok := find(name); ok && p.store == "F32" {
		return r.path(name + ".gguf")
	}
	return filepath.Join(r.work, name+".f32.gguf")
}

// run does every step that is not done yet.
func (r recipe) run(ctx context.Context) error {
	for _, dir := range []string{r.out, r.work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	say("%s: prompts", r.name)
	reserved, err := r.writePrompts()
	if err != nil {
		return err
	}
	say("tokenizer of %d tokens", vocabSize)
	vocab, err := tokenizer.Train(texts(world.Documents(world.Summarize{}, world.Train, r.seed+corpusSeed), 4000), vocabSize)
	if err != nil {
		return err
	}
	if r.chat != "" {
		vocab = append(vocab, gguf.KV{Key: "tokenizer.chat_template", Value: r.chat})
	}
	say("tokenise %d tokens of text", r.tokens)
	corpus, heldOut, err := r.tokenise(ctx, vocab, reserved)
	if err != nil {
		return err
	}
	if err := r.train(ctx, vocab, corpus, heldOut); err != nil || r.store == "" {
		return err
	}
	of := map[string]figures{}
	var failed error
	for _, task := range r.tasks {
		say("gate of %s: %d samples for each of %d test prompts", task, gateSamples, min(r.gated, r.prompts[world.Test]))
		f, err := measure(ctx, r.modelPath(), r.out, task, r.gated)
		if err != nil {
			return err
		}
		of[task] = f
		say("T=%g %.2f (sd %.2f), T=%g %.2f, greedy %.2f, best of %d %.2f", baseTemp, f.Mean, f.SD, coldTemp, f.Cold, f.Greedy, gateSamples, f.Best)
		if err := f.gate(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s, %s: %w", r.name, task, err))
		}
	}
	if err := r.writeCard(of); err != nil {
		return err
	}
	if failed == nil {
		return r.learnRewards(ctx, r.name)
	}
	return failed
}

// writePrompts stores the prompts of all splits of the policy's tasks as JSON lines, and returns those that no
// policy may be trained on.
func (r recipe) writePrompts() (reserved map[string]bool, err error) {
	reserved = map[string]bool{}
	for _, name := range r.tasks {
		seen := map[string]bool{}
		for _, s := range splits {
			prompts, err := world.Prompts(world.Tasks[name], s.split, r.seed+s.seed, r.prompts[s.split], seen)
			if err != nil {
				return nil, err
			}
			err = atomicfile.Write(r.path(fmt.Sprintf("%s-%s.jsonl", name, s.split)), func(w io.Writer) error {
				enc := json.NewEncoder(w)
				enc.SetEscapeHTML(false)
				for _, p := range prompts {
					if err := enc.Encode(p); err != nil {
						return err
					}
					if s.split != world.Train {
						reserved[p.Text] = true
					}
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return reserved, nil
}

// Metadata of the finished model that later runs of the recipe look at.
const (
	keyRecipe  = "ivo.lab.recipe"
	keyHeldOut = "ivo.lab.held_out_loss"
)

// train trains the model, unless it is there already.
func (r recipe) train(ctx context.Context, vocab []gguf.KV, corpus, heldOut []train.Doc) error {
	const batch = 1024
	cfg, weights := r.config(), r.weightsPath(r.name)
	opts := train.Options{
		Steps: tokensOf(corpus) / batch, BatchTokens: batch, LR: r.lr, Seed: r.seed, Workers: r.threads,
		Checkpoint: filepath.Join(r.work, r.name+".gguf.checkpoint"),
	}
	before, err := r.startedFrom()
	if err != nil {
		return err
	}
	id := fingerprint(cfg, opts, vocab, corpus, before)
	unknown := r.from != "" && before == "" // it started from a stage that is not kept
	if f, err := gguf.Read(r.modelPath()); err == nil && (f.Str(keyRecipe) == id || unknown) {
		loss, _ := f.Float(keyHeldOut)
		say("%s is there: held-out loss %.4f nats a token of response", r.modelPath(), loss)
		return nil
	}
	if r.from != "" {
		if opts.From, err = r.start(); err != nil {
			return err
		}
	}
	say("train %s: %d parameters, %d documents, %d tokens, %d steps", r.name, cfg.Params(), len(corpus), tokensOf(corpus), opts.Steps)
	opts.Progress = progress(batch)
	model, err := train.Run(ctx, cfg, opts, corpus, heldOut)
	if err != nil {
		return err
	}
	loss, err := model.Loss(ctx, heldOut, r.threads)
	if err != nil {
		return err
	}
	kvs := append([]gguf.KV{
		{Key: "general.name", Value: r.title()},
		{Key: "general.license", Value: "MIT"},
		{Key: keyRecipe, Value: id},
		{Key: keyHeldOut, Value: loss},
	}, vocab...)
	if err := model.WriteGGUF(weights, kvs); err != nil {
		return err
	}
	if weights != r.modelPath() {
		if err := llama.Quantize(weights, r.modelPath(), llama.QuantizeParams{Type: r.store, Threads: r.threads, Pure: true}); err != nil {
			return err
		}
	}
	say("wrote %s: held-out loss %.4f nats a token of response", r.modelPath(), loss)
	return os.Remove(opts.Checkpoint)
}

// startedFrom is the fingerprint of the model whose weights this one starts from, "" where there is none.
func (r recipe) startedFrom() (string, error) {
	from, ok := find(r.from)
	if !ok {
		return "", nil
	}
	before := r
	before.model = from
	f, err := gguf.Read(before.modelPath())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // start says so, if its weights are needed
	}
	if err != nil {
		return "", err
	}
	return f.Str(keyRecipe), nil
}

// start is the model to start with: grown, if it is a smaller one.
func (r recipe) start() (*train.Model, error) {
	path := r.weightsPath(r.from)
	f, err := gguf.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s starts from the weights of %s in full precision, and %s is not there (make it first: remove %s, if there is one, and use -models %s)",
			r.name, r.from, path, r.path(r.from+".gguf"), r.from)
	}
	if err != nil {
		return nil, err
	}
	m, err := train.Read(f, nil)
	if err != nil || m.Config.Width == r.shape.Width {
		return m, err
	}
	return grow(f, r.config(), filepath.Join(r.work, r.name+"-grown.gguf"), r.seed)
}

// title is what the model is called within its file.
func (r recipe) title() string {
	if r.name == "summarize-s" {
		return "ivo lab summarize S" // as it has always been
	}
	return "ivo " + strings.ReplaceAll(r.name, "-", " ")
}

// progress says every few seconds how far a training of batches of so many tokens has come.
func progress(batch int) func(train.Progress) {
	last := time.Now()
	tokens, mean := 0, 0.0
	return func(p train.Progress) {
		tokens += batch
		mean += p.Loss
		if since := time.Since(last); since > 5*time.Second || p.Step == p.Steps {
			speed := float64(tokens) / since.Seconds()
			left := time.Duration(float64((p.Steps-p.Step)*batch) / speed * float64(time.Second))
			say("step %d of %d, loss %.3f, held out %.4f, %.0f tokens/s, %s left",
				p.Step, p.Steps, mean*float64(batch)/float64(tokens), p.HeldOut, speed, left.Round(time.Second))
			last, tokens, mean = time.Now(), 0, 0
		}
	}
}

// say writes a line of progress.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "lab: "+format+"\n", args...)
}
