// Package think knows how reasoning models mark their thoughts: which spelling a model has, by its chat template and
// its vocabulary, and for every token of a response whether it is thought or answered. It is told of tokens that
// others draw, and knows neither strategies nor what a thought is good for.
package think

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
)

// Part is where in a response a model is.
type Part uint8

const (
	Before   Part = iota // nothing is said yet: it may think first, or answer
	Thinking             // within a thought
	Answer
	Between // in what stands between the two, such as the header of a channel; nobody is shown it
)

// Format is how a family of models marks its thoughts.
type Format struct {
	Name  string // the mark that a thought begins with
	Close string // what ends a thought: it is decoded where the model may think no longer
	sign  string // what its templates have; Name where it is empty
	marks []mark
}

// mark is a text that says what follows it.
type mark struct {
	text string
	to   Part
	in   []Part // where it says so; nil for everywhere
}

// tags are thoughts between two marks, with the answer behind them. Marks that the vocabulary has as tokens may open a
// thought anywhere; those that are spelled in letters only where nothing was said, for an answer may speak of them.
func tags(open, end string, more ...mark) Format {
	return Format{Name: open, Close: end, marks: append([]mark{
		{open, Thinking, []Part{Before, Answer}},
		{end, Answer, []Part{Before, Thinking}},
	}, more...)}
}

// silent is a mark that begins or ends an answer and is no part of it.
func silent(text string, to Part) mark { return mark{text, to, []Part{Before, Answer}} }

// Formats are those that are known. Of two whose marks a template has, the first counts.
var Formats = []Format{
	// A message a channel, each with a header: gpt-oss and models that took its format over.
	{Name: "<|channel|>analysis<|message|>", Close: "<|end|><|start|>assistant<|channel|>final<|message|>", marks: []mark{
		{"<|channel|>analysis<|message|>", Thinking, nil}, {"<|message|>", Answer, nil}, {"<|end|>", Between, nil}, {"<|start|>assistant", Between, nil},
	}},
	// Solar Open.
	{Name: "<|begin|>assistant<|think|>", Close: "<|end|><|begin|>assistant<|content|>", marks: []mark{
		{"<|think|>", Thinking, nil}, {"<|content|>", Answer, nil}, {"<|end|>", Between, nil}, {"<|begin|>assistant", Between, nil},
	}},
	// A message to oneself.
	{Name: "<|start|>assistant to=self<|message|>", Close: "<|eom|><|start|>assistant to=user<|message|>", marks: []mark{
		{" to=self<|message|>", Thinking, nil}, {"<|message|>", Answer, nil}, {"<|eom|>", Between, nil}, {"<|start|>assistant", Between, nil},
	}},
	// Kimi K3.
	{Name: "<|open|>think<|sep|>", sign: "'<|open|>'", Close: "<|close|>think<|sep|><|open|>response<|sep|>", marks: []mark{
		{"<|open|>think<|sep|>", Thinking, nil}, {"<|open|>response<|sep|>", Answer, nil}, {"<|close|>", Between, nil},
	}},
	tags("<|channel>thought", "<channel|>"), // Gemma 4
	tags("<|START_THINKING|>", "<|END_THINKING|>"),
	tags("<|begin_of_thought|>", "<|end_of_thought|>", silent("<|begin_of_solution|>", Answer), silent("<|end_of_solution|>", Between)),
	tags("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", silent("[END FINAL RESPONSE]", Between)), // Apriel, whose prompt opens the thought
	granite(),
	tags("[THINK]", "[/THINK]"), // Mistral
	tags("<seed:think>", "</seed:think>"),
	tags("<mm:think>", "</mm:think>"),
	tags("<think>", "</think>"),
	tags("<thinking>", "</thinking>"),
	tags("<thought>", "</thought>"),
	tags("<reasoning>", "</reasoning>"),
}

// granite puts the answer between marks too.
func granite() Format {
	f := tags("<think>", "</think>", silent("<response>", Answer), silent("</response>", Between))
	f.sign = "<response></response>"
	return f
}

// Tags are a format of these two marks, one that is not among [Formats].
func Tags(open, end string) Format { return tags(open, end) }

// Find is the format of a model's thoughts: the one whose marks its chat template has, or else its vocabulary.
func Find(template string, specials []llama.Special) (Format, bool) {
	for _, f := range Formats {
		if strings.Contains(template, cmp.Or(f.sign, f.Name)) || f.sign == "" && strings.Contains(template, f.Close) {
			return f, true
		}
	}
	for _, f := range Formats {
		if f.sign == "" && slices.ContainsFunc(specials, func(s llama.Special) bool { return s.Text == f.Name }) {
			return f, true
		}
	}
	return Format{}, false
}

// Split parts a finished text, in which marks are spelled out, into what was thought and what was answered.
func (f Format) Split(text string) (thinking, answer string) {
	r := Reader{m: compile(f, nil)}
	var thought, said []byte
	for i := range len(text) {
		r.read(int32(text[i]), &thought, &said)
	}
	r.end(&thought, &said)
	return strings.TrimSpace(string(thought)), string(said)
}
