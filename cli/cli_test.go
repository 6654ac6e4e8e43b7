package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/flags"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
)

// The flags of ivo iterate say what the loop's own defaults are.
func TestIterateDefaults(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	var got *loop.Options
	app.Command("iterate").Action = func(c *cli.Context) (err error) {
		got, err = readOptions(c)
		return err
	}
	if err := app.Run([]string{"ivo", "iterate", "-m", "m", "--prompts", "p", "--out", "o"}); err != nil {
		t.Fatal(err)
	}
	want := loop.Defaults(0)
	want.Model, want.Prompts = "m", "p"
	// These mean the same as 0, and are what llama.cpp calls it.
	want.Sampling.TopP, want.Sampling.RepeatPenalty, want.Sampling.RepeatLastN = 1, 1, 64
	want.Stop = got.Stop // none, as an empty list
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMeterOffTerminal(t *testing.T) {
	var out bytes.Buffer
	m := terminal.NewMeter(&out)
	for done := range 3 {
		m.Show("collect", done+1, 3, "prompts", "")
	}
	m.Show("collect", 3, 3, "prompts", "")
	m.Show("train", 1, 2, "steps", "loss 2")
	m.Show("train", 2, 2, "steps", "loss 1")
	m.Close()
	if want := "collect: 3 of 3 prompts\ntrain: 2 of 2 steps, loss 1\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestFlagsFirst(t *testing.T) {
	app := newApp(io.Discard, io.Discard)
	for in, want := range map[string]string{
		"ivo":                                  "ivo",
		"ivo -v train RUN --out h.gguf":        "ivo -v train --out h.gguf RUN",
		"ivo train RUN --out=h.gguf --json":    "ivo train --out=h.gguf --json RUN",
		"ivo train --json RUN -s 7":            "ivo train --json -s 7 RUN",
		"ivo train RUN --out":                  "ivo train --out RUN",
		"ivo train RUN --frobnicate x":         "ivo train --frobnicate RUN x",
		"ivo train a -- --out b":               "ivo train -- a --out b",
		"ivo states verify a --json b":         "ivo states verify --json a b",
		"ivo states repair a -o b":             "ivo states repair -o b a",
		"ivo frobnicate x --json":              "ivo frobnicate x --json",
		"ivo generate -p --json -m m.gguf x -": "ivo generate -p --json -m m.gguf x -",
	} {
		if got := strings.Join(flags.First(app, strings.Fields(in)), " "); got != want {
			t.Errorf("%s: %s, not %s", in, got, want)
		}
	}
}
