package batch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Whatever a file of answers and its options hold, they are refused with a word on what to do, or gone on with behind
// whole shards.
func FuzzAnswers(f *testing.F) {
	tasks := make([]Task, 4)
	for i := range tasks {
		tasks[i].Encoded = prompt.Encoded{Record: prompt.Record{ID: string(rune('a' + i))}}
	}
	line := `{"id":"a","sample":0,"text":"x"}` + "\n" + `{"id":"b","sample":0}` + "\n"
	for _, options := range []string{"", "{}", `{"seed":1}`, `{"model":"m"} {`} {
		f.Add([]byte(line), []byte(options))
		f.Add([]byte(line+`{"id":"c"`), []byte(options))
	}
	dir := f.TempDir()
	path := filepath.Join(dir, "answers.jsonl")
	f.Fuzz(func(t *testing.T, answers, options []byte) {
		os.Remove(optionsOf(path))
		if err := os.WriteFile(path, answers, 0o644); err != nil {
			t.Fatal(err)
		}
		if len(options) > 0 {
			if err := os.WriteFile(optionsOf(path), options, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		a, err := OpenAnswers(path, AnswersOptions{}, tasks, 2)
		if err != nil {
			if !strings.HasSuffix(err.Error(), ")") {
				t.Errorf("nothing to do about it: %v", err)
			}
			return
		}
		defer a.Close()
		if n := a.Written(); n%2 != 0 || n > len(tasks) {
			t.Errorf("it goes on behind %d answers", n)
		}
	})
}
