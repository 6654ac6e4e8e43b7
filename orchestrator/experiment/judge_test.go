package experiment_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
)

// This machine is told of each file of verdicts that it asks a judge for, once, and of none that is there already.
func TestOwnVerdicts(t *testing.T) {
	dir := fixture(t)
	x := open(t, dir, strings.NewReplacer("seeds: 2", "seeds: 6", "ceiling: {rerolls: 2}\n", "", "beta: [1, 8]", "beta: 8", "    choose: {max_kl: 100}\n", "").Replace(small))
	told := map[string]int{}
	var mu sync.Mutex
	x.Own = batch.Own{Drew: func(string, int64) {}, Scored: func(file string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(file, "judged/") {
			told[strings.TrimPrefix(file, "judged/")]++
		}
	}}
	for range 2 {
		if _, err := experiment.Run(context.Background(), x, filepath.Join(dir, "out"), nil); err != nil {
			t.Fatal(err)
		}
	}
	made := files(t, dir, "judged")
	for name := range made {
		if told[name] != 1 {
			t.Errorf("of %s this machine is told %d times", name, told[name])
		}
	}
	if len(made) == 0 || len(told) != len(made) {
		t.Errorf("told of %v, where there are %v", told, made)
	}
}

// Prompts whose answers stay the same are judged anew where a judge sees something else of them.
func TestJudgedAnew(t *testing.T) {
	dir := fixture(t)
	text := strings.NewReplacer("judge: length:6", "judge: answer", "validation: DIR/validation.jsonl, ", "", "    choose: {max_kl: 100}\n", "").Replace(small)
	prompts := func(answer string) {
		if err := os.WriteFile(filepath.Join(dir, "test.jsonl"), []byte(`{"prompt": "one house", "answer": "`+answer+`"}`), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	prompts("1")
	carryOut(t, dir, text)
	prompts("2")
	carryOut(t, dir, text)
}

// Where scores are missing an experiment says what it can do, which is not to go on without: its methods are compared on the same
// prompts.
func TestMissingScores(t *testing.T) {
	dir := fixture(t)
	path, script := filepath.Join(dir, "recipe.yaml"), filepath.Join(dir, "none.sh")
	text := strings.NewReplacer("DIR", dir, "reward: sentiment\nwatch", "reward: cmd:sh "+script+"\nwatch", "ceiling: {rerolls: 2}\n", "").Replace(small)
	for path, text := range map[string]string{path: text, script: `while read line; do echo '{"error": "no idea"}'; done`} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	x, err := recipe.Open(context.Background(), path, recipe.Options{AllowCommands: true})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	_, err = experiment.Run(context.Background(), x, filepath.Join(dir, "out"), nil)
	if err == nil || !strings.Contains(err.Error(), "no idea") || !strings.Contains(err.Error(), "run the same command again, which asks for the rest)") {
		t.Error(err)
	}
}
