package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/learn/pairwise"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
	"github.com/ivo-decoding/ivo/scripts/lab/world"
)

// The learned reward is made of the files that are there, the same again, and its card tells of it.
func TestLearnReward(t *testing.T) {
	const lab = "../../testdata/lab/"
	r := small(t)
	r.prompts[world.Train] = 60
	x := learned{policy: "summarize-s", task: "summarize", kind: pairwise.Linear, pooling: head.Mentions}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, lines := range map[string]int{"summarize-s.gguf": 0, "summarize-train.jsonl": 60, "summarize-test.jsonl": 10} {
		data, err := os.ReadFile(lab + name)
		if err != nil {
			t.Fatal(err)
		}
		if lines > 0 {
			data = bytes.Join(bytes.SplitAfter(data, []byte("\n"))[:lines], nil)
		}
		if err := os.WriteFile(r.path(name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.learnReward(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(r.path("summarize-reward.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := head.Load(r.path("summarize-reward.gguf"))
	if err != nil || h.Reading.Pooling != head.Mentions || h.Trunk.Width != 128 {
		t.Errorf("got %+v, %v", h, err)
	}
	card, err := os.ReadFile(r.path("summarize-reward.md"))
	if err != nil || !bytes.Contains(card, []byte("Spearman with the gold reward")) {
		t.Errorf("the card says %s, %v", card, err)
	}
	if err := os.Remove(filepath.Join(r.work, "summarize-pairs.jsonl")); err != nil {
		t.Fatal(err)
	}
	if err := r.learnReward(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(r.path("summarize-reward.gguf")); err != nil || !bytes.Equal(first, again) {
		t.Errorf("made again it is another one (%v)", err)
	}
}
