package report

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
)

// hostile is an answer that tries to become markup.
const hostile = `</p><script>alert("1")</script> & <b>bold</b>`

// fakeRun writes the files of a run of two rounds of which the first few are finished,
// and of its evaluation if evaluated.
func fakeRun(t testing.TB, rounds int, evaluated bool) (dir string, e loop.Evaluation) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "demo")
	o := loop.Defaults(4)
	o.Model, o.Prompts, o.EvalPrompts = "lab/summarize-s.gguf", "train.jsonl", filepath.Join(dir, "test.jsonl")
	o.Inputs.SampleFrom = []int{0}
	options, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, run.OptionsFile), options)
	d, err := run.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for round := 1; round <= min(rounds+1, o.Rounds); round++ {
		for shard := range 3 {
			lines(t, d, run.Trajectories(round, run.Shard{Index: shard}), []batch.Response{})
		}
		if round <= rounds {
			m := metrics(round)
			if err := run.Put(d, run.Metrics(round), "k", nil, nil, &m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if evaluated {
		e = evaluation(t, d, o.Seed)
	}
	return dir, e
}

func lines[T any](t testing.TB, d *run.Dir, name string, content []T) {
	t.Helper()
	if err := run.PutLines(d, name, "k", nil, nil, content); err != nil {
		t.Fatal(err)
	}
}

func metrics(round int) learn.Metrics {
	m := learn.Metrics{Round: round, Trajectories: 12000, Reward: learn.MeanSD{Mean: 1.7 + 0.6*float64(round), SD: 1.81}, Tokens: 22.4, Head: "mlp", Parameters: 74113}
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

func evaluation(t testing.TB, d *run.Dir, seed uint64) loop.Evaluation {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	e := loop.Evaluation{Reward: "gold", Folder: "gold-1", Seed: seed}
	var prompts []prompt.Record
	ability := make([]float64, 300)
	for i := range ability {
		ability[i] = rng.NormFloat64()
		prompts = append(prompts, prompt.Record{ID: fmt.Sprint("test-", i), Text: "Tom took the red bus to the old mill on Friday. It rained all day.\nTL;DR:"})
	}
	lines(t, d, run.EvalPromptsFile, prompts)
	from := map[string]string{}
	var base []eval.Answer
	for _, m := range []struct {
		name   string
		reward float64
		cost   int
	}{{"base", 2.3, 20}, {"base-t0.35", 3.1, 20}, {"greedy", 3.5, 20}, {"best-of-4", 3.6, 82}, {"ivo*", 4.0, 310}, {"ivo", 4.15, 312}} {
		var answers []eval.Answer
		var responses []batch.Response
		var scores []batch.Score
		for i, a := range ability {
			r := batch.Response{
				Prompt: fmt.Sprint("test-", i), Text: fmt.Sprintf(" Tom took the bus to the mill (%s). %s", m.name, hostile), Emitted: 20, Decoded: m.cost,
			}
			reward := m.reward + a + 1.2*rng.NormFloat64()
			responses, scores = append(responses, r), append(scores, batch.Score{Prompt: r.Prompt, Reward: &reward})
			answers = append(answers, eval.Answer{Response: r, Reward: reward})
		}
		if base == nil {
			base = answers
		}
		name := run.Answers(m.name, 0)
		lines(t, d, name, responses)
		lines(t, d, run.Scores(e.Folder, name), scores)
		from[run.Scores(e.Folder, name)] = "k"
		e.Methods = append(e.Methods, eval.Summarize(m.name, answers, base, seed))
	}
	if err := run.Put(d, run.EvaluationFile, "k", from, nil, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
