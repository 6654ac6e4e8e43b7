package rollout_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

// Two samples of a prompt, with the states of two layers after each of their tokens.
func ExampleCollect() {
	model, err := llama.Load(lab+"s.gguf", llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	layers := []int{0, 3}
	e, err := engine.New(model, engine.Params{Threads: 1, Layers: layers})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	record := prompt.Record{ID: "kettle", Text: "i broke a green kettle at home.\nTL;DR:"}
	tokens, err := model.Tokenize(record.Text, true, false)
	if err != nil {
		log.Fatal(err)
	}

	shard, err := rollout.Collect(context.Background(), e, batch.Policy{
		Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: policy.Sampling{Temp: 0.7}, MaxTokens: 24,
		Key: func(id string, sample int) uint64 { return policy.Key(1, 1, id, sample) },
	}, []batch.Task{{Encoded: prompt.Encoded{Record: record, Tokens: tokens}, Samples: 2}})
	if err != nil {
		log.Fatal(err)
	}
	for i, r := range shard.Responses() {
		s := shard.States[i]
		fmt.Println(r.Prompt, r.Sample, "has all its states:", len(s.Hidden) == len(r.Tokens)*len(layers)*model.Info().Width)
	}
	// Output:
	// kettle 0 has all its states: true
	// kettle 1 has all its states: true
}
