package pairwise_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/learn/pairwise"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// A trunk that was trained whole, or by adapters, scores answers by its head as it was measured.
func TestFineTune(t *testing.T) {
	m, err := llama.Load(lab, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	trunk := pairwise.Trunk{Model: m, Template: pairwise.Bare}
	pairs := bells(120)
	_, held, err := preference.Split(pairs, .25)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]pairwise.FineTuning{
		"last":           {},
		"mean, adapters": {Pooling: head.Mean, Type: gguf.F16, Rank: 4},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			to := pairwise.Files{Head: filepath.Join(dir, "reward.gguf"), Trunk: filepath.Join(dir, "trunk.gguf")}
			steps := 0
			o.HeldOut, o.Epochs, o.Workers, o.Seed = .25, 4, 1, 1
			o.Progress = func(_, _ int, loss, heldOut float64) { steps++ }
			report, err := trunk.FineTune(t.Context(), pairs, o, to)
			if err != nil {
				t.Fatal(err)
			}
			if report.HeldOut != len(held) || report.Accuracy.Mean < .9 || steps == 0 {
				t.Errorf("after %d steps %d held out, accuracy %+v", steps, report.HeldOut, report.Accuracy)
			}
			spec := "head:" + to.Head + "@" + to.Trunk
			r, err := reward.Open(spec, reward.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var items []reward.Item
			for _, p := range held {
				items = append(items, reward.Item{Prompt: p.Prompt, Response: p.Chosen}, reward.Item{Prompt: p.Prompt, Response: p.Rejected})
			}
			scores, err := r.Score(t.Context(), items)
			if err != nil {
				t.Fatal(err)
			}
			right := 0.
			for i := 0; i < len(scores); i += 2 {
				if scores[i].Value > scores[i+1].Value {
					right += 1 / float64(len(held))
				}
			}
			if right < report.Accuracy.Mean-.03 || right > report.Accuracy.Mean+.03 {
				t.Errorf("%s tells %.3f right, it was measured as %.3f", spec, right, report.Accuracy.Mean)
			}
			if _, err := reward.Open("head:"+to.Head+"@"+lab, reward.Options{}); err == nil || !strings.Contains(err.Error(), "another training") {
				t.Errorf("on the model that was trained from: %v", err)
			}
		})
	}
	if _, err := trunk.FineTune(t.Context(), pairs, pairwise.FineTuning{Longest: 3}, pairwise.Files{}); err == nil || !strings.Contains(err.Error(), "at most 3 tokens") {
		t.Errorf("pairs that are all too long: %v", err)
	}
}
