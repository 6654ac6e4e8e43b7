package engine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// A decoder is straight-line code. Those that run at the same time share batches: here two
// greedy ones, each of which takes a prompt and ten steps.
func Example() {
	model, err := llama.Load(labModel, llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	e, err := engine.New(model, engine.Params{Threads: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()

	answers := make([]string, 2)
	var jobs []engine.Job
	for i, post := range []string{"at the market my teacher almost found a golden map. i smashed a green coat last week.\nTL;DR:", "i broke a green kettle at home.\nTL;DR:"} {
		prompt, err := model.Tokenize(post, true, false)
		if err != nil {
			log.Fatal(err)
		}
		const steps = 10
		jobs = append(jobs, engine.Job{Sequences: 1, Cells: len(prompt) + steps, Run: func(s *engine.Session) error {
			seq, err := s.Prefill(prompt, 1)
			if err != nil {
				return err
			}
			var response []int32
			for len(response) < steps {
				best := seq.Row().Top[0]
				response = append(response, best)
				if err := s.Step([]*engine.Seq{seq}, []int32{best}); err != nil {
					return err
				}
			}
			answers[i], err = model.Detokenize(response, false)
			return err
		}})
	}
	if err := e.Run(context.Background(), jobs); err != nil {
		log.Fatal(err)
	}
	for _, a := range answers {
		fmt.Printf("%q\n", a)
	}
	fmt.Println(e.Stats().Decodes, "batches")
	// Output:
	// "so basically: smashed green coat, also found golden"
	// "so sister smashed green kettle, and broke green kettle"
	// 11 batches
}
