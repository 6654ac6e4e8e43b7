//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	code, log := exitOf(t, args("whole"))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	event := func(line string) bool { return strings.Contains(line, "done=") && strings.Contains(line, "unit=") }
	events := 0
	for line := range strings.Lines(log) {
		if event(line) {
			events++
		}
	}
	const runs, kills = 4, 5
	for k := range runs {
		name := fmt.Sprint("run", k)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(17, uint64(k)))
			for killed := 0; killed < kills; {
				n := 1 + rng.IntN(events)
				code, _, log, sent := stopWhen(t, args(name), func(line string) bool {
					if event(line) {
						n--
					}
					return n == 0
				}, syscall.SIGKILL)
				switch {
				case sent && code == -1:
					killed++
				case code != 0:
					t.Fatalf("killed %d times: exit code %d: %s", killed, code, log)
				default: // it was over before the signal came
					if result(name) != result("whole") {
						t.Errorf("killed %d times, it gave other results", killed)
					}
					if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if code, log := exitOf(t, args(name)); code != 0 {
				t.Fatalf("exit code %d: %s", code, log)
			}
			if result(name) != result("whole") {
				t.Error("it gave other results")
			}
		})
	}
}
