package batch_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// One prompt is answered by the model's likeliest tokens.
func ExampleOne() {
	model, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	encoder, err := prompt.NewEncoder(model, prompt.Options{})
	if err != nil {
		log.Fatal(err)
	}
	record := prompt.Record{ID: "1", Text: "at the market my teacher almost found a golden map. i smashed a green coat last week.\nTL;DR:"}
	tokens, err := encoder.Encode(record)
	if err != nil {
		log.Fatal(err)
	}
	policy := batch.Policy{Strategy: decode.Strategy{Method: decode.MethodSample}, MaxTokens: 24} // the zero sampling is greedy
	task := batch.Task{Encoded: prompt.Encoded{Record: record, Tokens: tokens}}
	r, _, err := batch.One(context.Background(), model, batch.Context{Cells: 256, Threads: 1}, nil, policy, task, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Text, r.Finish)
	// Output: so basically: smashed green coat, also found golden map, also found golden map stop
}
