package eval_test

import (
	"fmt"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// Two methods answered the same four prompts.
func ExampleSummarize() {
	answers := func(decoded int, rewards ...float64) (out []eval.Answer) {
		for i, r := range rewards {
			out = append(out, eval.Answer{Response: batch.Response{Prompt: fmt.Sprint(i), Emitted: 10, Decoded: decoded}, Reward: r})
		}
		return out
	}
	base := answers(10, 0.1, 0.4, 0.2, 0.3)
	search := answers(80, 0.7, 0.9, 0.2, 0.8)

	r := eval.Summarize("block-beam", search, base, 1)
	fmt.Printf("reward %.2f, interval from %.2f to %.2f\n", r.Reward.Mean, r.Reward.Lo, r.Reward.Hi)
	fmt.Printf("better than base on %.1f %% of the prompts, at %.0f tokens decoded for each of the answer\n", 100*r.WinRate, r.DecodedPerEmitted)
	// Output:
	// reward 0.65, interval from 0.35 to 0.85
	// better than base on 87.5 % of the prompts, at 8 tokens decoded for each of the answer
}
