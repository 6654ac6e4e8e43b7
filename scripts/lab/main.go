// Command lab makes the lab's files from nothing: prompts, a tokenizer and small
// models trained on a generated text world whose rewards are known exactly. Run it
// from the repository's root with make lab. It is deterministic and can be stopped
// anywhere: run again, it goes on from the last checkpoint, and what is finished
// stays.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/ivo-decoding/ivo/scripts/lab/world"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn) // llama.cpp is chatty
	var r recipe
	var names []string
	for _, m := range models {
		names = append(names, m.name)
	}
	chosen := flag.String("models", strings.Join(names, ","), "models to make, in this order")
	tokens := flag.Int("tokens", 0, "tokens of the world's text, each seen once; echoes come on top (default: the model's own)")
	lr := flag.Float64("lr", 0, "peak learning rate (default: the model's own)")
	flag.StringVar(&r.out, "out", "testdata/lab", "folder of the finished files")
	flag.StringVar(&r.work, "work", ".cache/lab", "folder of checkpoints")
	flag.IntVar(&r.heldOut, "held-out", 500, "documents to measure the held-out loss on")
	flag.IntVar(&r.prompts[world.Train], "train-prompts", 3000, "prompts to learn a value function on")
	flag.IntVar(&r.prompts[world.Validation], "validation-prompts", 200, "prompts to choose settings on")
	flag.IntVar(&r.prompts[world.Test], "test-prompts", 300, "prompts to evaluate on")
	flag.Uint64Var(&r.seed, "seed", 1, "seed of the world and of training")
	flag.IntVar(&r.threads, "threads", runtime.NumCPU(), "threads to train with (does not change the result)")
	flag.IntVar(&r.rewardEpochs, "reward-epochs", 4, "most passes over the pairs of a learned reward that is trained by steps")
	only := flag.String("reward", "", "make the learned rewards of this policy alone, or of all, of the files that are there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	make := func() error { return r.runAll(ctx, strings.Split(*chosen, ","), *tokens, *lr) }
	if *only != "" {
		make = func() error { return r.learnRewards(ctx, strings.TrimPrefix(*only, "all")) }
	}
	if err := make(); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// runAll makes several models. One that fails its gate does not keep the others from being made.
func (r recipe) runAll(ctx context.Context, names []string, tokens int, lr float64) error {
	var failed error
	for _, name := range names {
		var ok bool
		if r.model, ok = find(name); !ok {
			return fmt.Errorf("unknown model %q (choose among those that -help lists)", name)
		}
		if tokens > 0 {
			r.tokens = tokens
		}
		if lr > 0 {
			r.lr = lr
		}
		if r.stageDone() {
			say("%s is a stage that is not kept, and what was made from it is there", name)
			continue
		}
		err := r.run(ctx)
		if failed = errors.Join(failed, err); err != nil && !errors.Is(err, errGate) {
			break
		}
	}
	return failed
}

// stageDone says whether the model is only a stage on the way to others, which are all there.
func (r recipe) stageDone() bool {
	if r.store != "" {
		return false
	}
	for _, m := range models {
		if m.from != r.name {
			continue
		}
		if _, err := os.Stat(r.path(m.name + ".gguf")); err != nil {
			return false
		}
	}
	return true
}
