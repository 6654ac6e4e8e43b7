package reward

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Gold scores responses by rule from what the prompt file says about each prompt:
// the prompt's field "gold" is an object whose "task" names the rule and whose other fields are
// the rule's own (SummaryGold for "summarize"). It is exact, needs no model, and is
// therefore what the other rewards and the value functions are judged by.
type Gold struct{}

// goldRules maps a task to the rule that scores one response from the prompt's gold.
var goldRules = map[string]func(gold json.RawMessage, response string) (float64, error){
	"summarize": func(gold json.RawMessage, response string) (float64, error) {
		var g SummaryGold
		if err := json.Unmarshal(gold, &g); err != nil {
			return 0, err
		}
		if len(g.Facts) == 0 {
			return 0, fmt.Errorf("it lists no facts (give \"facts\" such as [\"bought|got red bike\"])")
		}
		return g.Judge(response).Reward, nil
	},
}

// Info says that it is "gold", whose rules are part of the program.
func (Gold) Info() Info {
	return Info{Name: "gold", Fingerprint: "gold 1", Lo: math.Inf(-1), Hi: math.Inf(1)}
}

// Score applies each prompt's rule. A prompt without gold has no score.
func (Gold) Score(ctx context.Context, items []Item) ([]Score, error) {
	return each(ctx, items, scoreGold)
}

// Close does nothing.
func (Gold) Close() error { return nil }

// Check finds prompts without gold, or with gold that no rule can read.
func (Gold) Check(_ context.Context, records []prompt.Record) error {
	for _, p := range records {
		if _, err := scoreGold(Item{Prompt: p}); err != nil {
			return fmt.Errorf("gold reward: prompt %q: %w", p.ID, err)
		}
	}
	return nil
}

func scoreGold(it Item) (float64, error) {
	if len(it.Prompt.Fields["gold"]) == 0 || string(it.Prompt.Fields["gold"]) == "null" {
		return 0, fmt.Errorf("it carries no gold (add a \"gold\" field to each line of the prompt file, or choose another reward)")
	}
	var head struct {
		Task string `json:"task"`
	}
	if err := json.Unmarshal(it.Prompt.Fields["gold"], &head); err != nil {
		return 0, fmt.Errorf("bad gold: %w (it is a JSON object with a \"task\")", err)
	}
	rule, ok := goldRules[head.Task]
	if !ok {
		known := slices.Sorted(maps.Keys(goldRules))
		return 0, fmt.Errorf("no gold rule for task %q (known: %s)", head.Task, strings.Join(known, ", "))
	}
	s, err := rule(it.Prompt.Fields["gold"], it.Response)
	if err != nil {
		return 0, fmt.Errorf("bad gold for task %q: %w", head.Task, err)
	}
	return s, nil
}
