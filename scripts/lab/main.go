// Command lab makes the lab's files from nothing: prompts, a tokenizer and a small
// model trained on a generated text world whose rewards are known exactly. Run it
// from the repository's root with make lab. It is deterministic and can be stopped
// anywhere: run again, it goes on from the last checkpoint, and what is finished
// stays.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn) // llama.cpp is chatty
	var r recipe
	flag.StringVar(&r.task, "task", "summarize", "task of the world")
	flag.StringVar(&r.size, "size", "S", "size of the model: S, M or L")
	flag.StringVar(&r.out, "out", "testdata/lab", "folder of the finished files")
	flag.StringVar(&r.work, "work", ".cache/lab", "folder of checkpoints")
	flag.IntVar(&r.tokens, "tokens", 5_000_000, "tokens of the world's text, each seen once; echoes come on top")
	flag.IntVar(&r.heldOut, "held-out", 500, "documents to measure the held-out loss on")
	flag.IntVar(&r.trainPrompts, "train-prompts", 3000, "prompts to learn a value function on")
	flag.IntVar(&r.testPrompts, "test-prompts", 300, "prompts to evaluate on")
	flag.Float64Var(&r.lr, "lr", 1e-3, "peak learning rate")
	flag.Uint64Var(&r.seed, "seed", 1, "seed of the world and of training")
	flag.IntVar(&r.threads, "threads", runtime.NumCPU(), "threads to train with (does not change the result)")
	flag.StringVar(&r.rewardHead, "reward-head", "auto", "kind of the learned reward's head")
	only := flag.Bool("reward-only", false, "make the learned reward alone, of the files that are there")
	flag.Parse()
	r.size = strings.ToUpper(r.size)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	make := r.run
	if *only {
		make = r.learnReward
	}
	if err := make(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}
