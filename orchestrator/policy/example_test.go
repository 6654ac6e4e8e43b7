package policy_test

import (
	"fmt"
	"math"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// The base policy at a state whose four tokens have these logits: temperature 0.5, without the
// tokens that are less than a tenth as likely as the likeliest.
func ExampleSampler() {
	logits := []float32{2, 1, 0, -1}
	row := &llama.Row{Logits: logits, Top: []int32{0, 1, 2, 3}, TopLogits: logits}
	for _, l := range logits { // log sum exp at temperatures 1 and 0.5: an engine's rows have both
		row.LSE += float32(math.Exp(float64(l)))
		row.LSET += float32(math.Exp(float64(l) / 0.5))
	}
	row.LSE, row.LSET = float32(math.Log(float64(row.LSE))), float32(math.Log(float64(row.LSET)))

	s := policy.Sampler{Sampling: policy.Sampling{Temp: 0.5, MinP: 0.1}}
	s.At(row, nil)
	for token := range int32(4) {
		fmt.Printf("token %d: %.3f\n", token, math.Exp(s.LogP(token)))
	}
	rng := policy.Stream(policy.Key(1, 0, "prompt 1", 0))
	counts := map[int32]int{}
	for range 1000 {
		counts[s.Draw(rng)]++
	}
	fmt.Println("drawn:", counts)
	// Output:
	// token 0: 0.867
	// token 1: 0.117
	// token 2: 0.016
	// token 3: 0.000
	// drawn: map[0:875 1:109 2:16]
}
