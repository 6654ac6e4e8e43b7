// Package reward scores finished responses. A Model maps (prompt, response) pairs to real
// numbers, larger is better, R(x, y) in the papers; rollouts label trajectories with one and
// evaluation compares policies by one. The package knows nothing of how responses are decoded.
package reward

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Item is one response to score. Response is the decoded text alone, without the prompt.
type Item struct {
	Prompt   prompt.Record
	Response string
	Finish   string // why it ended: "stop" or "length"; empty where that is not known
}

// Score is the reward of one item, or why it has none. Err concerns the item alone: others of
// the same call may have their values.
type Score struct {
	Value float64 // finite where Err is nil
	Err   error
}

// Info says what a model is.
type Info struct {
	Name string // as people name it; it stands in run directories and reports
	// Fingerprint identifies all that the scores depend on: scores under equal fingerprints
	// may stand in for each other.
	Fingerprint string
	Lo, Hi      float64 // the range of the scores, infinite where it is not known
}

// Model scores responses. Its methods may be called from several goroutines, Close once and
// last.
type Model interface {
	Info() Info
	// Score returns one score for each item, in order. It fails as a whole only when ctx ends
	// or when nothing can be scored any more.
	Score(ctx context.Context, items []Item) ([]Score, error)
	Close() error
}

// Checker is a Model that can tell in advance whether it will be able to score responses to
// some prompts.
type Checker interface {
	Check(records []prompt.Record) error
}

// kinds maps the names that specs begin with to what makes their models of the rest.
var kinds = map[string]func(argument string) (Model, error){
	"gold": func(string) (Model, error) { return Gold{}, nil },
}

// Open returns the reward model of a spec, as given to --reward.
func Open(spec string) (Model, error) {
	name, argument, _ := strings.Cut(spec, ":")
	if open, ok := kinds[name]; ok {
		return open(argument)
	}
	known := slices.Sorted(maps.Keys(kinds))
	return nil, fmt.Errorf("reward %q is not known (choose one of: %s)", name, strings.Join(known, ", "))
}

// Values are the scores of items that all have one; else the error names the first that has
// none and counts the others.
func Values(items []Item, scores []Score) ([]float64, error) {
	if len(scores) != len(items) {
		return nil, fmt.Errorf("the reward gave %d scores for %d responses", len(scores), len(items))
	}
	values, failed := make([]float64, len(scores)), 0
	var first error
	for i, s := range scores {
		if s.Err != nil {
			if failed++; first == nil {
				first = fmt.Errorf("prompt %q: %w", items[i].Prompt.ID, s.Err)
			}
			continue
		}
		values[i] = s.Value
	}
	if failed > 1 {
		return nil, fmt.Errorf("%d of %d responses could not be scored; %w", failed, len(items), first)
	}
	return values, first
}

// each scores items by a function of one item.
func each(ctx context.Context, items []Item, score func(Item) (float64, error)) ([]Score, error) {
	scores := make([]Score, len(items))
	for i, it := range items {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		scores[i].Value, scores[i].Err = score(it)
	}
	return scores, nil
}
