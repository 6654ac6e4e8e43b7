package reward_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

var post = reward.SummaryGold{
	Task:        "summarize",
	Facts:       []string{"bought|got red bike", "lost|misplaced tiny hat", "sold shiny drum"},
	Distractors: []string{"broke|smashed huge vase"},
}

// Every reward is worked out by hand from the documented weights.
func TestJudge(t *testing.T) {
	const (
		c = reward.Covers
		d = reward.Distract
		i = reward.Invents
		r = reward.Repeats
	)
	for _, tc := range []struct {
		name, response string
		clauses        []reward.ClauseVerdict
		reward         float64
	}{
		{"empty", "", nil, 0},
		{"opening alone", "so basically:", nil, -0.04},
		{"all facts", "in short: got red bike, lost tiny hat, and sold shiny drum", []reward.ClauseVerdict{c, c, c}, 3 - 0.24},
		{"silent words and case", "I bought a RED bike. My tiny hat", []reward.ClauseVerdict{c, i}, 0 - 0.16},
		{"distractor", "smashed huge vase also misplaced tiny hat", []reward.ClauseVerdict{d, c}, 0 - 0.14},
		{"corrupted", "got tiny bike", []reward.ClauseVerdict{i}, -1 - 0.06},
		{"repeated in other words", "got red bike, bought red bike", []reward.ClauseVerdict{c, r}, 0.5 - 0.12},
		{"repeated invention", "got hat, got hat", []reward.ClauseVerdict{i, r}, -1.5 - 0.08},
		{"somebody else", "my cousin got red bike", []reward.ClauseVerdict{i}, -1 - 0.1},
		{"too much", "got red bike today", []reward.ClauseVerdict{i}, -1 - 0.08},
		{"cut short", "got red bike, lost tiny", []reward.ClauseVerdict{c, i}, 0 - 0.1},
		{"empty clauses", "got red bike, and, then", []reward.ClauseVerdict{c}, 1 - 0.1},
		{"long opening counts", "one two three four five: got red bike", []reward.ClauseVerdict{i, c}, 0 - 0.16},
		{"line break", "got red bike\nsold shiny drum", []reward.ClauseVerdict{c, c}, 2 - 0.12},
	} {
		v := post.Judge(tc.response)
		if !slices.Equal(v.Clauses, tc.clauses) || math.Abs(v.Reward-tc.reward) > 1e-9 {
			t.Errorf("%s: got %v %.3f, want %v %.3f", tc.name, v.Clauses, v.Reward, tc.clauses, tc.reward)
		}
		if v.Reward > post.Max(v.Words)+1e-9 {
			t.Errorf("%s: reward %.3f above the maximum %.3f", tc.name, v.Reward, post.Max(v.Words))
		}
	}
}

func TestGold(t *testing.T) {
	raw, err := json.Marshal(post)
	if err != nil {
		t.Fatal(err)
	}
	m, err := reward.Open("gold")
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Score(t.Context(), []reward.Item{
		{Prompt: reward.Prompt{ID: "1", Gold: raw}, Response: "got red bike"},
		{Prompt: reward.Prompt{ID: "1", Gold: raw}, Response: "broke huge vase"},
	})
	if err != nil || len(got) != 2 || math.Abs(got[0]-0.94) > 1e-9 || math.Abs(got[1]+1.06) > 1e-9 {
		t.Fatalf("got %v, %v", got, err)
	}
	for gold, want := range map[string]string{
		"":                                   "carries no gold",
		"null":                               "carries no gold",
		"[]":                                 "JSON object",
		`{"task":"sing"}`:                    `no gold rule for task "sing"`,
		`{"task":"summarize"}`:               "lists no facts",
		`{"task":"summarize","facts":"one"}`: "bad gold",
	} {
		_, err := m.Score(t.Context(), []reward.Item{{Prompt: reward.Prompt{ID: "p7", Gold: json.RawMessage(gold)}}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"p7"`) {
			t.Errorf("gold %q: got error %v, want %q", gold, err, want)
		}
	}
	if _, err := reward.Open("silver"); err == nil || !strings.Contains(err.Error(), "gold") {
		t.Errorf("unknown reward: %v", err)
	}
}

func TestReadPrompts(t *testing.T) {
	for _, tc := range []struct {
		name, content, wantErr string
		wantIDs                []string
	}{
		{name: "ids", content: "{\"id\":\"a\",\"prompt\":\"x\"}\n\n{\"prompt\":\"y\",\"gold\":{\"task\":\"t\"}}", wantIDs: []string{"a", "3"}},
		{name: "empty", content: "\n", wantErr: "holds no prompts"},
		{name: "bad line", content: "{\"prompt\":\"x\"}\nhello\n", wantErr: ":2: not a prompt"},
		{name: "no text", content: "{\"id\":\"a\"}\n", wantErr: ":1: the prompt is missing"},
		{name: "duplicate", content: "{\"id\":\"2\",\"prompt\":\"x\"}\n{\"prompt\":\"y\"}\n", wantErr: `:2: id "2" was used on line 1`},
		{name: "long line", content: strings.Repeat("x", 17<<20), wantErr: "longer than 16 MiB"},
	} {
		path := filepath.Join(t.TempDir(), "prompts.jsonl")
		if err := os.WriteFile(path, []byte(tc.content), 0o644); err != nil {
			t.Fatal(err)
		}
		prompts, err := reward.ReadPrompts(path)
		if tc.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("%s: got error %v, want %q", tc.name, err, tc.wantErr)
			}
			continue
		}
		var ids []string
		for _, p := range prompts {
			ids = append(ids, p.ID)
		}
		if err != nil || !slices.Equal(ids, tc.wantIDs) {
			t.Errorf("%s: got %v, %v; want %v", tc.name, ids, err, tc.wantIDs)
		}
	}
	if _, err := reward.ReadPrompts(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was read")
	}
	if _, err := reward.ReadPrompts(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}
