package report

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/valuehead"
)

func TestTrainingPage(t *testing.T) {
	m := metrics(1)
	m.Training.HeldOut.Quarters[1] = valuehead.Score{States: 7801, R2: 0.25, Spearman: 0.5, ECE: 0.125, MSE: 2}
	path := filepath.Join(t.TempDir(), "page.html")
	training := Training{
		Head: "<head>.gguf", Kind: valuehead.Recall, Atoms: 41, Members: 3, Parameters: 163567, Target: valuehead.MonteCarloReturn,
		Shards: []string{"a.states", "b.states"}, States: 123456, Report: m.Training,
	}
	if err := WriteTraining(path, training); err != nil {
		t.Fatal(err)
	}
	d := parsePage(t, path)
	d.wants(t, "explains 37\u00a0% of the variance", "123,456 states", "<head>.gguf", "the mean of 3 members", "a distribution over 41 returns", "b.states")
	var names []string
	for _, row := range d.rows["parts"][1:] {
		names = append(names, row[0])
	}
	want := "all, 1st quarter, 2nd quarter, 3rd quarter, 4th quarter, 1st fifth, 2nd fifth, 3rd fifth, 4th fifth, 5th fifth, last state"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("rows %s, not %s", got, want)
	}
	if got, want := fmt.Sprint(d.rows["parts"][3]), "[2nd quarter 7,801 0.250 0.500 0.125 2.000]"; got != want {
		t.Errorf("second quarter: %s, not %s", got, want)
	}
	if d.elements["svg"] != 3 {
		t.Errorf("%d plots", d.elements["svg"])
	}

	training.Report.Epochs, training.Report.Best = nil, 0
	training.Tried = []valuehead.Trial{{Name: "additive", R2: 0.25}, {Name: "ridge", R2: 0.375}}
	if err := WriteTraining(path, training); err != nil {
		t.Fatal(err)
	}
	d = parsePage(t, path)
	d.wants(t, "fitted in closed form", "Chosen: ridge, of additive 0.250, ridge 0.375 (R^2")
	if d.elements["svg"] != 2 {
		t.Errorf("%d plots of a fit in closed form", d.elements["svg"])
	}
}

// Calibrated bins lie on the diagonal that is drawn, bins of too high values below it.
func TestReliability(t *testing.T) {
	for _, excess := range []float64{0, 0.5} {
		var bins []valuehead.Bin
		for i := range 15 {
			bins = append(bins, valuehead.Bin{States: 10, Value: float64(i)/5 + excess, Return: float64(i) / 5})
		}
		c := reliability(bins)
		var x0, y0, x1, y1 float64
		if _, err := fmt.Sscanf(c.Lines[alone], "%g,%g %g,%g", &x0, &y0, &x1, &y1); err != nil {
			t.Fatal(err)
		}
		for _, m := range c.Marks {
			below := m.Y - (y0 + (m.X-x0)/(x1-x0)*(y1-y0)) // y runs down
			if excess == 0 && math.Abs(below) > 0.1 || excess > 0 && below < 1 {
				t.Errorf("excess %g: a mark is %g below the diagonal", excess, below)
			}
		}
	}
}

// A text that tries to become markup stays text, and all of it is there.
func TestTextPage(t *testing.T) {
	change := float32(-0.25)
	text := &Text{
		Prompt: hostile, Model: "m.gguf", Head: "h.gguf", Reading: "mean return", Scale: Scale{Low: 0, High: 2},
		Tokens: []Token{
			{ID: 7, Text: hostile, Value: 1.5, LogProb: -0.5, Quantiles: &eval.Quantiles{Q10: 0.5, Q50: 1.25, Q90: 2}},
			{ID: 8, Text: "", Value: 1.25, Change: &change, LogProb: -1},
			{ID: 9, Text: "é\n", Value: 2, LogProb: -1},
		},
	}
	path := filepath.Join(t.TempDir(), "page.html")
	if err := WriteText(path, text); err != nil {
		t.Fatal(err)
	}
	d := parsePage(t, path)
	if n := strings.Count(d.text, hostile); n != 2 { // the prompt and the token
		t.Errorf("the text is there %d times", n)
	}
	d.wants(t, "é↵\n", "mean return", "0.0", "2.0")
	if d.elements["script"] != 0 {
		t.Error("a token became a script")
	}
	want := []string{
		fmt.Sprintf("%q, token 7\nvalue 1.500\nlog p −0.500\nreturn: 10 %% below 0.50, median 1.25, 10 %% above 2.00", hostile),
		"\"\", token 8\nvalue 1.250, change −0.250\nlog p −1.000",
		"\"é\\n\", token 9\nvalue 2.000\nlog p −1.000",
	}
	if diff := cmp.Diff(want, d.tips); diff != "" {
		t.Error(diff)
	}
}
