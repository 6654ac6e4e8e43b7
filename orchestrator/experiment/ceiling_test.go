package experiment_test

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// A reward that finds all answers alike leaves nothing to explain, and is no reason to fail.
func TestNothingToExplain(t *testing.T) {
	dir := fixture(t)
	head := learned(t, dir)
	r := carryOut(t, dir, strings.NewReplacer("\nreward: sentiment", "\nreward: regex:zzzzz", "  words: {reward: sentiment}", "  words: {reward: sentiment}\n  head: "+head).Replace(small))
	if len(r.Ceilings) != 1 || len(r.Ceilings[0].Explains) != 1 {
		t.Fatalf("%+v", r.Ceilings)
	}
	if e := r.Ceilings[0].Explains[0]; !math.IsNaN(float64(e.OfMost)) || math.Abs(r.Rows[1].Wins.Mean-0.5) > 1e-9 {
		t.Errorf("%+v, wins %v", e, r.Rows[1].Wins)
	}
}

// Continuations end where the policy's own answers do: at a stop text that had begun before the state too.
func TestCeilingStops(t *testing.T) {
	stops := []string{", and ", ", then ", ", also "}
	dir := t.TempDir()
	carryOut(t, dir, `
model: ../../testdata/lab/summarize-s.gguf
prompts: {test: {file: ../../testdata/lab/summarize-test.jsonl, first: 4}}
reward: sentiment
max_tokens: 32
stop: [", and ", ", then ", ", also "]
ceiling: {rerolls: 8}
methods: [{id: base, strategy: sample}]
`)
	type state struct {
		Texts []string `json:"responses"`
	}
	n := 0
	for name := range files(t, dir, "ceiling") {
		_, states, err := run.Lines[state](filepath.Join(dir, "out", "ceiling", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range states {
			for _, text := range s.Texts {
				n++
				if i := slices.IndexFunc(stops, func(stop string) bool { return strings.Contains(text, stop) }); i >= 0 {
					t.Errorf("%q has %q", text, stops[i])
				}
			}
		}
	}
	if n == 0 {
		t.Error("nothing was continued")
	}
}
