package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// Read reads the recipe at path, and finds what is wrong with it as far as the file alone tells.
func Read(path string) (*Recipe, error) {
	p := &Problems{Path: path}
	r, err := read(path, p)
	if err != nil {
		return nil, err
	}
	return r, p.err()
}

// read notes what is wrong in p.
func read(path string, p *Problems) (*Recipe, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &fault.Error{Op: "read the recipe", Err: err, Hint: "name a YAML file as docs/formats.md has it"}
	}
	r := defaults()
	r.Path = path
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		line, said := syntax(err)
		p.add(line, "not YAML: %s (docs/formats.md shows recipes)", said)
		return r, nil
	}
	if err := dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		p.add(0, "there is more than one document in it (write one recipe a file)")
	}
	r.read(p.at(doc.Content[0], root))
	return r, nil
}

var atLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// syntax parts an error of the YAML reader.
func syntax(err error) (line int, said string) {
	if errors.Is(err, io.EOF) {
		return 0, "it is empty"
	}
	text := err.Error()
	m := atLine.FindStringSubmatch(text)
	line, _ = strconv.Atoi(m[1])
	return line, text[len(m[0]):]
}

func (r *Recipe) read(n node) {
	values, tuned, methods := node{}, node{}, node{}
	prompts, ceiling := n.Line, node{} // the line of prompts, where there are some
	n.fields(map[string]func(node){
		"model":  func(n node) { r.models(n) },
		"models": func(n node) { r.models(n) },
		"prompts": func(n node) {
			prompts = n.Line
			n.fields(map[string]func(node){"train": r.Prompts.Train.read, "validation": r.Prompts.Validation.read, "test": r.Prompts.Test.read})
		},
		"encoding":   r.Encoding.read,
		"reward":     func(n node) { r.Reward = Reward{line: n.Line}; r.Reward.Spec, _ = n.text() },
		"watch":      setRewards(&r.Watch),
		"judge":      setRewards(&r.Judges),
		"sampling":   r.sampling,
		"max_tokens": setInteger(&r.MaxTokens, 1),
		"stop":       setTexts(&r.Stop),
		"seeds":      r.seeds,
		"reasoning_budget": func(n node) {
			r.Thoughts.Budget, r.Thoughts.Limited = n.integer(0)
		},
		"ceiling": func(n node) {
			ceiling = n
			n.fields(map[string]func(node){"rerolls": setSequences(&r.Rerolls, 2)})
		},
		"runs":     r.runs,
		"values":   func(n node) { values = n },
		"policies": func(n node) { tuned = n },
		"methods":  func(n node) { methods = n },
		"context":  setCells(&r.Context.Cells, &r.context),
		"parallel": setSequences(&r.Parallel, 1),
		"threads":  func(n node) { r.threads = n.Line; setInteger(&r.Context.Threads, 0)(n) },
	})
	if n.Kind != yaml.MappingNode {
		return
	}
	for _, need := range []struct {
		missing bool
		line    int
		key     string
		hint    string
	}{
		{r.Models == nil, n.Line, "model", "a GGUF file"},
		{r.Prompts.Test.line == 0, prompts, "prompts.test", "a file of prompts"},
		{r.Reward.line == 0, n.Line, "reward", "the spec of a reward, such as sentiment"},
		{methods.Node == nil, n.Line, "methods", "a list, the base policy first"},
	} {
		if need.missing {
			n.p.add(need.line, "the key %s is missing (give it %s)", need.key, need.hint)
		}
	}
	if ceiling.Node != nil && (r.Sampling.Constrained() || r.Thoughts.Limited) {
		ceiling.wrong("leave one of them out", "rerolls begin in the middle of answers, and sampling.grammar, ignore_eos, min_tokens and reasoning_budget count from their beginnings")
	}
	if ceiling.Node != nil && ceiling.Kind == yaml.MappingNode && len(ceiling.Content) == 0 {
		ceiling.wrong("give it the number of continuations of each state, such as 16", "rerolls is missing")
	}
	if values.Node != nil { // they refer to the runs
		r.values(values)
	}
	if tuned.Node != nil {
		r.tuned(tuned)
	}
	if methods.Node != nil { // last: they refer to all that the others define
		r.methods(methods)
	}
}

// mostCells are those of the largest context that llama.cpp is asked for.
const mostCells = 1 << 28

// setSequences reads a number of those that are in a context at once.
func setSequences(to *int, least int) func(node) {
	return func(n node) {
		if setInteger(to, least)(n); *to > llama.MaxSequences {
			n.wrong(fmt.Sprintf("llama.cpp holds at most %d", llama.MaxSequences), "%d sequences at once", *to)
			*to = llama.MaxSequences
		}
	}
}

// setCells reads the size of a context, and its line. Where it is none, nothing else is said not to fit.
func setCells(to, line *int) func(node) {
	return func(n node) {
		if cells, ok := n.within(1, mostCells); ok {
			*to, *line = cells, n.Line
		} else {
			*to = mostCells
		}
	}
}

func setRewards(to *[]Reward) func(node) {
	return func(n node) {
		for _, e := range n.list() {
			if spec, ok := e.text(); ok {
				*to = append(*to, Reward{spec, e.Line})
			}
		}
	}
}

// models reads one file, or several by name.
func (r *Recipe) models(n node) {
	if r.Models != nil {
		n.wrong("give one of model and models", "the policies are named already")
		return
	}
	if n.Kind != yaml.MappingNode {
		file, _ := n.text()
		r.Models = []Model{{File: file, line: n.Line}}
		return
	}
	r.Models = []Model{}
	n.entries(func(name string, line int, n node) {
		m := Model{ID: name, line: line}
		m.read(n)
		r.Models = append(r.Models, m)
	})
	if n.Kind == yaml.MappingNode && len(r.Models) == 0 {
		n.wrong("write NAME: FILE, one a line", "it names no model")
	}
}

