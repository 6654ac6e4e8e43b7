// Package world generates the small English text world that the lab's models are
// trained on. Everything in it is drawn from a seed, and every prompt carries its
// gold, so rewards are known exactly. It knows nothing of tokens or models.
package world

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// Split says what a document is for.
type Split uint8

const (
	Train Split = iota // training text and training prompts
	Test               // test prompts: some hold facts and sentence frames that no Train document has
)

// A Task is one kind of document.
type Task interface {
	Name() string
	// Document draws one document.
	Document(r *rand.Rand, split Split) Document
}

// Tasks lists the tasks by name.
var Tasks = map[string]Task{"summarize": Summarize{}}

// Document is one training document: a prompt and several independent responses to it,
// good and bad ones. A policy is asked for the first alone; the others make the text
// richer in what is to be learned.
type Document struct {
	Prompt    string
	Responses []Response
	Again     string // leads to each response but the first, as the prompt's end does
	Gold      any    // marshals to the prompt's gold
}

// Response is one line, and sometimes a second one that grades it.
type Response struct {
	Text  string
	Grade string // empty when it is not graded
}

// Text is the document as a model is trained on it. A response ends with the first
// line break after the prompt.
func (d Document) Text() string {
	text := d.Prompt
	for i, r := range d.Responses {
		if i > 0 {
			text += d.Again
		}
		text += " " + r.Text + "\n"
		if r.Grade != "" {
			text += r.Grade + "\n"
		}
	}
	return text
}

// Documents is the endless stream of a task's documents for a seed.
func Documents(task Task, split Split, seed uint64) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		r := rand.New(rand.NewPCG(seed, uint64(split)))
		for yield(task.Document(r, split)) {
		}
	}
}

// Prompts returns n different prompts with their gold. Their ids start with the
// split's name.
func Prompts(task Task, split Split, seed uint64, n int) ([]reward.Prompt, error) {
	name := map[Split]string{Train: "train", Test: "test"}[split]
	prompts := make([]reward.Prompt, 0, n)
	seen := map[string]bool{}
	for doc := range Documents(task, split, seed) {
		if len(prompts) == n {
			break
		}
		if seen[doc.Prompt] {
			continue
		}
		seen[doc.Prompt] = true
		gold, err := json.Marshal(doc.Gold)
		if err != nil {
			return nil, fmt.Errorf("task %s: gold: %w", task.Name(), err)
		}
		id := fmt.Sprintf("%s-%04d", name, len(prompts)+1)
		prompts = append(prompts, reward.Prompt{ID: id, Text: doc.Prompt, Gold: gold})
	}
	return prompts, nil
}

// pick draws one element, all equally likely.
func pick[T any](r *rand.Rand, xs []T) T { return xs[r.IntN(len(xs))] }

// draw draws an index with probability proportional to its weight.
func draw(r *rand.Rand, weights []float64) int {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	u := r.Float64() * total
	last := 0
	for i, w := range weights {
		if w == 0 {
			continue
		}
		if u < w {
			return i
		}
		u -= w
		last = i
	}
	return last
}

// words splits a literal list.
func words(list string) []string { return strings.Fields(list) }
