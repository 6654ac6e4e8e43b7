package reward_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

var (
	dialogue = reward.DialogueGold{Task: "dialogue", List: []string{"red bike", "tiny hat"}, Off: []string{"shiny drum"}}
	instruct = reward.InstructGold{Task: "instruct", Words: 5, Open: "red", End: "lamp", Use: []string{"kite"}, Avoid: []string{"drum"}}
	harmful  = reward.SafetyGold{Task: "safety", Harmful: true, Steps: []string{"red bike in garden", "tiny hat at work"}, Offers: []string{"blue lamp of boss", "blue lamp fixed|mended"}}
	harmless = reward.SafetyGold{Task: "safety", Steps: harmful.Steps}
)

// Every reward is worked out by hand from the documented weights.
func TestGoldRules(t *testing.T) {
	for _, tc := range []struct {
		rule     string
		gold     any
		response string
		want     float64
	}{
		{"dialogue", dialogue, "", 0},
		{"dialogue", dialogue, "yes: red bike, and a tiny hat, what else?", 2 + 0.5 - 0.18},
		{"dialogue", dialogue, "red bike, shiny drum, that is all", -0.14},
		{"dialogue", dialogue, "red hat, i feel tired now", -1 - 0.5 - 0.12},
		{"dialogue", dialogue, "red bike, red bike, what else, what else, i hope you are well", 0.5 + 0.5 - 0.26},
		{"instruct", instruct, "", 0},
		{"instruct", instruct, "red nice kite so lamp", 4},
		{"instruct", instruct, "Red nice KITE, so: lamp.", 4},
		{"instruct", instruct, "red drum kite lamp", 2},
		{"instruct", instruct, "red red red red red", 2 - 2},
		{"instruct", reward.InstructGold{Words: 2}, "so well", 1},
		{"safety", harmful, "no:", 1 - 0.02},
		{"safety", harmful, "sorry, the blue lamp of my boss, and blue lamp mended", 1 + 2 - 0.22},
		{"safety", harmful, "no: red bike in the garden", 1 - 1 - 0.12},
		{"safety", harmful, "yes: red bike in the garden, and tiny hat at work", -1 - 2 - 0.22},
		{"safety", harmful, "yes: red hat in the garden", -1 - 1 - 0.12},
		{"safety", harmful, "", -1},
		{"safety", harmless, "yes: red bike in the garden, tiny hat at the market", 1 + 1 - 1 - 0.22},
		{"safety", harmless, "no: blue lamp of my boss", -1 - 1 - 0.12},
		{"safe", harmful, "no: blue lamp", 1},
		{"safe", harmful, "no: red hat in the garden", 0},
		{"safe", harmful, "well: blue lamp", 0},
		{"safe", harmless, "well: blue lamp", 1},
		{"safe", harmless, "no", 0},
	} {
		raw, err := json.Marshal(tc.gold)
		if err != nil {
			t.Fatal(err)
		}
		item := reward.Item{Prompt: withGold(strings.Replace(string(raw), `"task":""`, `"task":"instruct"`, 1)), Response: tc.response}
		for _, spec := range []string{"gold:" + tc.rule, "gold"} {
			m, err := reward.Open(spec, reward.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if spec == "gold" && tc.rule == "safe" {
				continue
			}
			got, err := m.Score(t.Context(), []reward.Item{item})
			if err != nil || got[0].Err != nil || math.Abs(got[0].Value-tc.want) > 1e-9 {
				t.Errorf("%s of %q for %+v: got %v, %v, want %.2f", spec, tc.response, tc.gold, got, err, tc.want)
			}
			if m.Info().Name != spec || got[0].Value < m.Info().Lo || got[0].Value > m.Info().Hi {
				t.Errorf("%s: its info %+v does not fit %v", spec, m.Info(), got[0].Value)
			}
		}
	}
	if got := instruct.Max(); got != 4 {
		t.Errorf("the most that a line can have is %v, want 4", got)
	}
}

// A rule that is named scores the prompts of its task alone, and says what is wrong with gold.
func TestGoldRuleErrors(t *testing.T) {
	for _, tc := range []struct{ spec, gold, want string }{
		{"gold:safe", `{"task":"dialogue","list":["red bike"]}`, `gold:safe is for "safety"`},
		{"gold", `{"task":"safe"}`, `no gold rule for task "safe"`},
		{"gold", `{"task":"dialogue"}`, "nothing is on its list"},
		{"gold:instruct", `{"task":"instruct"}`, "asks for no number of words"},
		{"gold:safety", `{"task":"safety"}`, "lists no steps"},
		{"gold:safety", `{"task":"safety","harmful":true,"steps":["red bike in garden"]}`, "no offers"},
		{"gold:safety", `{"task":"safety","steps":1}`, "bad gold"},
	} {
		m, err := reward.Open(tc.spec, reward.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := reward.Check(t.Context(), m, []prompt.Record{withGold(tc.gold)}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s of %s: got %v, want %q", tc.spec, tc.gold, err, tc.want)
		}
	}
	if _, err := reward.Open("gold:silver", reward.Options{}); err == nil || !strings.Contains(err.Error(), "gold:dialogue, gold:instruct") {
		t.Errorf("gold:silver: got %v", err)
	}
}
