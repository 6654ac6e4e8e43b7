package experiment_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
)

const small = `
model: ../../testdata/lab/summarize-s.gguf
prompts: {validation: DIR/validation.jsonl, test: DIR/test.jsonl}
reward: sentiment
watch: [distinct]
judge: length:6
sampling: {temp: 1}
max_tokens: 10
seeds: 2
ceiling: {rerolls: 2}
values:
  words: {reward: sentiment}
methods:
  - {id: base, strategy: sample, samples: 4}
  - {id: "best of {best_of}", strategy: sample, samples: 4, best_of: [2, 4], by: reward}
  - {id: greedy, strategy: sample, sampling: {temp: 0}}
  - id: words
    value: words
    strategy: {method: tokenwise, k: 2, beta: [1, 8], raw: true}
    choose: {max_kl: 100}
`

// fixture writes prompts and returns their folder.
func fixture(t testing.TB) string {
	dir := t.TempDir()
	for name, texts := range map[string][]string{"test": {"the good sea", "a bad town", "one house"}, "validation": {"two good men", "a fine day"}} {
		var lines bytes.Buffer
		for _, text := range texts {
			fmt.Fprintf(&lines, "{\"prompt\": %q}\n", text)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".jsonl"), lines.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// open opens a recipe of a folder, which the test closes.
func open(t testing.TB, dir, text string) *recipe.Experiment {
	t.Helper()
	path := filepath.Join(dir, "recipe.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	x, err := recipe.Open(context.Background(), path, recipe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

// carryOut runs a recipe in the folder out of dir.
func carryOut(t testing.TB, dir, text string) *experiment.Results {
	t.Helper()
	x := open(t, dir, text)
	r, err := experiment.Run(context.Background(), x, filepath.Join(dir, "out"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What eval.json states of a method is what the lines of samples.jsonl come to, and the Parquet file has the
// same lines.
func TestResults(t *testing.T) {
	dir := fixture(t)
	r := carryOut(t, dir, small)
	e, err := run.Value[experiment.Evaluation](filepath.Join(dir, "out", experiment.EvaluationFile))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "out", experiment.SamplesFile))
	if err != nil {
		t.Fatal(err)
	}
	var lines []experiment.Line
	for line := range bytes.Lines(text) {
		var l experiment.Line
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	var ids []string
	for _, row := range e.Rows {
		ids = append(ids, row.Method)
		var reward, distinct, taken, tokens, emitted float64
		for _, l := range lines {
			if l.Method != row.Method {
				continue
			}
			tokens += float64(l.Decoded)
			if l.Taken {
				reward, distinct, taken, emitted = reward+l.Reward, distinct+float64(l.Others["distinct"]), taken+1, emitted+float64(l.Emitted)
			}
		}
		if taken != float64(row.Answers*3*2) || math.Abs(row.Reward.Mean-reward/taken) > 1e-9 || math.Abs(row.Others["distinct"].Mean-distinct/taken) > 1e-9 || math.Abs(row.DecodedPerEmitted-tokens/emitted) > 1e-9 {
			t.Errorf("%+v, of the lines %g, %g, %g of %g", row, reward/taken, distinct/taken, tokens/emitted, taken)
		}
		if !(row.Reward.Lo <= row.Reward.Mean && row.Reward.Mean <= row.Reward.Hi) {
			t.Errorf("%s: %v", row.Method, row.Reward)
		}
	}
	if want := []string{"base", "best of 2", "best of 4", "greedy", e.Choices[0].Taken}; !slices.Equal(ids, want) {
		t.Errorf("rows %v, want %v", ids, want)
	}
	// The chosen variation is the best one on the validation prompts, as all are near enough.
	c := e.Choices[0]
	at := slices.IndexFunc(c.Rows, func(row experiment.Row) bool { return row.Method == c.Taken })
	if len(c.Rows) != 2 || c.Rows[at].Reward.Mean < c.Rows[1-at].Reward.Mean {
		t.Errorf("chosen %+v", c)
	}
	if base := e.Rows[0]; math.Abs(base.Wins.Mean-0.5) > 1e-9 || base.KL.Mean != 0 || base.KLKind != "exact" || base.Kind != experiment.Alone {
		t.Errorf("base: %+v", base)
	}
	if of4 := e.Rows[2]; of4.Reward.Mean < e.Rows[1].Reward.Mean || of4.KLKind != "bound" || math.Abs(of4.KL.Mean-(math.Log(4)-0.75)) > 1e-9 || of4.Kind != experiment.Ranked {
		t.Errorf("best of 4: %+v", of4)
	}
	if n := len(e.Rows); len(e.Paired) != n*(n-1)/2 {
		t.Errorf("%d differences of %d methods", len(e.Paired), n)
	}
	for _, d := range e.Paired {
		mean := func(id string) float64 {
			return e.Rows[slices.IndexFunc(e.Rows, func(row experiment.Row) bool { return row.Method == id })].Reward.Mean
		}
		if math.Abs(d.Difference.Mean-(mean(d.A)-mean(d.B))) > 1e-9 {
			t.Errorf("%+v", d)
		}
	}
	if len(e.Ceilings) != 1 || e.Ceilings[0].Most.All.States == 0 || e.Ceilings[0].Most.All.R2 > 1 {
		t.Errorf("ceiling %+v", e.Ceilings)
	}
	for i, j := range e.Judged {
		if j.Method != e.Rows[1+i].Method || j.Report.Pairs != 3*2 || j.Report.Wins+j.Report.Ties+j.Report.Losses != 3*2 {
			t.Errorf("judged %+v", j)
		}
	}
	if len(e.Judged) != len(e.Rows)-1 {
		t.Errorf("%d methods judged of %d", len(e.Judged), len(e.Rows))
	}
	if diff := difference(e, &r.Evaluation); diff != "" {
		t.Error(diff)
	}

	type column struct {
		Method   string   `parquet:"method"`
		Seed     uint64   `parquet:"seed"`
		Prompt   string   `parquet:"prompt_id"`
		Sample   int64    `parquet:"sample"`
		Taken    bool     `parquet:"taken"`
		Text     string   `parquet:"response"`
		KL       *float64 `parquet:"kl"`
		Value    *float64 `parquet:"value"`
		Reward   *float64 `parquet:"reward"`
		Distinct *float64 `parquet:"reward:distinct"`
	}
	rows, err := parquet.ReadFile[column](filepath.Join(dir, "out", experiment.ParquetFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(lines) {
		t.Fatalf("%d rows of %d lines", len(rows), len(lines))
	}
	for i, row := range rows {
		l := lines[i]
		if row.Method != l.Method || row.Seed != l.Seed || row.Prompt != l.Prompt || row.Sample != int64(l.Sample) || row.Taken != l.Taken || row.Text != l.Text ||
			*row.KL != float64(l.KL) || *row.Reward != l.Reward || *row.Distinct != float64(l.Others["distinct"]) || (row.Value == nil) != math.IsNaN(float64(l.Value)) {
			t.Errorf("row %d: %+v, line %+v", i, row, l)
		}
	}
}

// What may be chosen stays within what the first method has of a watched reward: where all the reward is bought
// with what is watched, here shortness, nothing but the nearest is left.
func TestChosenWithin(t *testing.T) {
	const text = `
model: ../../testdata/lab/summarize-s.gguf
prompts: {validation: {file: ../../testdata/lab/summarize-train.jsonl, first: 3}, test: {file: ../../testdata/lab/summarize-test.jsonl, first: 1}}
reward: length:150c
watch: [-1*length:150c]
max_tokens: 20
values:
  long: {reward: "length:150c"}
methods:
  - {id: base, strategy: sample, samples: 4}
  - id: "{beta}"
    value: long
    strategy: {method: greedy, k: 20, beta: [0, 100, 1000], raw: true}
    choose: CHOOSE
`
	dir := fixture(t)
	chosen := func(choose string) experiment.Choice {
		return carryOut(t, dir, strings.Replace(text, "CHOOSE", choose, 1)).Choices[0]
	}
	most := chosen("{within: {-1*length:150c: 1}}")
	watched := map[string]float64{}
	for _, row := range most.Rows {
		watched[row.Method] = row.Others["-1*length:150c"].Mean
	}
	if most.Taken != chosen("true").Taken || watched["0"]-watched[most.Taken] < 0.06 {
		t.Fatalf("%s was chosen of %v: the test has nothing to show", most.Taken, watched)
	}
	if within := chosen("{within: {-1*length:150c: 0.05}}"); within.Taken != "0" {
		t.Errorf("%s was chosen of %v", within.Taken, watched)
	}
	if nearest := chosen("{max_kl: 1e-9, within: {-1*length:150c: 0}}"); nearest.Taken != "0" {
		t.Errorf("where nothing may be chosen, %s was, not the nearest", nearest.Taken)
	}
}

// learned writes a head on the lab model's states, and names it.
func learned(t *testing.T, dir string) string {
	t.Helper()
	ctx := context.Background()
	model, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	schema, err := rollout.Schema(model, []int{0}, false)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(model, engine.Params{Threads: 1, Layers: schema.Layers})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var tasks []batch.Task
	for i := range 8 {
		tasks = append(tasks, batch.Task{Encoded: prompt.Encoded{Record: prompt.Record{ID: fmt.Sprint(i)}, Tokens: []int32{int32(i + 1)}}})
	}
	shard, err := rollout.Collect(ctx, e, batch.Policy{Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: policy.Sampling{Temp: 1}, MaxTokens: 4}, tasks)
	if err != nil {
		t.Fatal(err)
	}
	features, err := valuehead.NewFeatures(schema, valuehead.FeatureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data := valuehead.NewDataset(features)
	for i := range shard.States {
		if err := data.AddExample(valuehead.Example{Trajectory: &shard.States[i], Return: float32(i), Prompt: &shard.Prompts[i]}); err != nil {
			t.Fatal(err)
		}
	}
	head, _, err := valuehead.Train(ctx, data, valuehead.TrainOptions{Kind: valuehead.Linear, Epochs: 1, HeldOut: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "head.gguf")
	if err := head.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// A method that gains reward and loses by one that is watched is named.
func TestOveroptimized(t *testing.T) {
	text := strings.NewReplacer("\nreward: sentiment", "\nreward: length:60c", "watch: [distinct]", "watch: [\"-1*length:60c\", 2*length:60c]").Replace(small)
	text = strings.NewReplacer("samples: 4}", "samples: 16}", "samples: 4, best_of: [2, 4]", "samples: 16, best_of: [4, 16]").Replace(text)
	r := carryOut(t, fixture(t), text)
	var got []string
	for _, o := range r.Overoptimized {
		got = append(got, o.Than+" < "+o.Method+" by "+o.Watched)
		if o.Reward.Lo <= 0 || math.Abs(o.Reward.Mean+o.Second.Mean) > 1e-9 {
			t.Errorf("%+v", o)
		}
	}
	if !slices.Contains(got, "base < best of 16 by -1*length:60c") || slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, "by 2*length:60c") }) {
		t.Errorf("%q", got)
	}
}

// files are the contents of a folder of the results, with when they were written.
func files(t *testing.T, dir, folder string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(dir, "out", folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = info.ModTime().String()
	}
	return out
}

// A recipe that has changed does anew what that concerns, and nothing else; one that has changed back finds
// what it had.
func TestChangedRecipe(t *testing.T) {
	dir := fixture(t)
	text := strings.NewReplacer("beta: [1, 8]", "beta: 8", "    choose: {max_kl: 100}\n", "").Replace(small)
	first, before := text, carryOut(t, dir, text)
	answers, ceiling := files(t, dir, "answers"), files(t, dir, "ceiling")
	const draws = 3 // base, whose answers the best are taken of, greedy and words
	if len(answers) != 2*draws || len(ceiling) != 1 {
		t.Fatalf("%d files of answers, %d of the ceiling", len(answers), len(ceiling))
	}
	for _, c := range []struct {
		name, from, to   string
		answers, ceiling int // new files
		same             bool
	}{
		{"nothing", "", "", 0, 0, true},
		{"another watched reward", "watch: [distinct]", "watch: [distinct, length:3]", 0, 0, false},
		{"another name", "id: greedy", "id: likeliest", 0, 0, false},
		{"one more method", "  - {id: likeliest", "  - {id: cool, strategy: sample, sampling: {temp: 0.5}}\n  - {id: likeliest", 2, 0, false},
		{"one more seed", "seeds: 2", "seeds: 3", draws + 1, 0, false},
		{"more rerolls", "rerolls: 2", "rerolls: 3", 0, 1, false},
		{"another reward", "reward: sentiment\nwatch: [distinct, length:3]", "reward: distinct\nwatch: [sentiment]", 0, 1, false},
		{"longer answers", "max_tokens: 10", "max_tokens: 11", 3 * (draws + 1), 1, false},
		{"as it was", text, "", 0, 0, false},
	} {
		if text = strings.Replace(text, c.from, c.to, 1); c.name == "as it was" {
			text = first
		}
		after := carryOut(t, dir, text)
		nowAnswers, nowCeiling := files(t, dir, "answers"), files(t, dir, "ceiling")
		for name, when := range answers {
			if nowAnswers[name] != when {
				t.Errorf("%s: %s was made anew", c.name, name)
			}
		}
		for name, when := range ceiling {
			if nowCeiling[name] != when {
				t.Errorf("%s: %s was made anew", c.name, name)
			}
		}
		if a, b := len(nowAnswers)-len(answers), len(nowCeiling)-len(ceiling); a != c.answers || b != c.ceiling {
			t.Errorf("%s: %d new files of answers and %d of the ceiling, want %d and %d", c.name, a, b, c.answers, c.ceiling)
		}
		if same := equal(before, after); same != c.same {
			t.Errorf("%s: the same results: %v", c.name, same)
		}
		before, answers, ceiling = after, nowAnswers, nowCeiling
	}
}

// equal says whether two experiments gave the same.
func equal(a, b *experiment.Results) bool { return difference(&a.Evaluation, &b.Evaluation) == "" }

func difference(a, b *experiment.Evaluation) string {
	return cmp.Diff(a, b, cmpopts.EquateNaNs(), cmpopts.IgnoreFields(experiment.Evaluation{}, "Stamp"))
}

// A look at a recipe takes less of everything.
func TestMost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	if err := os.WriteFile(path, []byte(learning), 0o644); err != nil {
		t.Fatal(err)
	}
	x, err := recipe.Open(context.Background(), path, recipe.Options{Most: recipe.Most{Train: 3, Validation: 1, Test: 5, Seeds: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if p := x.Prompts; len(p.Train.Records) != 3 || len(p.Validation.Records) != 1 || len(p.Test.Records) != 2 || len(x.Seeds) != 1 {
		t.Errorf("%d, %d and %d prompts, %d seeds", len(p.Train.Records), len(p.Validation.Records), len(p.Test.Records), len(x.Seeds))
	}
}

// A policy that is the model itself answers as the model does, at no distance from it; one that the experiment
// trains is some way off, and what training took is told, from the cells too.
func TestPolicies(t *testing.T) {
	const text = `
model: ../../testdata/lab/summarize-s.gguf
prompts:
  train: {file: ../../testdata/lab/summarize-train.jsonl, first: 6}
  validation: {file: ../../testdata/lab/summarize-train.jsonl, skip: 6, first: 2}
  test: {file: ../../testdata/lab/summarize-test.jsonl, first: 2}
reward: gold
max_tokens: 8
seeds: 1
runs:
  one: {rounds: 1, samples: 4, kind: ridge, parallel: 8}
policies:
  itself: ../../testdata/lab/summarize-s.gguf
  DPO: {run: one, beta: [0.1, 0.5], lr: 1e-3, keep: 1, samples: 1}
methods:
  - {id: base, strategy: sample, samples: 2}
  - {id: "{policy}", policy: [itself, DPO], strategy: sample, samples: 2}
  - {id: "the best, {policy}", policy: DPO, strategy: sample, samples: 2, best_of: 2, by: reward}
`
	dir := t.TempDir()
	first := keep(t, dir, text, "here")
	base, itself, dpo, best := first.Rows[0], first.Rows[1], first.Rows[2], first.Rows[3]
	if itself.Reward != base.Reward || math.Abs(itself.KL.Mean) > 1e-3 || itself.KLKind != decode.KLExact {
		t.Errorf("the model as another one: %+v, not %+v", itself, base)
	}
	if dpo.KLKind != decode.KLExact || dpo.KL.Mean < .01 || best.Reward.Mean < dpo.Reward.Mean || best.KLKind != decode.KLBound {
		t.Errorf("trained: %+v and %+v", dpo, best)
	}
	if chosen := decode.BestOfKL(2); math.Abs(best.KL.Mean-chosen) < 1e-3 {
		t.Errorf("the best of two is %v nats away, as if the policy were the base policy", best.KL.Mean)
	}
	if len(first.Tuned) != 1 || first.Tuned[0].Policy != "DPO" || first.Tuned[0].Report.Effort.Trained != 2 || first.Tuned[0].Report.Effort.Trajectories != 24 {
		t.Errorf("tuned %+v", first.Tuned)
	}
	again := keep(t, dir, text, "elsewhere")
	if diff := difference(&again.Evaluation, &first.Evaluation); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(dir, "elsewhere", "policies")); err == nil {
		t.Error("a policy was trained although all cells were there")
	}
}
