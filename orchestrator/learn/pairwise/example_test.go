package pairwise_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/learn/pairwise"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// A head learns that bells are better than drums.
func ExampleTrunk_Train() {
	model, err := llama.Load(lab, llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	dir, err := os.MkdirTemp("", "states")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var pairs []preference.Pair
	for i := range 60 {
		pairs = append(pairs, preference.Pair{
			Prompt: prompt.Record{ID: fmt.Sprint(i), Text: fmt.Sprintf("i went out %d times.\nTL;DR:", i)},
			Chosen: " got a bell", Rejected: " got a drum",
		})
	}

	trunk := pairwise.Trunk{Model: model, Layers: []int{0, 3}, Template: pairwise.Bare}
	data, err := trunk.Collect(context.Background(), dir, pairs, nil)
	if err != nil {
		log.Fatal(err)
	}
	_, report, err := trunk.Train(context.Background(), data, pairwise.Options{Kind: pairwise.Linear})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("right about", report.Accuracy.Mean, "of the pairs held out")
	// Output: right about 1 of the pairs held out
}
