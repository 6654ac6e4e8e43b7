package reward_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
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

func withGold(gold string) prompt.Record {
	return prompt.Record{ID: "p7", Fields: map[string]json.RawMessage{"gold": json.RawMessage(gold)}}
}

func TestGold(t *testing.T) {
	raw, err := json.Marshal(post)
	if err != nil {
		t.Fatal(err)
	}
	m, err := reward.Open("gold", reward.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Score(t.Context(), []reward.Item{
		{Prompt: withGold(string(raw)), Response: "got red bike"},
		{Prompt: withGold(string(raw)), Response: "broke huge vase"},
	})
	if err != nil || len(got) != 2 || math.Abs(got[0].Value-0.94) > 1e-9 || math.Abs(got[1].Value+1.06) > 1e-9 {
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
		items := []reward.Item{{Prompt: withGold(gold)}, {Prompt: withGold(string(raw))}}
		scores, err := m.Score(t.Context(), items)
		if err != nil || scores[1].Err != nil {
			t.Fatalf("gold %q: %v, and the item beside it %v", gold, err, scores[1].Err)
		}
		_, err = reward.Values(items, scores)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"p7"`) {
			t.Errorf("gold %q: got error %v, want %q", gold, err, want)
		}
	}
	if _, err := reward.Open("silver", reward.Options{}); err == nil || !strings.Contains(err.Error(), "gold") {
		t.Errorf("unknown reward: %v", err)
	}
}
