package report_test

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/tune"
	"github.com/ivo-decoding/ivo/valuehead"
)

func results() *experiment.Results {
	policy := &recipe.Policy{ID: "s", Test: []prompt.Encoded{{Record: prompt.Record{ID: "a", Text: "the <sea>"}}, {Record: prompt.Record{ID: "b", Text: "the land"}}}}
	method := func(id string) *recipe.Method { return &recipe.Method{ID: id, Samples: 1, BestOf: 1} }
	say := func(texts ...string) (out []experiment.Sample) {
		for i, text := range texts {
			out = append(out, experiment.Sample{Answer: experiment.Answer{Response: batch.Response{Prompt: policy.Test[i].ID, Text: text}}, Rewards: []float64{float64(len(text)), 1}})
		}
		return out
	}
	at := func(x float64) eval.Interval { return eval.Interval{Mean: x, Lo: x - 0.1, Hi: x + 0.1} }
	row := func(id string, k experiment.Kind, kind decode.KLKind, reward float64) experiment.Row {
		return experiment.Row{Model: "s", Method: id, Family: id, Kind: k, Reward: at(reward), Wins: at(0.5), KL: at(2), KLKind: kind, DecodedPerEmitted: 1.5, Others: map[string]eval.Interval{"distinct": at(0.75)}}
	}
	return &experiment.Results{
		Evaluation: experiment.Evaluation{
			Recipe: "own.yaml", Models: []experiment.Model{{ID: "s", File: "s.gguf"}}, Reward: "length:8", Watch: []string{"distinct"}, Seeds: []uint64{1, 2}, Prompts: experiment.Prompts{Test: 2},
			Rows:    []experiment.Row{row("base", experiment.Alone, decode.KLExact, 1), row("beam", experiment.Guided, decode.KLBound, 2)},
			Paired:  []experiment.Difference{{Model: "s", A: "beam", B: "base", Difference: at(1.25)}},
			Choices: []experiment.Choice{{Model: "s", Taken: "beam", MaxKL: 4, Rows: []experiment.Row{row("beam", experiment.Guided, decode.KLBound, 3)}}},
			Tuned: []experiment.Tuning{{Policy: "mine", Seed: 2, Report: &tune.Report{Loss: tune.DPO, Pairs: 7, Effort: tune.Effort{Trained: 4, Compared: 12, Trajectories: 28}, Tried: []*tune.Tried{
				{Beta: 0.5, Rate: 1e-4, Step: 3, Steps: 9, Reward: at(6), KL: at(5), Chosen: true}}}}},
			Ceilings: []experiment.Ceiling{{Model: "s", Rerolls: 16, Most: valuehead.Ceilings{All: valuehead.Ceiling{States: 8, R2: 0.64}}, Explains: []experiment.Explained{{Value: "ivo", R2: 0.32, OfMost: 0.5}}}},
		},
		Answers: []experiment.MethodAnswers{
			{Policy: policy, Method: method("base"), Samples: [][]experiment.Sample{say("calm", "wide & far")}},
			{Policy: policy, Method: method("beam"), Samples: [][]experiment.Sample{say("bluest", "green")}},
		},
	}
}

// A method that is infinitely far from the base policy has no place in a plot against distance.
func TestInfinitelyFar(t *testing.T) {
	r := results()
	r.Rows[1].KLKind, r.Rows[1].KL = decode.KLExact, eval.Interval{Mean: math.Inf(1), Lo: math.NaN(), Hi: math.NaN()}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := report.WriteEvaluation(path, r); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	plots := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(string(text), -1)
	if len(plots) != 2 || strings.Contains(plots[0], "beam") || !strings.Contains(plots[1], "beam") || regexp.MustCompile("NaN|Inf").MatchString(plots[0]) {
		t.Errorf("%d plots: %s", len(plots), plots[0])
	}
}

// The page has all that was measured, leads from every point to answers, and needs nothing beside it.
func TestEvaluationPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	if err := report.WriteEvaluation(path, results()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{
		"1.25 [1.15,\u00a01.35]", "−1.25 [−1.35,\u00a0−1.15]", "at most 2.00", "0.75 [0.65,\u00a00.85]", "beam was chosen from 1", "farther than 4.0 nats",
		"mine, seed 2: 4 trainings by dpo on 7 pairs, chosen from 28 trajectories; 12 policies compared", "0.5, taken", "3 of 9", "8 states", "continued 16 times", "0.640", "0.320", "50\u00a0%", "the &lt;sea&gt;", "wide &amp; far", "bluest", "2 seeds",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	links := regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) != 2+1+2 { // rows, and their points: one has no exact KL
		t.Errorf("%d links", len(links))
	}
	for _, m := range links {
		if !strings.Contains(page, `id="`+m[1]+`"`) {
			t.Errorf("%s leads nowhere", m[1])
		}
	}
	if m := regexp.MustCompile(`(?:src|href)="[^#]|https?://|@import|url\(`).FindString(page); m != "" {
		t.Errorf("the page needs %s", m)
	}
}

func TestResultsTable(t *testing.T) {
	var b strings.Builder
	if err := report.ResultsTable(&b, results(), "out/report.html"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"s: beam", "1.900 to 2.100", "at most 2.00", "ivo explains 0.320 of the rewards' variance, of 0.640 that could be", "report: out/report.html"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}
