package decode_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// Blockwise beam search, guided by a function of the text so far that likes lamps. With a
// trained head, value.Head takes the place of value.Prefix.
func ExampleStrategy_Job() {
	model, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	search := decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 3, Block: 2}}
	e, err := engine.New(model, engine.Params{Threads: 1, Sequences: search.Sequences()})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	tokens, err := model.Tokenize("i found a red lamp. yesterday i sold a huge drum.\nTL;DR:", true, false)
	if err != nil {
		log.Fatal(err)
	}

	lamps := value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
		scores := make([]float64, len(texts))
		for i, text := range texts {
			scores[i] = float64(strings.Count(text, "lamp"))
		}
		return scores, nil
	})
	request := decode.Request{Prompt: tokens, MaxTokens: 24, Sampling: policy.Sampling{Temp: 0.7}, Key: 1, Value: lamps}
	job, err := search.Job(e, request, func(r decode.Response) {
		fmt.Println("value", r.Value, "and lamps in it:", strings.Count(r.Text, "lamp"))
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := e.Run(context.Background(), []engine.Job{job}); err != nil {
		log.Fatal(err)
	}
	// Output: value 1 and lamps in it: 1
}
