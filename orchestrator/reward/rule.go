package reward

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// rule is a Model that scores every response by itself, from the item alone.
type rule struct {
	info  Info
	score func(Item) (float64, error)
	needs func(prompt.Record) error // what is wrong with a record, whatever the response; nil where any will do
}

// Info says which rule it is.
func (r rule) Info() Info { return r.info }

// Score applies the rule to each item.
func (r rule) Score(ctx context.Context, items []Item) ([]Score, error) {
	return each(ctx, items, r.score)
}

// Check finds the first prompt whose responses the rule cannot score.
func (r rule) Check(_ context.Context, records []prompt.Record) error {
	if r.needs == nil {
		return nil
	}
	for _, p := range records {
		if err := r.needs(p); err != nil {
			return fmt.Errorf("prompt %q: %w", p.ID, err)
		}
	}
	return nil
}

// Close does nothing.
func (r rule) Close() error { return nil }

// name is that of a spec.
func name(kind, argument string) string {
	if argument == "" {
		return kind
	}
	return kind + ":" + argument
}

// badArgument is a spec whose part after the name a rule cannot read.
func badArgument(name, argument, hint string) error {
	return fault.New("", "reward", nil, "give {reward} as "+hint, "%q is no argument of %s", argument, name)
}

// digest stands for a content in fingerprints.
func digest(content []byte) string { return fmt.Sprintf("%x", sha256.Sum256(content)) }

// words are the runs of letters, digits and apostrophes of a text, in lower case.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.In(r, unicode.L, unicode.N, unicode.M) && r != '\'' && r != '’'
	})
}

// indicator is 1 where something holds.
func indicator(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}
