package jinja

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// interp is one run of a template.
type interp struct {
	out    *strings.Builder
	scope  *scope
	now    time.Time
	line   int // of what runs now
	depth  int // of evaluations
	steps  int // left
	budget int // bytes that may still be made
}

// scope holds the variables of the template, of a macro call or of one pass of a loop.
type scope struct {
	vars   map[string]any
	parent *scope
}

func (s *scope) lookup(name string) (any, bool) {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func newInterp(p Params, steps int) *interp {
	in := &interp{out: &strings.Builder{}, now: p.Now, steps: steps, budget: maxBytes}
	if in.now.IsZero() {
		in.now = time.Now()
	}
	vars := make(map[string]any, len(p.Extra)+8)
	for name, v := range p.Extra {
		vars[name] = in.input(v, 0)
	}
	messages := make([]any, len(p.Messages))
	for i, m := range p.Messages {
		in.allow(len(m.Role) + len(m.Content))
		d := newDict(2 + len(m.Fields))
		in.put(d, "role", m.Role)
		in.put(d, "content", m.Content)
		for _, name := range slices.Sorted(maps.Keys(m.Fields)) {
			in.put(d, name, in.input(m.Fields[name], 0))
		}
		messages[i] = d
	}
	vars["messages"] = in.newList(messages, false)
	vars["add_generation_prompt"] = p.AddGenerationPrompt
	vars["bos_token"], vars["eos_token"] = p.BOS, p.EOS
	in.scope = &scope{vars, &scope{vars: globals}}
	return in
}

// input is a value that a caller gave as one of ours.
func (in *interp) input(v any, depth int) any {
	in.nested(depth)
	in.allow(0)
	switch v := v.(type) {
	case nil, bool, int64, float64:
		return v
	case int:
		return int64(v)
	case int32:
		return int64(v)
	case float32:
		return float64(v)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			panic(&Error{Msg: "a variable is no number: " + v.String(), Hint: "pass what encoding/json decodes into any"})
		}
		return f
	case string:
		in.allow(len(v))
		return v
	case json.RawMessage:
		return in.raw(v, depth)
	case []string:
		items := make([]any, len(v))
		for i, s := range v {
			items[i] = in.input(s, depth+1)
		}
		return in.newList(items, false)
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = in.input(item, depth+1)
		}
		return in.newList(items, false)
	case map[string]any:
		d := newDict(len(v))
		for _, key := range sortedKeys(v) {
			in.put(d, key, in.input(v[key], depth+1))
		}
		return d
	}
	panic(&Error{Msg: "a variable has a Go type that templates do not know", Hint: "pass what encoding/json decodes into any"})
}

// raw is a value in JSON as one of ours.
func (in *interp) raw(data json.RawMessage, depth int) any {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v := in.decode(dec, depth)
	if _, err := dec.Token(); err != io.EOF {
		panic(&Error{Msg: "a variable is more than one JSON value", Hint: "pass one value"})
	}
	return v
}

// decode reads a JSON value; objects keep the order of their keys.
func (in *interp) decode(dec *json.Decoder, depth int) any {
	in.nested(depth)
	t, err := dec.Token()
	if err != nil {
		panic(&Error{Msg: "a variable is no JSON: " + err.Error(), Hint: "pass what a JSON encoder writes"})
	}
	bracket, ok := t.(json.Delim)
	if !ok {
		return in.input(t, depth)
	}
	in.allow(0)
	var items []any
	d := newDict(0)
	for dec.More() {
		v := in.decode(dec, depth+1)
		if bracket == '[' {
			items = append(items, v)
		} else {
			in.put(d, v, in.decode(dec, depth+1))
		}
	}
	if _, err := dec.Token(); err != nil {
		panic(&Error{Msg: "a variable is no JSON: " + err.Error(), Hint: "pass what a JSON encoder writes"})
	}
	if bracket == '[' {
		return in.newList(items, false)
	}
	return d
}

// allow raises the bounds for a parameter of so many bytes.
func (in *interp) allow(bytes int) {
	bytes += 250 // what stands around it
	in.steps += stepsShare * bytes
	in.budget += bytesShare * bytes
}

// fail ends the run, see [Render].
func (in *interp) fail(format string, args ...any) {
	panic(errorAt(in.line, format, args...))
}

// frame is what a pass of a loop or a call costs: about as much as so many steps.
const frame = 8

// work takes steps off what is left.
func (in *interp) work(steps int) {
	if in.steps -= steps; in.steps < 0 {
		in.fail("it takes too many steps: it loops without end")
	}
}

// scan accounts for going through a text once.
func (in *interp) scan(s string) { in.work(len(s) / 8) }

// made accounts for a string or list before or right after it is made.
func (in *interp) made(bytes int) {
	if in.budget -= bytes; in.budget < 0 {
		in.fail("it makes too much text, more than %d MiB", maxBytes>>20)
	}
	in.work(bytes / 64)
}

// text is a new string, accounted for.
func (in *interp) text(s string) string {
	in.made(len(s) + 16)
	return s
}

// nested bounds the recursion over a value.
func (in *interp) nested(depth int) {
	if depth > maxNesting {
		in.fail("a value is nested more than %d levels deep", maxNesting)
	}
}

func (in *interp) write(s string) {
	in.made(len(s))
	in.out.WriteString(s)
}

// eval is the value of an expression.
func (in *interp) eval(e expr) any {
	in.work(1)
	if in.depth++; in.depth > maxDepth {
		in.fail("evaluations nest more than %d levels deep: a macro calls itself without end", maxDepth)
	}
	v := e.eval(in)
	in.depth--
	return v
}

func (in *interp) run(body []stmt) control {
	for _, s := range body {
		in.work(1)
		if c := s.exec(in); c != 0 {
			return c
		}
	}
	return 0
}

// capture is what body writes.
func (in *interp) capture(body []stmt) (string, control) {
	out := in.out
	in.out = &strings.Builder{}
	c := in.run(body)
	text := in.out.String()
	in.out = out
	return text, c
}

// within runs f in a scope of its own.
func (in *interp) within(s *scope, f func()) {
	outer := in.scope
	in.scope = s
	f()
	in.scope = outer
}
