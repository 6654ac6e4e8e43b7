package head_test

import (
	"fmt"

	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// A value head of two layers on states of three numbers.
func ExampleHead_Reward() {
	h := head.Head{
		Trunk: head.Trunk{Width: 3},
		Layers: []head.Layer{
			{In: 3, Out: 2, Weight: []float32{1, 0, -1, 0, 2, 0}, Bias: []float32{0, -1}},
			{In: 2, Out: 1, Weight: []float32{0.5, 0.25}},
		},
	}
	for _, state := range [][]float32{{1, 2, -1}, {-4, 0, 1}} {
		fmt.Println(h.Reward(head.States{Hidden: state}))
	}
	// Output:
	// 1.75 <nil>
	// 0 <nil>
}
