package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
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
		`make it first: -models lab-m-unaligned`: func(r *recipe) {
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
