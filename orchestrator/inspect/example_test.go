package inspect_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ivo-decoding/ivo/orchestrator/inspect"
)

func ExamplePath() {
	found, err := inspect.Path(context.Background(), "../../testdata/lab/summarize-s.gguf", inspect.Options{})
	if err != nil {
		log.Fatal(err)
	}
	switch f := found.(type) {
	case *inspect.Model:
		fmt.Println("a model:", f.Architecture, "with", f.Layers, "layers of width", f.Width)
	case *inspect.Head:
		fmt.Println("a value head of kind", f.Head)
	case *inspect.Run:
		fmt.Println("a run with", len(f.Rounds), "rounds")
	case *inspect.States:
		fmt.Println("a shard with", f.States, "states")
	}
	// Output: a model: llama with 5 layers of width 128
}
