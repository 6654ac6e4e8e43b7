// Package reward scores finished responses. A Model maps (prompt, response) pairs to real
// numbers, larger is better, R(x, y) in the papers; rollouts label trajectories with one and
// evaluation compares policies by one. The package knows nothing of how responses are decoded.
package reward

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

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
	// Prefixes says that the scores mean something of responses that are not finished, so that they may
	// value the states of a search.
	Prefixes bool
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

// Follower is a Model that scores responses which grow faster than its Score does, by what it has kept
// of their beginnings. Items of one call are best those of one prompt. What is kept is kept by place, whatever that
// is (it is told from others by ==): by rounding scores depend on what was asked there before, and on nothing else.
type Follower interface {
	Follow(ctx context.Context, place any, items []Item) ([]Score, error)
	// Keeps says whether anything is kept: a sum of rules has nothing to keep.
	Keeps() bool
	// Forget frees what was kept for a place.
	Forget(place any) error
}

// Keeps says whether the model keeps what it has read of responses that grow.
func Keeps(m Model) bool {
	f, ok := m.(Follower)
	return ok && f.Keeps()
}

// Forget frees what the model has kept for a place.
func Forget(m Model, place any) error {
	if f, ok := m.(Follower); ok {
		return f.Forget(place)
	}
	return nil
}

// Follow scores responses that are not finished, each as if it ended there.
func Follow(ctx context.Context, m Model, place any, items []Item) ([]Score, error) {
	if f, ok := m.(Follower); ok {
		return f.Follow(ctx, place, items)
	}
	return m.Score(ctx, items)
}

// Checker is a Model that can tell in advance whether it will be able to score responses to
// some prompts.
type Checker interface {
	Check(ctx context.Context, records []prompt.Record) error
}

// Check finds prompts that the model can tell it will not be able to score responses to.
func Check(ctx context.Context, m Model, records []prompt.Record) error {
	if c, ok := m.(Checker); ok {
		return c.Check(ctx, records)
	}
	return nil
}

// A kind makes the models of the specs that begin with its name.
type kind struct {
	form  string // how its specs are written, such as "length:N"
	about string // what it scores, in a line
	// open makes the model of a spec's argument, empty where there is none. The model's
	// Info().Name is the kind's name, followed by ":" and the argument if there is one.
	open   func(argument string, o Options) (Model, error)
	quotes bool // the argument is a command line, in which quotes are left
	// combine, of an ensemble in the place of open, makes one score of those of its members.
	combine func(argument string) (combination, error)
	// carry is the argument with other files, for another machine; nil of what is asked where it was named.
	carry func(argument string, move func(file string) (string, error)) (string, error)
}

// kinds are all that specs can name.
var kinds = map[string]kind{
	"answer": {
		form: "answer[:FIELD]", about: "1 where the response comes to its record's answer, a number or a text",
		open: openAnswer, carry: unmoved,
	},
	"checks": {
		form: "checks[:loose][:all]", about: "the share of its record's verifiable instructions that are met (IFEval)",
		open: openChecks, carry: unmoved,
	},
	"cls": {
		form: "cls:MODEL.gguf", about: "what a classifier or reranker that llama.cpp knows says (BERT's kin, Qwen3 rerankers); cls:LABEL@MODEL.gguf the probability of a class",
		open: openClassifier, carry: carryClassifier,
	},
	"cmd": {
		form: "cmd:PROGRAM ARGUMENTS", about: "what a program of yours says: JSON lines in, a number a line out",
		open: openCommand, quotes: true,
	},
	"distinct": {
		form: "distinct[:N]", about: "the share of its N-grams of words that differ, 2 without N",
		open: openDistinct, carry: unmoved,
	},
	"gold": {
		form: "gold[:RULE]", about: "the rule that each prompt states in its field \"gold\"; gold:RULE that one, gold:safe whether it is safe",
		open: openGold, carry: unmoved,
	},
	"head": {
		form: "head:HEAD.gguf@MODEL", about: "what a reward model says: its head, of ivo reward import, on the states of MODEL.gguf",
		open: openHead, carry: carryHead,
	},
	"http": {
		form: "http://HOST/PATH", about: "what a server says; its key is taken from IVO_REWARD_KEY",
		open: func(address string, o Options) (Model, error) { return openServer("http", address, o) },
	},
	"https": {
		form: "https://HOST/PATH", about: "the same, encrypted",
		open: func(address string, o Options) (Model, error) { return openServer("https", address, o) },
	},
	"json": {
		form: "json[:SCHEMA.json]", about: "1 where the response is JSON and fits the schema, 1/2 where it is JSON alone; json:fenced[:SCHEMA.json] in a Markdown fence too",
		open: openJSON, carry: carryJSON,
	},
	"judge": {
		form: "judge:MODEL", about: "what a language model thinks, MODEL.gguf or one at http://HOST/v1: the odds of yes; its key is taken from IVO_JUDGE_KEY",
		open: openJudge, carry: carryJudge,
	},
	"length": {
		form: "length:N[c]", about: "how close it comes to N words, or N characters",
		open: openLength, carry: unmoved,
	},
	"lower": {
		form: "lower[:K](A, B, ...)", about: "an ensemble's lower bound: the mean of rewards minus K standard deviations, 1 without K",
		combine: lower,
	},
	"min": {
		form: "min(A, B, ...)", about: "the least of some rewards",
		combine: least,
	},
	"regex": {
		form: "regex[:PATTERN]", about: "1 where the pattern matches, or that of the record's field \"pattern\"",
		open: openRegex, carry: unmoved,
	},
	"sentiment": {
		form: "sentiment[:pos|:neg]", about: "how positive it is, VADER's compound score (English)",
		open: openSentiment, carry: unmoved,
	},
}

// Options are what a spec does not say.
type Options struct {
	// AllowCommands lets the spec start programs. It is for specs that somebody has just
	// typed: one that was found in a file must never start any.
	AllowCommands bool
	Timeout       time.Duration // for an answer of a program or a server; 0 for two minutes
	Workers       int           // programs or requests at once; 0 for one program, four requests
}

// Open returns the reward model of a spec such as "0.7*sentiment + 0.3*length:60" (see
// [Usage] for the kinds). Its Info().Name is the spec in one spelling, which Open reads.
func Open(spec string, o Options) (Model, error) {
	terms, err := parse(spec)
	if err != nil {
		return nil, err
	}
	return openSum(terms, o)
}

func openSum(terms []term, o Options) (*sum, error) {
	var of parts
	for _, t := range terms {
		p := part{weight: t.weight}
		t.weight = 1
		p.name = t.String()
		var err error
		if t.of != nil {
			p.Model, err = openEnsemble(t, o)
		} else {
			p.Model, err = kinds[t.kind].open(t.argument, o)
		}
		if err != nil {
			of.Close()
			return nil, fmt.Errorf("reward %s: %w", discreet(p.name), err)
		}
		of = append(of, p)
	}
	return newSum(of), nil
}

var secrets = regexp.MustCompile(`(?i)(://)\S*@|([?&][^=&\s]*(?:key|token|secret|password|auth)[^=&\s]*=)[^&#,\s]*`)

// discreet is a spec without what people put into addresses though it does not belong there.
func discreet(spec string) string { return secrets.ReplaceAllString(spec, "$1$2[...]") }

// Usage lists the kinds of rewards, a line each: how it is written, and what it scores.
func Usage() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "  %-22s %s\n", kinds[name].form, kinds[name].about)
	}
	return b.String()
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
