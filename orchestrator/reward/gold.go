package reward

import (
	"cmp"
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
// the rule's own: SummaryGold, DialogueGold, InstructGold, SafetyGold. It is exact, needs no model, and is
// therefore what the other rewards and the value functions are judged by.
type Gold struct {
	Rule string // the one rule to apply, "" for that of each prompt's task
}

// A goldRule scores one response from a prompt's gold.
type goldRule struct {
	task  string // whose gold it reads
	score func(gold json.RawMessage, response string) (float64, error)
}

// goldRules are the rules by name. A task's own has the task's name.
var goldRules = map[string]goldRule{
	"summarize": {"summarize", byRule(func(g SummaryGold, response string) float64 { return g.Judge(response).Reward })},
	"dialogue":  {"dialogue", byRule(func(g DialogueGold, response string) float64 { return g.Judge(response).Reward })},
	"instruct":  {"instruct", byRule(func(g InstructGold, response string) float64 { return g.Judge(response).Reward })},
	"safety":    {"safety", byRule(func(g SafetyGold, response string) float64 { return g.Judge(response).Reward })},
	"safe":      {"safety", byRule(func(g SafetyGold, response string) float64 { return indicator(g.Judge(response).Safe) })},
}

// byRule is a rule that reads gold of a type and judges the response by it.
func byRule[G interface{ check() error }](judge func(G, string) float64) func(json.RawMessage, string) (float64, error) {
	return func(gold json.RawMessage, response string) (float64, error) {
		var g G
		if err := json.Unmarshal(gold, &g); err != nil {
			return 0, fmt.Errorf("%w (write its fields as the task has them)", err)
		}
		if err := g.check(); err != nil {
			return 0, err
		}
		return judge(g, response), nil
	}
}

// openGold makes "gold" and "gold:RULE".
func openGold(argument string, _ Options) (Model, error) {
	if _, ok := goldRules[argument]; !ok && argument != "" {
		return nil, badArgument("gold", argument, "gold, or one of gold:"+strings.Join(slices.Sorted(maps.Keys(goldRules)), ", gold:"))
	}
	return Gold{argument}, nil
}

// Info says that it is "gold", whose rules are part of the program.
func (g Gold) Info() Info {
	i := Info{Name: name("gold", g.Rule), Fingerprint: name("gold 1", g.Rule), Lo: math.Inf(-1), Hi: math.Inf(1)}
	if g.Rule == "safe" {
		i.Lo, i.Hi = 0, 1
	}
	return i
}

// Score applies each prompt's rule. A prompt without gold has no score.
func (g Gold) Score(ctx context.Context, items []Item) ([]Score, error) {
	return each(ctx, items, g.score)
}

// Close does nothing.
func (Gold) Close() error { return nil }

// Check finds prompts without gold, or with gold that no rule can read.
func (g Gold) Check(_ context.Context, records []prompt.Record) error {
	for _, p := range records {
		if _, err := g.score(Item{Prompt: p}); err != nil {
			return fmt.Errorf("gold reward: prompt %q: %w", p.ID, err)
		}
	}
	return nil
}

func (g Gold) score(it Item) (float64, error) {
	if len(it.Prompt.Fields["gold"]) == 0 || string(it.Prompt.Fields["gold"]) == "null" {
		return 0, fmt.Errorf("it carries no gold (add a \"gold\" field to each line of the prompt file, or choose another reward)")
	}
	var head struct {
		Task string `json:"task"`
	}
	if err := json.Unmarshal(it.Prompt.Fields["gold"], &head); err != nil {
		return 0, fmt.Errorf("bad gold: %w (it is a JSON object with a \"task\")", err)
	}
	rule, ok := goldRules[cmp.Or(g.Rule, head.Task)]
	if !ok || g.Rule == "" && head.Task != rule.task {
		return 0, fmt.Errorf("no gold rule for task %q (known: %s)", head.Task, strings.Join(goldTasks(), ", "))
	}
	if head.Task != rule.task {
		return 0, fmt.Errorf("its gold is for task %q, and gold:%s is for %q (choose prompts of that task, or the reward gold)", head.Task, g.Rule, rule.task)
	}
	s, err := rule.score(it.Prompt.Fields["gold"], it.Response)
	if err != nil {
		return 0, fmt.Errorf("bad gold for task %q: %w", head.Task, err)
	}
	return s, nil
}

// goldTasks are those that have a rule.
func goldTasks() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(goldRules)), func(name string) bool { return goldRules[name].task != name })
}
