package learn_test

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// A value function is trained from a shard of states and a return for each of its responses,
// wherever that comes from: here it is 1 where the responses' states point upwards.
func ExampleTrain() {
	dir, err := os.MkdirTemp("", "learn")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	shard := filepath.Join(dir, "0000.states")
	schema := states.Schema{Backbone: "fingerprint", Layers: []int{12}, Width: 2, Scalars: []string{"logp"}}
	var stored []states.Trajectory
	good := map[string]bool{}
	rng := rand.New(rand.NewPCG(1, 0))
	for i := range 200 {
		t := states.Trajectory{Prompt: fmt.Sprint("p", i), Tokens: []int32{5, 6, 7}, Scalars: []float32{-1, -1, -1}}
		up := float32(i%2)*2 - 1
		for range t.Tokens {
			t.Hidden = append(t.Hidden, up+float32(rng.NormFloat64()), 1)
		}
		stored, good[t.Prompt] = append(stored, t), up > 0
	}
	if err := states.Write(shard, schema, nil, stored); err != nil {
		log.Fatal(err)
	}

	data := &learn.Data{Shards: []string{shard}, Returns: func(_, prompt string, _ int) (float32, bool) {
		if good[prompt] {
			return 1, true
		}
		return 0, true
	}}
	options := learn.Head{Kind: "linear", Epochs: 20, Rate: 0.02}.Options(1)
	features, err := learn.Features(data, options, false, nil)
	if err != nil {
		log.Fatal(err)
	}
	head, metrics, err := learn.Train(context.Background(), data, features, options)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(head.Kind(), "head, better than the mean return:", metrics.Training.HeldOut.All.R2 > 0.2)
	// Output: linear head, better than the mean return: true
}
