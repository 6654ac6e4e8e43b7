package states_test

import (
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// A shard is written as trajectories come in, and an epoch of several shards is streamed
// in random order without holding them in memory.
func Example() {
	dir, err := os.MkdirTemp("", "states")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	schema := states.Schema{Backbone: "fingerprint", Layers: []int{12}, Width: 2, Scalars: []string{"logp"}}

	path := filepath.Join(dir, "0000.states")
	w, err := states.Create(path, schema, states.Options{})
	if err != nil {
		log.Fatal(err)
	}
	err = w.Append(states.Trajectory{
		Prompt: "p1", Sample: 0,
		Tokens: []int32{5, 6}, Hidden: []float32{0, 1, 2, 3}, Scalars: []float32{-0.5, -0.25},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	set, err := states.OpenSet([]string{path}, schema)
	if err != nil {
		log.Fatal(err)
	}
	for t, err := range set.Shuffle(rand.New(rand.NewPCG(1, 0)), 64) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(t.Prompt, t.Sample, t.Hidden)
	}
	// Output: p1 0 [0 1 2 3]
}
