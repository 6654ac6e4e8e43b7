package loop

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Options are read back as they were stored, a run is continued with the same ones,
// and a changed one is named.
func TestOptionsStore(t *testing.T) {
	d, err := run.Open(filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	o := Defaults(8)
	o.Model, o.Prompts, o.Stop, o.Context.CacheK = "m.gguf", "p.jsonl", []string{"\n", "###"}, llama.CacheQ8_0
	if err := o.store(d, false); err != nil {
		t.Fatal(err)
	}
	got, err := ReadOptions(d.Root())
	if err != nil || !reflect.DeepEqual(*got, o) {
		t.Fatalf("stored %+v, read %+v, %v", o, got, err)
	}
	if err := o.store(d, false); err != nil {
		t.Errorf("the same options: %v", err)
	}
	for want, change := range map[string]func(*Options){
		"samples 4 -> 3":              func(o *Options) { o.Samples = 3 },
		"rounds 2 -> 1":               func(o *Options) { o.Rounds = 1 },
		"sampling.temp 0.7 -> 1":      func(o *Options) { o.Sampling.Temp = 1 },
		"search.beams 4 -> 2":         func(o *Options) { o.Search.Beams = 2 },
		"head.match tokens -> states": func(o *Options) { o.Head.Match = "states" },
		"head.warm_start":             func(o *Options) { o.Head.WarmStart = true },
		"stop":                        func(o *Options) { o.Stop = o.Stop[:1] },
		"layers [0 4] -> [8]":         func(o *Options) { o.Layers = []int{8} },
		"context.cache_k q8_0 -> f16": func(o *Options) { o.Context.CacheK = llama.CacheF16 },
		"encoding.chat false -> true": func(o *Options) { o.Encoding.Chat = true },
		"reward gold -> distinct": func(o *Options) {
			o.Reward, o.Inputs.Reward, o.Inputs.Scores = "distinct", "distinct 1", "distinct-1"
		},
		"other options: the reward's program, files or rules have changed (": func(o *Options) {
			o.Inputs.Reward, o.Inputs.Scores = "gold 2", "gold-2"
		},
		"other options: the model has other weights or adapters (":  func(o *Options) { o.Inputs.Backbone = "b" },
		"other options: the model's chat template is another one (": func(o *Options) { o.Inputs.Encoding = "e" },
	} {
		changed := o
		change(&changed)
		if err := changed.store(d, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	// What makes no difference to what is finished may change, and what was asked for may become more.
	more := o
	more.Model, more.Context.Threads, more.Rounds, more.Samples, more.SkipUnscored, more.Reward = "moved.gguf", 3, 5, 6, true, "1*gold"
	if err := more.store(d, false); err != nil || !slices.Equal(more.Inputs.SampleFrom, []int{0, 4}) {
		t.Errorf("more rounds and samples: %v, samples from %v", err, more.Inputs.SampleFrom)
	}
	more.Samples = 9
	if err := more.store(d, false); err != nil || !slices.Equal(more.Inputs.SampleFrom, []int{0, 4, 6}) {
		t.Errorf("more samples again: %v, from %v", err, more.Inputs.SampleFrom)
	}
	colder := more
	colder.Sampling.Temp = 0.5
	if err := colder.store(d, true); err != nil {
		t.Errorf("another temperature, to be made anew: %v", err)
	}
	if got, err := ReadOptions(d.Root()); err != nil || got.Sampling.Temp != 0.5 {
		t.Errorf("read %+v, %v", got, err)
	}
	// Fewer samples keep the stretches that they still are.
	for _, tc := range []struct {
		samples int
		from    []int
	}{{8, []int{0, 4, 6}}, {6, []int{0, 4}}, {9, []int{0, 4, 6}}, {4, []int{0}}} {
		fewer := colder
		if fewer.Samples = tc.samples; fewer.store(d, true) != nil || !slices.Equal(fewer.Inputs.SampleFrom, tc.from) {
			t.Errorf("%d samples: from %v, want %v", tc.samples, fewer.Inputs.SampleFrom, tc.from)
		}
	}
	if err := os.WriteFile(d.Path(run.OptionsFile), []byte("no_such_option: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadOptions(d.Root()); err == nil {
		t.Error("an unknown option was read")
	}
	// Damaged options can be written anew.
	if err := o.store(d, false); err == nil || !strings.Contains(err.Error(), "redo") {
		t.Errorf("over damaged options: %v", err)
	}
	if err := o.store(d, true); err != nil {
		t.Error(err)
	}
	if got, err := ReadOptions(d.Root()); err != nil || !reflect.DeepEqual(*got, o) {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"the prompts a round":     func(o *Options) { o.RoundPrompts = -1 },
		"the number of sequences": func(o *Options) { o.Samples, o.Rounds, o.Search.Beams, o.Parallel = 1, 1, 1, 2 }, // for best-of-4
		"the number of rounds":    func(o *Options) { o.Rounds = 0 },
		"the number of samples":   func(o *Options) { o.Samples = 0 },
		"the prompts a shard":     func(o *Options) { o.ShardPrompts = 0 },
		"the response length":     func(o *Options) { o.MaxTokens = 0 },
		"the temperature":         func(o *Options) { o.Sampling.Temp = 0 },
		"the layers":              func(o *Options) { o.Layers = nil },
		"the number of beams":     func(o *Options) { o.Search.Beams = 100 },
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
