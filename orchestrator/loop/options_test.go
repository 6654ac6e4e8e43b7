package loop

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Options are read back as they were stored, a run is continued with the same ones,
// and a changed one is named.
func TestOptionsStore(t *testing.T) {
	dir := t.TempDir()
	o := Defaults(8)
	o.Model, o.Prompts, o.Stop = "m.gguf", "p.jsonl", []string{"\n", "###"}
	if err := o.store(dir); err != nil {
		t.Fatal(err)
	}
	got, err := ReadOptions(dir)
	if err != nil || !reflect.DeepEqual(*got, o) {
		t.Fatalf("stored %+v, read %+v, %v", o, got, err)
	}
	if err := o.store(dir); err != nil {
		t.Errorf("the same options: %v", err)
	}
	for want, change := range map[string]func(*Options){
		"samples 4 -> 5":              func(o *Options) { o.Samples = 5 },
		"sampling.temp 0.7 -> 1":      func(o *Options) { o.Sampling.Temp = 1 },
		"search.beams 4 -> 2":         func(o *Options) { o.Search.Beams = 2 },
		"head.match tokens -> states": func(o *Options) { o.Head.Match = "states" },
		"head.warm_start":             func(o *Options) { o.Head.WarmStart = true },
		"stop":                        func(o *Options) { o.Stop = o.Stop[:1] },
		"layers [0 4] -> [8]":         func(o *Options) { o.Layers = []int{8} },
	} {
		changed := o
		change(&changed)
		if err := changed.store(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--out") {
			t.Errorf("%s: got %v", want, err)
		}
	}
	// A run from before a head had a match is continued with the one that there was.
	path := filepath.Join(dir, optionsFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.Replace(string(text), "    match: tokens\n", "", 1)
	if err := os.WriteFile(path, []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := o.store(dir); err != nil || len(old) == len(text) {
		t.Errorf("options without a match:\n%s\n%v", old, err)
	}
	if err := os.WriteFile(path, []byte("no_such_option: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadOptions(dir); err == nil {
		t.Error("an unknown option was read")
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"--round-prompts": func(o *Options) { o.RoundPrompts = -1 },
		"--parallel":      func(o *Options) { o.Samples, o.Rounds, o.Search.Beams, o.Parallel = 1, 1, 1, 2 }, // for best-of-4
		"--rounds":        func(o *Options) { o.Rounds = 0 },
		"--samples":       func(o *Options) { o.Samples = 0 },
		"--shard":         func(o *Options) { o.ShardPrompts = 0 },
		"-n":              func(o *Options) { o.MaxTokens = 0 },
		"--temp":          func(o *Options) { o.Sampling.Temp = 0 },
		"--layers":        func(o *Options) { o.Layers = nil },
		"--beams":         func(o *Options) { o.Search.Beams = 100 },
	} {
		o := Defaults(8)
		o.EvalPrompts = "e.jsonl"
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

// A file counts as finished only as long as it is what was noted.
func TestLedger(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	has := func(want bool, names ...string) {
		t.Helper()
		l, err := openLedger(dir) // as a later process does
		if err != nil {
			t.Fatal(err)
		}
		if got, err := l.has(names...); got != want || err != nil {
			t.Errorf("has %v: %v, %v", names, got, err)
		}
	}
	l, err := openLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	write("a", "one")
	write("b", "two")
	has(false, "a")
	if err := l.add("a"); err != nil {
		t.Fatal(err)
	}
	has(true, "a")
	has(false, "b")
	has(false, "a", "b")
	write("a", "oNe")
	has(false, "a")
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	has(false, "a")
	if err := l.add("a"); err == nil {
		t.Error("a missing file was noted")
	}
	write(manifestFile, "{")
	if _, err := openLedger(dir); err == nil {
		t.Error("a damaged manifest was read")
	}
}
