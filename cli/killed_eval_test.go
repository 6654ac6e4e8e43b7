//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// An experiment that is killed at twenty random points, while it learns, decodes, scores or writes, ends with
// the results of one that was left alone.
func TestEvalKilledAtRandomPoints(t *testing.T) {
	f := lab(t)
	dir := t.TempDir()
	recipe := filepath.Join(dir, "recipe.yaml")
	text := fmt.Sprintf(`
model: %s
prompts: {train: %s, validation: {file: %s, first: 2}, test: %s}
reward: gold
watch: [distinct]
max_tokens: 6
seeds: 2
ceiling: {rerolls: 2}
context: 1024
parallel: 8
values: {ivo: %s, vas: {run: %s, round: 1, target: td}}
methods:
  - {id: base, strategy: sample, samples: 2}
  - {id: best, strategy: sample, samples: 2, best_of: 2, by: reward}
  - {id: beam, value: [ivo, vas], strategy: {method: block-beam, beams: 2, block: [1, 2]}, choose: true}
`, f.model, f.prompts, f.test, filepath.Join(dir, "test.jsonl"), f.head, f.run)
	lines, err := os.ReadFile(f.test)
	if err != nil {
		t.Fatal(err)
	}
	rest := bytes.SplitAfterN(lines, []byte("\n"), 3)[2]
	for path, content := range map[string][]byte{recipe: []byte(text), filepath.Join(dir, "test.jsonl"): rest} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args := func(name string) []string {
		return []string{"ivo", "eval", recipe, "-v", "--out", filepath.Join(dir, name)}
	}
	result := func(name string) string {
		all := ""
		for _, file := range []string{"eval.json", "samples.jsonl", "samples.parquet", "report.html"} {
			content, err := os.ReadFile(filepath.Join(dir, name, file))
			if err != nil {
				t.Fatal(err)
			}
			all += string(content)
		}
		return all
	}
	killings{4, 5, 17, dir, args, func(t *testing.T, name string) {
		if result(name) != result("whole") {
			t.Error("it gave other results")
		}
	}}.survived(t)
}
