package experiment_test

import (
	"context"
	"fmt"
	"os"

	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
)

// A recipe is carried out in a folder, where the same call goes on after it was stopped.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "experiment")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chdir("../recipe/testdata"); err != nil {
		panic(err)
	}
	defer os.Chdir("../../experiment")
	x, err := recipe.Open(context.Background(), "good.yaml", recipe.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer x.Close()
	r, err := experiment.Run(context.Background(), x, dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	base, best := r.Rows[0], r.Rows[2]
	fmt.Printf("%s has more reward than %s: %v\n", best.Method, base.Method, best.Reward.Mean > base.Reward.Mean)
	fmt.Printf("KL at most %.2f nats\n", best.KL.Mean)
	// Output:
	// best of 4 has more reward than base: true
	// KL at most 0.64 nats
}
