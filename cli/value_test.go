package cli

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

// The values of a text that was generated are those of its generation.
func TestValueOfGenerated(t *testing.T) {
	f := lab(t)
	run := func(out any, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := Main(append(args, "-m", f.model, "--value-head", f.head, "-p", `i found a red kettle.\nTL;DR:`, "--json"), &stdout, &stderr); code != 0 {
			t.Fatal(stderr.String())
		}
		if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
			t.Fatal(err)
		}
	}
	var r batch.Record
	run(&r, "ivo", "generate", "-n", "12", "--temp", "0")
	var given, sampled report.Text
	run(&given, "ivo", "value", "--response", r.Text)
	run(&sampled, "ivo", "value", "-n", "12", "--temp", "0")
	for _, text := range []report.Text{given, sampled} {
		if text.Text != r.Text || len(text.Tokens) == 0 {
			t.Fatalf("%d tokens of %q, generated %q", len(text.Tokens), text.Text, r.Text)
		}
		for i, token := range text.Tokens {
			if token.ID != r.Tokens[i] || math.Abs(float64(token.Value-r.Values[i])) > 1e-4 || math.Abs(float64(token.LogProb-r.LogProbs[i])) > 1e-4 {
				t.Errorf("token %d: %+v; generated %d with value %g, log-probability %g", i, token, r.Tokens[i], r.Values[i], r.LogProbs[i])
			}
			q := token.Quantiles
			if q == nil || q.Q10 > q.Q50 || q.Q50 > q.Q90 {
				t.Errorf("token %d has the quantiles %+v", i, q)
			}
			if i > 0 && (token.Change == nil || *token.Change != token.Value-text.Tokens[i-1].Value) {
				t.Errorf("token %d: change %v", i, token.Change)
			}
		}
	}
}
