package fleet_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

// A coordinator has a shard drawn by a worker, which is sent the model.
func Example() {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	model, err := llama.Load(lab+"s.gguf", llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	ctx := context.Background()
	c, err := fleet.Lead(ctx, fleet.Options{Dir: dir, Listen: "127.0.0.1:0"}, model)
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		ended <- fleet.Work(ctx, fleet.WorkerOptions{
			URL: c.Address(), Cache: dir + "/cache", Threads: 1,
			Load: func(path string) (*llama.Model, error) { return llama.Load(path, llama.ModelParams{}) },
		})
	}()

	tokens, err := model.Tokenize("i broke a green kettle at home.\nTL;DR:", true, false)
	if err != nil {
		log.Fatal(err)
	}
	shard := &rollout.Drawing{
		Key: "a-shard", Name: "a shard", Context: batch.Context{Cells: 512}, Parallel: 4,
		Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: policy.Sampling{Temp: 0.7}, MaxTokens: 8, Streams: rollout.Streams{Seed: 1},
		Tasks: []rollout.Task{{ID: "kettle", Tokens: tokens, Samples: 2}},
	}
	err = c.Draw(ctx, []*rollout.Drawing{shard}, rollout.Taker{Put: func(_ int, s *rollout.Shard) error {
		for _, a := range s.Answers {
			fmt.Println(a.Prompt, a.Sample, "has", a.Emitted, "tokens")
		}
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Finish(ctx), <-ended)
	// Output:
	// kettle 0 has 8 tokens
	// kettle 1 has 8 tokens
	// <nil> <nil>
}
