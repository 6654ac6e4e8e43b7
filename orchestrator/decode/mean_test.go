package decode_test

import (
	"context"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// The mean of value functions guides as their values' mean does, and that of one function with
// itself as the function; each member follows the candidates by itself.
func TestMean(t *testing.T) {
	e := open(t)
	head := value.Head(brevity(t, e, valuehead.Recall), valuehead.Reading{})
	text := func(weight float64) value.Source {
		return value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
			out := make([]float64, len(texts))
			for i, text := range texts {
				out[i] = weight * float64(len(text)%7)
			}
			return out, nil
		})
	}
	for _, s := range strategies() {
		for name, c := range map[string][2]value.Source{
			"texts":           {value.Mean(text(1), text(3), text(-1)), text(1)},
			"head and itself": {value.Mean(head, head), head},
			"head and text":   {value.Mean(head, text(1)), value.Mean(text(1), head)},
		} {
			if s.Method == decode.MethodOnePass && name != "texts" {
				continue // the head values no tokens ahead
			}
			var rs [2]decode.Response
			for i, source := range c {
				req := request(t, e, 5)
				req.Value, req.EachValue = source, true
				job, err := s.Job(e, req, func(r decode.Response) { rs[i] = r })
				if err != nil {
					t.Fatal(err)
				}
				run(t, e, []engine.Job{job}...)
			}
			near := cmp.Comparer(func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-5 })
			for _, diff := range []string{cmp.Diff(rs[0].Tokens, rs[1].Tokens), cmp.Diff(rs[0].Values, rs[1].Values, near)} {
				if diff != "" {
					t.Errorf("%s, %s: %s", s.Method, name, diff)
				}
			}
		}
	}
}
