package value_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// A value function of the text so far, and the mean of it and another, as strategies ask them.
func ExamplePrefix() {
	counting := func(word string) value.Source {
		return value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
			out := make([]float64, len(texts))
			for i, text := range texts {
				out[i] = float64(strings.Count(text, word))
			}
			return out, nil
		})
	}
	candidates := []*value.Candidate{{Text: []byte("a red lamp")}, {Text: []byte("a lamp and a lamp")}, {Text: []byte("a bell")}}
	for _, source := range []value.Source{counting("lamp"), value.Mean(counting("lamp"), counting("bell"))} {
		v, err := source.Open(value.Request{})
		if err != nil {
			log.Fatal(err)
		}
		for _, c := range candidates {
			if c.Memory, err = v.Begin(); err != nil {
				log.Fatal(err)
			}
		}
		values := make([]float32, len(candidates))
		if err := v.Value(context.Background(), candidates, values); err != nil {
			log.Fatal(err)
		}
		fmt.Println(values)
		v.Close()
	}
	// Output:
	// [1 2 0]
	// [0.5 1 0.5]
}
