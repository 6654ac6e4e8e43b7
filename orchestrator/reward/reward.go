// Package reward scores finished responses. A Model maps (prompt, response) pairs
// to real numbers, larger is better, R(x, y) in the papers; rollouts label
// trajectories with one and evaluation compares policies by one. The package knows
// nothing of how responses are decoded.
package reward

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Item is one response to score. Response is the decoded text alone, without the
// prompt.
type Item struct {
	Prompt   Prompt
	Response string
}

// Model scores responses. Implementations may be called from several goroutines.
type Model interface {
	// Name identifies the model in run directories and reports.
	Name() string
	// Score returns one reward for each item, in order.
	Score(ctx context.Context, items []Item) ([]float64, error)
}

// Checker is a Model that can tell in advance whether it will be able to score
// responses to some prompts.
type Checker interface {
	Check(prompts []Prompt) error
}

// models maps the names that Open knows to their constructors.
var models = map[string]func() Model{
	"gold": func() Model { return Gold{} },
}

// Open returns the reward model called name, as given to --reward.
func Open(name string) (Model, error) {
	if open, ok := models[name]; ok {
		return open(), nil
	}
	known := slices.Sorted(maps.Keys(models))
	return nil, fmt.Errorf("reward %q is not known (choose one of: %s)", name, strings.Join(known, ", "))
}
