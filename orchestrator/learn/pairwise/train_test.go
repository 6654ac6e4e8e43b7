package pairwise_test

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/learn/pairwise"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

func init() { slog.SetLogLoggerLevel(slog.LevelWarn) }

const lab = "../../../testdata/lab/summarize-s.gguf"

// bells are pairs of which the chosen side names more bells, and the other more drums.
func bells(n int) (pairs []preference.Pair) {
	rng := rand.New(rand.NewPCG(2, 2))
	say := func(more, less string) (text string) {
		for range 3 + rng.IntN(4) {
			what := more
			if rng.IntN(4) == 0 {
				what = less
			}
			text += fmt.Sprintf(" bought a %s %s,", []string{"red", "blue", "tiny"}[rng.IntN(3)], what)
		}
		return text
	}
	for i := range n {
		pairs = append(pairs, preference.Pair{
			Prompt: prompt.Record{ID: fmt.Sprint(i), Text: fmt.Sprintf("i went to the market %d times.\nTL;DR:", i)},
			Chosen: say("bell", "drum"), Rejected: say("drum", "bell"),
		})
	}
	return pairs
}

// A head that was learned scores answers as it was measured, whatever its kind; and another one costs
// no states.
func TestTrain(t *testing.T) {
	m, err := llama.Load(lab, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	dir := t.TempDir()
	trunk := pairwise.Trunk{Model: m, Layers: []int{head.Embeddings, 3}, Template: pairwise.Bare, Prompts: true}
	pairs := bells(150)
	data, err := trunk.Collect(t.Context(), dir, pairs, nil)
	if err != nil || len(data.Pairs) != len(pairs) || data.Left != 0 {
		t.Fatal(err)
	}
	before := content(t, dir)
	for _, kind := range pairwise.Kinds() {
		again, err := trunk.Collect(t.Context(), dir, pairs, nil)
		if err != nil {
			t.Fatal(err)
		}
		tried, epochs := 0, 0
		if kind == pairwise.Recall || kind == pairwise.Auto {
			epochs = 8
		}
		h, report, err := trunk.Train(t.Context(), again, pairwise.Options{Kind: kind, Seed: 1, Hidden: 8, Epochs: epochs, Progress: func(int, int, pairwise.Trial) { tried++ }})
		if err != nil {
			t.Fatal(kind, err)
		}
		if report.Accuracy.Mean < 0.85 || report.LogLoss > 0.6 || tried != len(report.Tried) || report.Pairs+report.HeldOut != len(pairs) {
			t.Errorf("%s: %+v", kind, report)
		}
		for _, b := range report.Baselines {
			if b.Accuracy.Mean > 0.75 || math.Abs(report.Accuracy.Mean-b.Accuracy.Mean-b.Ahead.Mean) > 1e-9 {
				t.Errorf("%s: %+v", kind, b)
			}
		}
		path := filepath.Join(t.TempDir(), "head.gguf")
		if err := h.Save(path); err != nil {
			t.Fatal(err)
		}
		if h, err = head.Load(path); err != nil {
			t.Fatal(err)
		}
		s, err := head.NewScorer(h, m)
		if err != nil {
			t.Fatal(err)
		}
		_, held, err := preference.Split(pairs, 0.2)
		if err != nil {
			t.Fatal(err)
		}
		var answers []head.Answer
		for _, p := range held {
			answers = append(answers, head.Answer{Prompt: p.Prompt, Response: p.Chosen}, head.Answer{Prompt: p.Prompt, Response: p.Rejected})
		}
		scores, err := s.Score(t.Context(), answers)
		if err != nil {
			t.Fatal(err)
		}
		right, loss := 0.0, 0.0
		for i := 0; i < len(scores); i += 2 {
			d := scores[i].Value - scores[i+1].Value
			if d > 0 {
				right++
			}
			loss += math.Log1p(math.Exp(-d))
		}
		n := float64(len(held))
		if math.Abs(right/n-report.Accuracy.Mean) > 1.5/n || math.Abs(loss/n-report.LogLoss) > 0.01 {
			t.Errorf("%s: it is served with accuracy %.3f and log loss %.3f, and was measured with %.3f and %.3f", kind, right/n, loss/n, report.Accuracy.Mean, report.LogLoss)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := content(t, dir); after != before {
		t.Errorf("states were computed again: %s, then %s", before, after)
	}
	if _, _, err := trunk.Train(t.Context(), data, pairwise.Options{Kind: "forest"}); err == nil {
		t.Error("a kind that is not there was trained")
	}
	few, err := trunk.Collect(t.Context(), dir, pairs[:10], nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := trunk.Train(t.Context(), few, pairwise.Options{}); err == nil {
		t.Error("ten pairs were enough")
	}
}

// content tells files apart by name and time.
func content(t *testing.T, dir string) (text string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintln(e.Name(), info.ModTime().UnixNano())
	}
	return text
}

// Pairs that the model cannot read are left out, and none that is left is an error.
func TestTooLong(t *testing.T) {
	m, err := llama.Load(lab, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pairs := bells(3)
	for range 1000 {
		pairs[1].Rejected += " bell"
	}
	trunk := pairwise.Trunk{Model: m, Layers: []int{3}, Template: pairwise.Bare}
	data, err := trunk.Collect(t.Context(), t.TempDir(), pairs, nil)
	if err != nil || data.Left != 1 || len(data.Pairs) != 2 || data.Pairs[1].Prompt.ID != "2" {
		t.Errorf("got %+v, %v", data, err)
	}
	if _, err := trunk.Collect(t.Context(), t.TempDir(), pairs[1:2], nil); err == nil {
		t.Error("pairs that are too long are learned from")
	}
	// What the chat template refuses is not said to be too long.
	trunk.Template = "{{ raise_exception('no turns') }}"
	_, err = trunk.Collect(t.Context(), t.TempDir(), pairs, nil)
	_, tuned := trunk.FineTune(t.Context(), pairs, pairwise.FineTuning{}, pairwise.Files{})
	for _, err := range []error{err, tuned} {
		if err == nil || !strings.Contains(err.Error(), "no turns") {
			t.Errorf("of a template that refuses them: %v", err)
		}
	}
}
