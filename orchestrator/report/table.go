package report

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/ivo-decoding/ivo/orchestrator/loop"
)

// EvaluationTable prints how the methods of a run compare.
func EvaluationTable(w io.Writer, e *loop.Evaluation) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "method\tn\t%s reward\t95 %% interval\twin rate\tdecoded/emitted\t\n", e.Reward)
	for _, m := range e.Methods {
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f to %.2f\t%.0f %%\t%.1f\t\n", m.Method, m.N, m.Reward.Mean, m.Reward.Lo, m.Reward.Hi, 100*m.WinRate, m.DecodedPerEmitted)
	}
	return t.Flush()
}
