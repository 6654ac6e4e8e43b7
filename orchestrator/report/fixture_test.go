package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/valuehead"
)

// hostile is an answer that tries to become markup.
const hostile = `</p><script>alert("1")</script> & <b>bold</b>`

// fakeRun writes the files of a run of two rounds of which the first few are finished,
// and of its evaluation if evaluated.
func fakeRun(t *testing.T, rounds int, evaluated bool) (dir string, e loop.Evaluation) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "demo")
	o := loop.Defaults(4)
	o.Model, o.Prompts, o.EvalPrompts = "lab/summarize-s.gguf", "train.jsonl", filepath.Join(dir, "test.jsonl")
	options, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "run.yaml"), options)
	manifest := loop.Manifest{Version: 1, Complete: map[string]loop.File{}}
	for round := 1; round <= rounds+1; round++ {
		for shard := range 3 {
			manifest.Complete[fmt.Sprintf("iter-%02d/trajectories/%04d.jsonl.zst", round, shard)] = loop.File{}
		}
		if round <= rounds {
			writeJSON(t, filepath.Join(dir, fmt.Sprintf("iter-%02d", round), "metrics.json"), metrics(round))
		}
	}
	writeJSON(t, filepath.Join(dir, "manifest.json"), manifest)
	if evaluated {
		e = evaluation(t, dir, o.Seed)
	}
	return dir, e
}

func metrics(round int) loop.Metrics {
	m := loop.Metrics{Round: round, Trajectories: 12000, Reward: loop.MeanSD{Mean: 1.7 + 0.6*float64(round), SD: 1.81}, Tokens: 22.4, Head: "mlp", Parameters: 74113}
	report := &valuehead.Report{Start: 0.52, Best: 7}
	for i := range 10 {
		x := float64(i)
		report.Epochs = append(report.Epochs, valuehead.Epoch{TrainLoss: 0.24 + 0.2/(x+1) - 0.004*x, HeldOutLoss: 0.26 + 0.2/(x+1) + 0.003*max(0, x-6)})
	}
	for i := range report.HeldOut.Fifths {
		x := float64(i)
		report.HeldOut.Fifths[i] = valuehead.Score{States: 6241, R2: -0.02 + 0.15*x, Spearman: 0.2 + 0.14*x}
	}
	for i := range 15 {
		x := 0.3 * float64(i)
		report.HeldOut.Reliability = append(report.HeldOut.Reliability, valuehead.Bin{States: 2080, Value: x, Return: x + 0.05*float64(i%3-1)})
	}
	report.HeldOut.All = valuehead.Score{States: 31205, R2: 0.37, Spearman: 0.58, ECE: 0.06}
	report.HeldOut.Last = valuehead.Score{States: 1200, R2: 0.71, Spearman: 0.83}
	m.Training = report
	return m
}

func evaluation(t *testing.T, dir string, seed uint64) loop.Evaluation {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	e := loop.Evaluation{Reward: "gold", Seed: seed}
	var prompts bytes.Buffer
	ability := make([]float64, 300)
	for i := range ability {
		ability[i] = rng.NormFloat64()
		line, _ := json.Marshal(map[string]string{"id": fmt.Sprint("test-", i), "prompt": "Tom took the red bus to the old mill on Friday. It rained all day.\nTL;DR:"})
		fmt.Fprintf(&prompts, "%s\n", line)
	}
	put(t, filepath.Join(dir, "test.jsonl"), prompts.Bytes())
	var base []eval.Answer
	for _, m := range []struct {
		name   string
		reward float64
		cost   int
	}{{"base", 2.3, 20}, {"base-t0.35", 3.1, 20}, {"greedy", 3.5, 20}, {"best-of-4", 3.6, 82}, {"ivo*", 4.0, 310}, {"ivo", 4.15, 312}} {
		var answers []eval.Answer
		for i, a := range ability {
			answers = append(answers, eval.Answer{
				Prompt: fmt.Sprint("test-", i), Response: fmt.Sprintf(" Tom took the bus to the mill (%s). %s", m.name, hostile),
				Reward: m.reward + a + 1.2*rng.NormFloat64(), Emitted: 20, Decoded: m.cost,
			})
		}
		if base == nil {
			base = answers
		}
		var lines bytes.Buffer
		for _, a := range answers {
			json.NewEncoder(&lines).Encode(a)
		}
		put(t, filepath.Join(dir, "eval", m.name+".jsonl"), lines.Bytes())
		e.Methods = append(e.Methods, eval.Summarize(m.name, answers, base, seed))
	}
	writeJSON(t, filepath.Join(dir, loop.EvalFile), e)
	return e
}

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, data)
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
