package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// tiny is a recipe of a few prompts on the lab's model.
func tiny(t *testing.T) recipe {
	t.Helper()
	const lab = "../../testdata/lab/"
	learn, err := prompt.Read(lab+"summarize-train.jsonl", prompt.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	test, err := prompt.Read(lab+"summarize-test.jsonl", prompt.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return recipe{
		model: lab + "summarize-s.gguf", out: filepath.Join(dir, "runs"), doc: filepath.Join(dir, "real.md"),
		effort: effort{"tiny", 20, 4, 6, 1, 40, true, few},
		tasks: []task{{
			name: "summarize", about: "The lab.", reward: "gold", others: []string{distinct}, prompts: split{learn, test[:50], test[50:]}, maxTokens: 12, maxKL: 7,
			claims: sentimentClaims,
		}},
		show: func(string, int, int, string, string) {},
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A recipe that is stopped where cells are finished ends with the report of one that was not, and
// what was finished is not done again.
func TestRecipeGoesOn(t *testing.T) {
	whole := tiny(t)
	if err := whole.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := read(t, whole.doc)
	for _, part := range []string{"## Summarize", "greedy", "best-of-4 by the reward", "best-of-2 by the reward, one-pass beta=", "block-best-of-4 b=8 beta=", "### Samples", "\n40 | "} {
		if !bytes.Contains(want, []byte(part)) {
			t.Errorf("the report lacks %q:\n%s", part, want)
		}
	}
	if page := read(t, filepath.Join(whole.out, "tiny-summarize.html")); !bytes.Contains(page, []byte("best-of-4 by the reward")) {
		t.Error("the page lacks a method")
	}

	stopped := tiny(t)
	for _, at := range []string{"summarize, choose: one-pass beta=2", "summarize, test: base", "summarize, test: greedy"} {
		ctx, stop := context.WithCancel(t.Context())
		stopped.show = func(stage string, done, total int, _, _ string) {
			if stage == at && done == total {
				stop()
			}
		}
		if err := stopped.run(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped at %s: %v", at, err)
		}
		stop()
	}
	stopped.show = whole.show
	if err := stopped.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, stopped.doc); !bytes.Equal(got, want) {
		t.Errorf("stopped at every cell the report is\n%s\nundisturbed it is\n%s", got, want)
	}

	// Without the report it is written again from the cells alone.
	before := map[string]os.FileInfo{}
	cells, err := filepath.Glob(filepath.Join(whole.out, "summarize-20", "cells", "*", "*.jsonl"))
	if err != nil || len(cells) == 0 {
		t.Fatalf("%d cells, %v", len(cells), err)
	}
	for _, cell := range cells {
		if before[cell], err = os.Stat(cell); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(whole.doc); err != nil {
		t.Fatal(err)
	}
	if err := whole.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, whole.doc); !bytes.Equal(got, want) {
		t.Error("the report is another one the second time")
	}
	for _, cell := range cells {
		if after, err := os.Stat(cell); err != nil || !os.SameFile(before[cell], after) {
			t.Errorf("%s was made again (%v)", cell, err)
		}
	}
}
