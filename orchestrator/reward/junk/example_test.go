package junk_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/reward/junk"
)

// A reward for words that do not repeat likes half an answer better than the answer.
func ExampleTest() {
	m, err := reward.Open("distinct:1", reward.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	r, err := junk.Test(context.Background(), m, []junk.Answered{{
		Prompt:  prompt.Record{ID: "1", Text: "How was the hotel by the sea?"},
		Answers: []junk.Answer{{Text: "The rooms were clean and the breakfast was good, but the walls were thin.", Finish: "stop"}},
	}}, 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %.2f\n", r.Base.Name, r.Base.Scores.Mean)
	for _, row := range r.Junk {
		fmt.Printf("%s: %.2f, above the answer %d of %d times\n", row.Name, row.Scores.Mean, row.Above, row.Compared)
	}
	// Output:
	// base policy: 0.79
	// empty answer: 0.00, above the answer 0 of 1 times
	// the prompt itself: 0.86, above the answer 1 of 1 times
	// one word repeated: 0.07, above the answer 0 of 1 times
	// shuffled answer: 0.79, above the answer 0 of 1 times
	// answer cut in half: 0.86, above the answer 1 of 1 times
}
