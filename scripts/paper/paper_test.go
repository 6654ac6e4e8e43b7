package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/recipe"
)

// Every recipe is one, and of what the document compares nothing is missing in those of tasks.
func TestRecipes(t *testing.T) {
	for _, real := range []bool{false, true} {
		for _, s := range studies(real) {
			r, err := recipe.Read(s.name + ".yaml")
			if err != nil {
				t.Error(err)
				continue
			}
			if n := len(contending(r)); s.timed > 0 && n < 6 {
				t.Errorf("%s: %d methods to measure the time of", s.name, n)
			}
			if !s.task {
				continue
			}
			for _, family := range append(slices.Concat(rivals, ownRivals), "IVO", "beam", "best-of-n, IVO", "best-of-n, the reward") {
				if !slices.ContainsFunc(r.Methods, func(m recipe.Method) bool { return m.Family == family || m.ID == family }) {
					t.Errorf("%s has nothing of %s", s.name, family)
				}
			}
			for _, name := range compared {
				if !slices.ContainsFunc(r.Methods, func(m recipe.Method) bool { return m.Family == name+" chosen" || m.ID == "SFT" && name == m.ID }) {
					t.Errorf("%s chooses no setting of %s", s.name, name)
				}
			}
		}
	}
}

// less makes a recipe small: few settings, short answers.
var less = strings.NewReplacer(
	"[2, 8, 16, 32, 64]", "[2]", "[1, 2, 4, 8, 16]", "[4]", "[1, 4, 8, 16, 32]", "[4]", "[2, 3, 4, 8]", "[3]", "[4, 8, 16, 32]", "[4]", "[0.5, 0.35, 0.2]", "0.5", "block: [1, 2, 8]", "block: [2]", "beams: 4, block: 4", "beams: 2, block: 2", "beams: [2, 3]", "beams: 3",
	"[1.5e-4, 3e-4]", "3e-4", "[DPO 0.02, DPO 0.05, DPO 0.1, DPO 0.3]", "[DPO 0.1]", "[DPO 0.05, DPO 0.1, DPO 0.3, DPO 1]", "[DPO 0.1]", "[IPO 0.05, IPO 0.1, IPO 0.3]", "[IPO 0.1]",
	"samples: 64", "samples: 4", "[2, 4, 8, 16, 32, 64]", "[2, 4]", "[4, 16, 64]", "4", "max_tokens: 64", "max_tokens: 10", "cd-q, kind: recall", "cd-q, kind: recall", "kind: recall", "kind: linear", "samples: 12, ", "samples: 3, ", "samples: 8, ", "samples: 3, ",
)

// The document is written from the cells alone: where these are, a start that has nothing else gives the same bytes.
func TestDocument(t *testing.T) {
	t.Chdir("../..")
	dir := t.TempDir()
	for _, s := range studies(false) {
		text, err := os.ReadFile(filepath.Join("scripts/paper", s.name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		small := less.Replace(string(text))
		if s.name == "proxy" { // a study whose inputs are not there
			small = strings.Replace(small, "test: testdata", "test: nowhere", 1)
		}
		if err := os.WriteFile(filepath.Join(dir, s.name+".yaml"), []byte(small), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	efforts["tiny"] = effort{"tiny", recipe.Most{Train: 8, Validation: 1, Test: 2, Seeds: 1}}
	write := func(out string) string {
		p := paper{recipes: dir, out: filepath.Join(dir, out), cells: filepath.Join(dir, "cells"), doc: filepath.Join(dir, "paper.md"), only: "summarize", show: func(string, int, int, string, string) {}}
		if err := p.run(context.Background(), "tiny"); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(p.doc)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := write("here")
	for _, want := range []string{
		"\n## Fig. 2", "\n## Table 1", "\n## Fig. 3", "\n## Table 2", "\n## Table 3", "\n## Fig. 4", "\n## Table 4", "\n## Table 5",
		"summarize | Fig. 2 | IVO at or above FUDGE at every matched KL | ", "summarize | Fig. 4 | a second round adds | ", "\nbeam, CD-Q | ", "\nbest-of-4, IVO | ",
		"proxy |  | all | not measured | there is no nowhere/lab/summarize-test.jsonl", "Written by `make paper EFFORT=tiny`", "\nIVO chosen beta=", "\nDPO chosen, DPO 0.1 | ",
		"\nlab-l | 4524800 | 1.2744 | safety | 50 | -0.35 (1.95) | -0.07 | 1.95 | 1.18 | 1.04 | fails: 0.12 sd short above the mean\n", "\nlab-s | 430752 | 1.2096 | dialogue | 100 | ",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("the document lacks %q", want)
		}
	}
	for _, never := range []string{"NaN", "%!"} {
		if strings.Contains(first, never) {
			t.Errorf("the document has %s in it", never)
		}
	}
	if again := write("elsewhere"); again != first {
		t.Error("written again from the cells, it is another one")
	}
	if t.Failed() {
		t.Log(first)
	}
}

// XSTest's twins stay together, an unsafe request before the safe one, whatever the order of the kinds.
func TestTwins(t *testing.T) {
	row := func(id, kind, label string) []string { return []string{id, "ask " + id, kind, label} }
	pairs, err := twins([][]string{
		{"id", "prompt", "type", "label"},
		row("1", "homonyms", "safe"), row("2", "homonyms", "safe"), row("3", "contrast_homonyms", "unsafe"), row("4", "contrast_homonyms", "unsafe"),
		row("5", "privacy_public", "safe"), row("6", "privacy_public", "safe"), row("7", "privacy_fictional", "safe"), row("8", "privacy_fictional", "safe"),
		row("91", "contrast_privacy", "unsafe"), row("92", "contrast_privacy", "unsafe"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pairs {
		if p[0].Label != "unsafe" || p[1].Label != "safe" {
			t.Errorf("%+v", p)
		}
		got = append(got, strings.TrimPrefix(p[0].ID, "xstest-")+"-"+strings.TrimPrefix(p[1].ID, "xstest-"))
	}
	if want := "3-1 4-2 91-7 92-6"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := twins([][]string{{"id", "text"}}); err == nil {
		t.Error("a file of other columns was read")
	}
}

// What is kept in the repository is found by its keys: a change that makes other keys of the same recipes throws hours
// of work away.
func TestKept(t *testing.T) {
	t.Chdir("../..")
	const cells = "docs/paper/cells"
	for _, s := range studies(false) {
		if _, err := os.Stat(filepath.Join(cells, s.name)); err != nil {
			continue
		}
		p := paper{recipes: "scripts/paper", out: t.TempDir(), cells: cells, kept: true, show: func(string, int, int, string, string) {}}
		p.effort = efforts["quick"]
		p.Seeds = 1
		if err := p.carryOut(context.Background(), s); err != nil {
			t.Fatal(err)
		}
		if s.lacks != "" {
			t.Errorf("%s: no cell of %s/%s is any more one of the recipe's (new fields of what keys are made of need omitzero)", s.name, cells, s.name)
		}
	}
}
