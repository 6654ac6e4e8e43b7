package report_test

import (
	"log"
	"os"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

func ExampleEvaluationTable() {
	err := report.EvaluationTable(os.Stdout, &loop.Evaluation{Reward: "sentiment", Methods: []eval.Result{
		{Method: "base", N: 60, Reward: eval.Interval{Mean: 0.38, Lo: 0.32, Hi: 0.44}, WinRate: 0.5, DecodedPerEmitted: 1, KLKind: decode.KLExact},
		{
			Method: "ivo", N: 60, Reward: eval.Interval{Mean: 0.93, Lo: 0.91, Hi: 0.95}, WinRate: 0.9, DecodedPerEmitted: 8.1,
			KL: eval.Interval{Mean: 7.7, Lo: 7.7, Hi: 7.7}, KLKind: decode.KLBound,
		},
	}})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// method   n  sentiment reward  95 % interval  win rate  decoded/emitted
	//     base  60              0.38   0.32 to 0.44      50 %              1.0
	//      ivo  60              0.93   0.91 to 0.95      90 %              8.1
}
