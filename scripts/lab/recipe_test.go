package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/scripts/lab/tokenizer"
	"github.com/ivo-decoding/ivo/scripts/lab/world"
)

func small(t *testing.T) recipe {
	dir := t.TempDir()
	p, _ := find("summarize-s")
	p.tokens = 3000
	return recipe{
		model: p, out: filepath.Join(dir, "out"), work: filepath.Join(dir, "work"),
		heldOut: 10, prompts: [3]int{20, 10, 5}, seed: 1, threads: 1,
	}
}

// run does the recipe. What little training a test can do gives no model to steer.
func run(t *testing.T, r recipe) {
	t.Helper()
	if err := r.run(t.Context()); !errors.Is(err, errGate) {
		t.Fatal(err)
	}
}

func TestRecipe(t *testing.T) {
	r := small(t)
	run(t, r)
	m, err := llama.Load(r.modelPath(), llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if n := m.Info().Params; n < 1_000_000 || n > 1_500_000 {
		t.Errorf("size S has %d parameters, want 1 to 1.5 million", n)
	}
	for name, n := range map[string]int{"summarize-train.jsonl": 20, "summarize-test.jsonl": 10, "summarize-validation.jsonl": 5} {
		prompts, err := prompt.Read(r.path(name), prompt.ReadOptions{})
		if err != nil || len(prompts) != n {
			t.Errorf("%s: %d prompts, %v", name, len(prompts), err)
		}
	}
	// Running it again changes nothing, and from nothing it gives the same files.
	before := files(t, r)
	run(t, r)
	fresh := small(t)
	run(t, fresh)
	for name, content := range before {
		if !bytes.Equal(content, files(t, r)[name]) || !bytes.Equal(content, files(t, fresh)[name]) {
			t.Errorf("%s is not the same after a second run", name)
		}
	}
}

func files(t *testing.T, r recipe) map[string][]byte {
	out := map[string][]byte{}
	entries, err := os.ReadDir(r.out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if out[e.Name()], err = os.ReadFile(filepath.Join(r.out, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// A run that is stopped says so and leaves no model; a recipe that cannot be done names what
// is wrong with it.
func TestRecipeStops(t *testing.T) {
	r := small(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run ended with %v", err)
	}
	if _, err := os.Stat(r.modelPath()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a cancelled run left a model: %v", err)
	}
	for says, change := range map[string]func(*recipe){
		`0 steps`: func(r *recipe) { r.tokens = 10 },
		`use -models lab-m-unaligned`: func(r *recipe) {
			r.model, _ = find("lab-m")
			r.tokens = 3000
		},
	} {
		r := small(t)
		change(&r)
		err := r.run(t.Context())
		if err == nil || !strings.Contains(err.Error(), says) || errors.Is(err, errGate) {
			t.Errorf("got %v, want %s", err, says)
		}
		if _, err := os.Stat(r.modelPath()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: there is a model: %v", says, err)
		}
	}
}

// A model that starts from another's weights is quantized, and its card tells of every task; what is reserved for
// tests is not trained on.
func TestRecipeOfAllTasks(t *testing.T) {
	r := small(t)
	r.model, _ = find("lab-m-unaligned")
	r.tokens, r.gated, r.prompts = 3000, 2, [3]int{4, 2, 2}
	for _, dir := range []string{r.out, r.work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	start, err := os.ReadFile(shipped + "summarize-s.gguf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path("summarize-s.gguf"), start, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, r)
	f, err := gguf.Read(r.modelPath())
	if err != nil {
		t.Fatal(err)
	}
	if kind, _ := f.Int("general.file_type"); kind != 7 { // Q8_0
		t.Errorf("the model's file type is %d", kind)
	}
	before, err := gguf.Read(r.weightsPath("summarize-s"))
	if err != nil {
		t.Fatal(err)
	}
	old, _ := before.Float(keyHeldOut)
	if loss, ok := f.Float(keyHeldOut); !ok || loss > 4 || loss == old {
		t.Errorf("its held-out loss is %v: it does not start from weights that know the world", loss)
	}
	card, err := os.ReadFile(r.path("lab-m-unaligned.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range append([]string{"the weights of `summarize-s`", "Safe (`gold:safe`)"}, allTasks...) {
		if !strings.Contains(string(card), want) {
			t.Errorf("the card does not tell of %q", want)
		}
	}

	vocab, err := tokenizer.Train(texts(world.Documents(world.Summarize{}, world.Train, 1), 4000), vocabSize)
	if err != nil {
		t.Fatal(err)
	}
	reserved := map[string]bool{}
	for doc := range world.Documents(r.docs, world.Train, r.seed+seedsOfStage*r.stage+corpusSeed) {
		if reserved[doc.Prompt] = true; len(reserved) == 2 {
			break
		}
	}
	all, _, err := r.tokenise(t.Context(), vocab, nil)
	if err != nil {
		t.Fatal(err)
	}
	fewer, _, err := r.tokenise(t.Context(), vocab, reserved)
	if err != nil || !reflect.DeepEqual(all[2].Tokens, fewer[0].Tokens) {
		t.Errorf("reserved prompts are trained on (%v)", err)
	}
}
