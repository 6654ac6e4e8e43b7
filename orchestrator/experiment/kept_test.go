package experiment_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
)

// An experiment that makes its own runs: value functions learned under each seed.
const learning = `
models: {m: ../../testdata/lab/summarize-s.gguf}
prompts:
  train: {file: ../../testdata/lab/summarize-train.jsonl, first: 6}
  validation: {file: ../../testdata/lab/summarize-train.jsonl, skip: 6, first: 2}
  test: {file: ../../testdata/lab/summarize-test.jsonl, first: 2}
reward: gold
watch: [distinct]
max_tokens: 8
seeds: 2
runs:
  two: {model: m, rounds: 2, samples: 2, kind: ridge, parallel: 8}
values:
  first: {run: two, after: 1}
  second: {run: two, after: 2}
  vas: {run: two, round: 1, target: td, kind: linear}
  by a model: {run: two, after: 1, model: ../../testdata/lab/summarize-s.gguf}
methods:
  - {id: base, strategy: sample, samples: 2}
  - {id: the best, strategy: sample, samples: 2, best_of: 2, by: reward}
  - {id: beam, value: [first, second, vas, by a model], strategy: {method: block-beam, beams: 2, block: 2}}
  - {id: "{beta}", value: second, strategy: {method: tokenwise, k: 2, beta: [1, 2]}, choose: {within: {distinct: 1}}}
`

// keep carries out the recipe with its cells in the folder cells of dir, and what they are made of in another.
func keep(t *testing.T, dir, text, out string) *experiment.Kept {
	t.Helper()
	x := open(t, dir, text)
	r, err := experiment.Keep(context.Background(), x, experiment.Keeping{Dir: filepath.Join(dir, out), Cells: filepath.Join(dir, "cells"), Only: out == "only"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What cells hold is what the answers come to; and an experiment whose cells are there goes on from them where
// nothing else is: another machine makes only what is missing.
func TestCellsAreKept(t *testing.T) {
	dir := t.TempDir()
	first := keep(t, dir, learning, "here")
	const methods, validated, values, seeds = 6, 3, 4, 2 // base and both variations on the validation prompts
	cells, err := os.ReadDir(filepath.Join(dir, "cells"))
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Outcomes) != methods+1 || len(cells) != (methods+1+validated+values)*seeds {
		t.Fatalf("%d outcomes and %d cells", len(first.Outcomes), len(cells))
	}
	whole := carryOut(t, dir, learning) // with its answers
	if diff := cmp.Diff(whole.Evaluation, first.Evaluation, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-4), cmpopts.IgnoreFields(experiment.Evaluation{}, "Stamp")); diff != "" {
		t.Error(diff)
	}

	again := keep(t, dir, learning, "elsewhere")
	if diff := difference(&again.Evaluation, &first.Evaluation); diff != "" {
		t.Error(diff)
	}
	for _, folder := range []string{"runs", "answers", "values"} {
		if _, err := os.Stat(filepath.Join(dir, "elsewhere", folder)); err == nil {
			t.Errorf("%s were made although all cells were there", folder)
		}
	}
	// Of what is missing no more is made than it takes.
	lost := first.Outcomes[1].Cells[1]
	name := filepath.Join(dir, "cells", lost.Key+".json")
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if some := keep(t, dir, learning, "only"); !slices.Equal(some.Missing, []string{"the best"}) || len(some.Rows) != methods {
		t.Errorf("of what is kept %d methods are told, without %q", len(some.Rows), some.Missing)
	}
	keep(t, dir, learning, "elsewhere")
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(after, before) {
		t.Errorf("%v: made again, the cell is %s, not %s", err, after, before)
	}
	if _, err := os.Stat(filepath.Join(dir, "elsewhere", "runs")); err == nil {
		t.Error("a run was made for a method that follows none")
	}
	// Another reward that is told beside it asks about the same answers; another number of rounds is another run.
	for _, c := range []struct {
		from, to string
		cells    int
	}{{"[distinct]", "[distinct, length:3]", 0}, {"rounds: 2", "rounds: 3", 0}, {"samples: 2, kind", "samples: 3, kind", (4 + 1 + 2 + values) * seeds}} {
		before, _ := os.ReadDir(filepath.Join(dir, "cells"))
		keep(t, dir, strings.Replace(learning, c.from, c.to, 1), "here")
		if after, _ := os.ReadDir(filepath.Join(dir, "cells")); len(after)-len(before) != c.cells {
			t.Errorf("%s: %d new cells, not %d", c.to, len(after)-len(before), c.cells)
		}
	}
	if err := os.WriteFile(name, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "recipe.yaml")
	x, err := recipe.Open(context.Background(), path, recipe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if _, err := experiment.Keep(context.Background(), x, experiment.Keeping{Dir: filepath.Join(dir, "here"), Cells: filepath.Join(dir, "cells")}); err == nil || !strings.Contains(err.Error(), "delete the file") {
		t.Errorf("a damaged cell: %v", err)
	}
}
