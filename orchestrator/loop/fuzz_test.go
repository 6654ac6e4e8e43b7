package loop

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Whatever run.yaml holds, it is refused, or read as options that hold and are the same when they are written and
// read again.
func FuzzOptions(f *testing.F) {
	o := Defaults(8)
	o.Model, o.Prompts, o.Stop = "m.gguf", "p.jsonl", []string{"\n", "###"}
	o.Inputs.SampleFrom = []int{0, 2}
	good, err := yaml.Marshal(o)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("rounds: 1\nrounds: 2\n"))
	f.Add([]byte("a: &a [*a, *a]\n"))
	dir := f.TempDir()
	path := filepath.Join(dir, run.OptionsFile)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		o, err := ReadOptions(dir)
		if err != nil {
			return
		}
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		again, err := ReadOptions(dir)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, text)
		}
		if other, err := yaml.Marshal(again); err != nil || string(other) != string(text) {
			t.Errorf("%s became %s: %v", text, other, err)
		}
	})
}
