package main

import (
	"log/slog"
	"math"
	"strings"
	"testing"
)

func init() { slog.SetLogLoggerLevel(slog.LevelWarn) } // llama.cpp is chatty

// The shipped model is worth steering.
func TestShippedModelPassesGate(t *testing.T) {
	f, err := measure(t.Context(), shipped+"summarize-s.gguf", shipped, "summarize", 300)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("T=0.7 %.2f (sd %.2f), T=0.35 %.2f, greedy %.2f, best of 16 %.2f", f.Mean, f.SD, f.Cold, f.Greedy, f.Best)
	if f.Prompts < 300 {
		t.Errorf("%d test prompts, want at least 300", f.Prompts)
	}
	if err := f.gate(); err != nil {
		t.Error(err)
	}
}

func TestGate(t *testing.T) {
	for _, tc := range []struct {
		f    figures
		want string
	}{
		{figures{Task: "summarize", Mean: 1, SD: 1, Best: 2.4, Greedy: 1.6}, ""},
		{figures{Task: "summarize", Mean: -4, SD: 1, Best: -2, Greedy: -4}, "not able"},
		{figures{Mean: 0, SD: 1, Best: 1.2, Greedy: 0}, "above the mean"},
		{figures{Mean: 0, SD: 2, Best: 3, Greedy: 2}, "above greedy"},
		{figures{Mean: 0, SD: 0, Best: 0, Greedy: math.NaN()}, "above the mean"},
	} {
		err := tc.f.gate()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: got %v, want %q", tc.f, err, tc.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	got := histogram([]float64{-0.5, 0, 0.9, 2})
	want := " -1 to  0  25.0 % " + strings.Repeat("#", 25) + "\n" +
		"  0 to  1  50.0 % " + strings.Repeat("#", 50) + "\n" +
		"  1 to  2   0.0 % \n" +
		"  2 to  3  25.0 % " + strings.Repeat("#", 25) + "\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
