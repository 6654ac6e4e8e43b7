package winrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/reward/judge"
)

// A comparison that is stopped, wherever that is, goes on without asking anything again, and ends as one that was
// not stopped.
func TestResume(t *testing.T) {
	pairs := pairsOf(10, func(i int) (a, b string) { return strings.Repeat("a", i%4), strings.Repeat("b", i%3) })
	verdict := func(p judge.Pair) judge.Verdict {
		return judge.Verdict{Value: float64(len(p.A)-len(p.B)) + 0.1, Said: "<&>"}
	}
	run := func(path string, limit int, asked *int) ([]Verdict, error) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		m := fake{odds: true, asked: asked, verdict: func(p judge.Pair) judge.Verdict {
			if *asked == limit {
				cancel(errors.New("enough"))
			}
			return verdict(p)
		}}
		file, err := Open(path, m, pairs)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return Comparison{Judge: m, Together: 2}.Run(ctx, pairs, file)
	}
	var asked int
	whole := filepath.Join(t.TempDir(), "whole.jsonl")
	want, err := run(whole, -1, &asked)
	if err != nil || asked != 20 || len(want) != 20 {
		t.Fatalf("%d asked, %d verdicts, %v", asked, len(want), err)
	}
	text, err := os.ReadFile(whole)
	if err != nil || !bytes.Contains(text, []byte(`"said":"<&>"`)) {
		t.Fatalf("%s, %v", text, err)
	}
	for cut := 0; cut <= len(text); cut += 137 { // killed while this was on the disk
		path := filepath.Join(t.TempDir(), "cut.jsonl")
		if err := os.WriteFile(path, text[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		asked = 0
		got, err := run(path, -1, &asked)
		if err != nil || cmp.Diff(want, got) != "" {
			t.Fatalf("cut at %d: %v\n%s", cut, err, cmp.Diff(want, got))
		}
		if kept := bytes.Count(text[:cut], []byte("\n")); asked != 20-max(0, kept-1) {
			t.Errorf("cut at %d: %d questions for %d lines", cut, asked, kept)
		}
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, text) {
			t.Errorf("cut at %d: the file is another, %v", cut, err)
		}
	}
	path := filepath.Join(t.TempDir(), "stopped.jsonl")
	asked = 0
	if _, err := run(path, 9, &asked); err == nil || err.Error() != "enough" {
		t.Fatalf("got %v", err)
	}
	if got, err := run(path, -1, &asked); err != nil || cmp.Diff(want, got) != "" || asked > 20+4 {
		t.Errorf("%d asked, %v\n%s", asked, err, cmp.Diff(want, got))
	}
}

// What has no verdict is an error, unless it is left out, and is asked for again.
func TestUnscored(t *testing.T) {
	pairs := pairsOf(3, func(i int) (a, b string) { return fmt.Sprint("a", i), fmt.Sprint("b", i) })
	ill, asked := true, 0
	m := fake{asked: &asked, verdict: func(p judge.Pair) judge.Verdict {
		if ill && p.Prompt.ID == "1" && p.A == "b1" {
			return judge.Verdict{Err: errors.New("it hums")}
		}
		return judge.Verdict{Value: 1}
	}}
	file, err := Open(filepath.Join(t.TempDir(), "v.jsonl"), m, pairs)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := (Comparison{Judge: m}).Run(t.Context(), pairs, file); err == nil || !strings.Contains(err.Error(), `1 of 6 verdicts are missing; prompt "1": it hums (run the same command again`) {
		t.Errorf("got %v", err)
	}
	c := Comparison{Judge: m, SkipUnscored: true}
	got, err := c.Run(t.Context(), pairs, file)
	if r := c.Report(pairs, got, 0, 1); err != nil || r.Unjudged != 1 || r.Prompts != 2 || asked != 7 {
		t.Errorf("%+v, %v, %d asked", r, err, asked)
	}
	ill = false
	if got, err := (Comparison{Judge: m}).Run(t.Context(), pairs, file); err != nil || len(got) != 6 || asked != 8 {
		t.Errorf("%v, %v, %d asked", got, err, asked)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "v.jsonl")
	pairs := pairsOf(2, func(i int) (a, b string) { return "a", "b" })
	m := fake{verdict: func(judge.Pair) judge.Verdict { return judge.Verdict{Value: 1} }}
	file, err := Open(path, m, pairs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, m, pairs); err == nil || !strings.Contains(err.Error(), "is being written by another ivo") {
		t.Errorf("got %v", err)
	}
	if _, err := (Comparison{Judge: m}).Run(t.Context(), pairs, file); err != nil {
		t.Fatal(err)
	}
	file.Close()
	other := pairsOf(2, func(i int) (a, b string) { return "a", "other" })
	more := pairsOf(3, func(i int) (a, b string) { return "a", "b" })
	for name, c := range map[string]struct {
		path  string
		m     reward.Model
		pairs []Pair
		want  string
	}{
		"another judge":  {path, fake{name: "2"}, pairs, "the verdicts of another judge, fake"},
		"another scale":  {path, fake{odds: true}, pairs, "the verdicts of another judge"},
		"other answers":  {path, m, other, `other answers to prompt "0"`},
		"no verdicts":    {write(t, "x", "hello\n"), m, pairs, "holds no verdicts"},
		"another format": {write(t, "x", `{"format": "ivo verdicts 0"}`+"\n"), m, pairs, "holds no verdicts"},
		"a line":         {write(t, "x", string(firstLine(t, path))+"{}\n"), m, pairs, "line 2 is no verdict"},
		"no folder":      {filepath.Join(dir, "x", "y"), m, pairs, "is no folder"},
		"a folder":       {dir, m, pairs, "is no regular file"},
		"more pairs":     {path, m, more, ""},
	} {
		f, err := Open(c.path, c.m, c.pairs)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err == nil {
			f.Close()
		}
	}
}

func firstLine(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text[:bytes.IndexByte(text, '\n')+1]
}
