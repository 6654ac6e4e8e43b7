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

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Split says what a document is for.
type Split uint8

const (
	Train      Split = iota // training text, and prompts to learn a value function on
	Test                    // prompts to evaluate on: some hold facts and sentence frames that no Train document has
	Validation              // prompts to choose settings on, drawn as Test's are
)

// A Task is one kind of document.
type Task interface {
	Name() string
	// Document draws one document.
	Document(r *rand.Rand, split Split) Document
}

// String is the split's name, as in the names of files.
func (s Split) String() string { return []string{"train", "test", "validation"}[s] }

// heldOut tells whether documents may have what no Train document has.
func (s Split) heldOut() bool { return s != Train }

// Tasks lists the tasks by name.
var Tasks = map[string]Task{"summarize": Summarize{}, "dialogue": Dialogue{}, "instruct": Instruct{}, "safety": Safety{Aligned: true}}

// Mix is a task whose documents are those of several, by their weights.
type Mix []struct {
	Task   Task
	Weight float64
}

// Name is "mix".
func (Mix) Name() string { return "mix" }

// Document draws a document of one of the tasks.
func (m Mix) Document(r *rand.Rand, split Split) Document {
	weights := make([]float64, len(m))
	for i, of := range m {
		weights[i] = of.Weight
	}
	return m[draw(r, weights)].Task.Document(r, split)
}

// Document is one training document: a prompt, one response to it, which may be good
// or bad, and further lines about the same. A policy is asked for the response alone;
// the further lines teach it to look things up in the prompt and to tell right from
// wrong.
type Document struct {
	Prompt   string
	Response string
	Rest     string // whole lines
	Gold     any    // marshals to the prompt's gold
}

// Text is the document as a model is trained on it. The response ends with the first
// line break after the prompt.
func (d Document) Text() string { return d.Prompt + " " + d.Response + "\n" + d.Rest }

// Documents is the endless stream of a task's documents for a seed.
func Documents(task Task, split Split, seed uint64) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		r := rand.New(rand.NewPCG(seed, uint64(split)))
		for yield(task.Document(r, split)) {
		}
	}
}

// Prompts returns n prompts with their gold, none of them in seen, to which it adds them. Their ids start
// with the split's name.
func Prompts(task Task, split Split, seed uint64, n int, seen map[string]bool) ([]prompt.Record, error) {
	prompts := make([]prompt.Record, 0, n)
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
		id := fmt.Sprintf("%s-%04d", split, len(prompts)+1)
		prompts = append(prompts, prompt.Record{ID: id, Text: doc.Prompt, Fields: map[string]json.RawMessage{"gold": gold}})
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
