package reward_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

func ExampleOpen() {
	m, err := reward.Open("sentiment + 0.5*length:6", reward.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	p := prompt.Record{ID: "1", Text: "How was the film?"}
	scores, err := m.Score(context.Background(), []reward.Item{
		{Prompt: p, Response: "A wonderful, warm and clever film."},
		{Prompt: p, Response: "It was dull."},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range scores {
		fmt.Printf("%.2f %v\n", s.Value, s.Err)
	}
	// Output:
	// 1.32 <nil>
	// -0.15 <nil>
}
