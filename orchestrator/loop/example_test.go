package loop_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// A whole run in small: sample, score, train, sample again with the value function, evaluate.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	model, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	encoder, err := prompt.NewEncoder(model, prompt.Options{})
	if err != nil {
		log.Fatal(err)
	}
	records, err := prompt.Read("../../testdata/lab/summarize-train.jsonl", prompt.ReadOptions{})
	if err != nil {
		log.Fatal(err)
	}
	prompts, _, err := prompt.Fit(encoder, records[:10], func(int) error { return nil }, true)
	if err != nil {
		log.Fatal(err)
	}
	short, err := reward.Open("length:10", reward.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer short.Close()

	o := loop.Defaults(model.Info().Layers)
	o.Reward, o.Samples, o.MaxTokens, o.HoldOut, o.Search.Beams = "length:10", 2, 16, 4, 2
	o.Context.Threads, o.Head.Hidden, o.Head.Epochs = 1, 8, 1
	err = loop.Run(context.Background(), dir, o, loop.Work{Model: model, Encoder: encoder, Reward: short, Prompts: prompts[:6], Test: prompts[6:]})
	if err != nil {
		log.Fatal(err)
	}
	e, err := loop.ReadEvaluation(dir)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range e.Methods {
		fmt.Println(m.Method, m.N, "prompts")
	}
	// Output:
	// base 4 prompts
	// base-t0.35 4 prompts
	// greedy 4 prompts
	// best-of-4 4 prompts
	// ivo* 4 prompts
	// ivo 4 prompts
}