// read reads a file, or one with what it computes with.
func (m *Model) read(n node) {
	if n.Kind != yaml.MappingNode {
		m.File, _ = n.text()
		return
	}
	adapters := func(to *[]llama.AdapterFile) func(node) {
		return func(n node) {
			files, err := llama.ParseAdapters(n.texts())
			if err != nil {
				n.p.fail(n.Line, n.name, err)
			}
			*to = append(*to, files...)
		}
	}
	a := &m.Adapters
	n.fields(map[string]func(node){
		"file": setText(&m.File), "lora": adapters(&a.LoRA), "control_vector": adapters(&a.Control),
		"control_vector_layers": func(n node) {
			if layers := n.list(); len(layers) == 2 {
				a.From, _ = layers[0].integer(1)
				a.To, _ = layers[1].integer(max(1, a.From))
				return
			}
			n.wrong("give the first and the last layer, such as [10, 20]", "it is %s", n.kind())
		},
	})
	switch {
	case m.File == "":
		n.wrong("give it", "file is missing")
	case a.To > 0 && len(a.Control) == 0:
		n.wrong("give control_vector, or leave them out", "control_vector_layers without a control vector")
	}
}

func (p *Part) read(n node) {
	p.line = n.Line
	if n.Kind == yaml.ScalarNode {
		p.File, _ = n.text()
		return
	}
	n.fields(map[string]func(node){"file": setText(&p.File), "skip": setInteger(&p.Skip, 0), "first": setInteger(&p.First, 1)})
	if n.Kind == yaml.MappingNode && p.File == "" {
		n.wrong("give it", "file is missing")
	}
}

func (e *Encoding) read(n node) {
	e.line = n.Line
	n.fields(map[string]func(node){
		"chat": setTruth(&e.Chat), "system": setText(&e.System), "template": setText(&e.Template), "parse_content": setTruth(&e.ParseContent),
		"kwargs": func(n node) {
			const hint = "write the template's variables as a mapping"
			if n.Kind != yaml.MappingNode {
				n.wrong(hint, "it is %s", n.kind())
			} else if err := n.decode(&e.Kwargs); err != nil {
				n.wrong(hint, "%v", err)
			}
		},
		"date": func(n node) {
			var err error
			if e.Date, err = time.ParseInLocation(time.DateOnly, n.Value, time.Local); err != nil {
				n.wrong("write a date such as 2026-01-31", "it is %s", n.kind())
			}
		},
	})
}

// mostSeeds are as many as somebody means by a number of them.
const mostSeeds = 1000

// seeds reads their number, or a list of them.
func (r *Recipe) seeds(n node) {
	r.Seeds = nil
	if n.Kind != yaml.SequenceNode {
		count, _ := n.integer(1)
		if count > mostSeeds {
			n.wrong(fmt.Sprintf("give at most %d, or a list of them", mostSeeds), "it is %d", count)
		}
		for seed := range max(1, min(count, mostSeeds)) { // one where it is no number: what else is wrong is told by it
			r.Seeds = append(r.Seeds, uint64(seed+1))
		}
		return
	}
	for _, e := range n.list() {
		seed, ok := e.within(0, math.MaxInt)
		if ok && slices.Contains(r.Seeds, uint64(seed)) {
			e.wrong("write each once", "the seed %d is there twice", seed)
		}
		r.Seeds = append(r.Seeds, uint64(seed))
	}
	if len(r.Seeds) == 0 {
		n.wrong("give one or more", "there are no seeds")
		r.Seeds = []uint64{1}
	}
}

// samplingFields read the base policy's.
func samplingFields(s *policy.Sampling) map[string]func(node) {
	return map[string]func(node){
		"temp": setNumber(&s.Temp), "top_k": setInteger(&s.TopK, 0), "top_p": setNumber(&s.TopP), "min_p": setNumber(&s.MinP), "min_tokens": setInteger(&s.MinTokens, 0),
		"repeat_last_n": setInteger(&s.RepeatLastN, -1), "repeat_penalty": setNumber(&s.RepeatPenalty),
		"frequency_penalty": setNumber(&s.FrequencyPenalty), "presence_penalty": setNumber(&s.PresencePenalty),
	}
}

// lookBack lets penalties that are set look back as llama.cpp's do. All others stay as they are, whose answers are kept.
func lookBack(s *policy.Sampling, said bool) {
	back := *s
	if back.RepeatLastN = policy.LookBack; !said && s.RepeatLastN == 0 && back.Penalizes() {
		*s = back
	}
}

func (r *Recipe) sampling(n node) {
	s := &r.Sampling
	fields := samplingFields(s)
	maps.Copy(fields, constraintFields(s))
	back, bias := fields["repeat_last_n"], fields["logit_bias"]
	fields["repeat_last_n"] = func(n node) { r.looksBack = true; back(n) }
	fields["logit_bias"] = func(n node) { r.biased = n.Line; bias(n) }
	n.fields(fields)
	lookBack(s, r.looksBack)
	if err := s.Check(); err != nil {
		n.p.fail(n.Line, n.name, bare(err))
		*s = policy.Sampling{Temp: 1} // or every method would be said to be wrong too
	}
}

// bare is an error of a setting without what was tried.
func bare(err error) error {
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		b := *f
		b.Op = ""
		return &b
	}
	return err
}
