// Package check decides whether a response meets instructions that can be verified: a number of
// words, a phrase at the end, no commas. The kinds are those of IFEval (Zhou et al.,
// "Instruction-Following Evaluation for Large Language Models", 2023) and half of IFBench's, by
// the names and with the arguments of their published files. The package knows texts alone: no
// prompts, no scores.
package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Instruction is one thing that a response should do.
type Instruction struct {
	ID  string // as in "length_constraints:number_words"
	met func(response string) bool
}

// Version changes when a check would find otherwise than before.
const Version = "1"

// Kinds are the ids of all instructions that can be checked.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// alike are the kinds of an id's group, or all where it has none.
func alike(id string) []string {
	group, _, _ := strings.Cut(id, ":")
	some := slices.DeleteFunc(Kinds(), func(k string) bool { return !strings.HasPrefix(k, group+":") })
	if len(some) == 0 {
		return Kinds()
	}
	return some
}

// Parse makes the instructions of a record: their ids, and for each the object with its
// arguments. Those of other kinds in it, null in published files, are of no account; a record
// whose kinds have none needs no objects.
func Parse(ids []string, kwargs []json.RawMessage) ([]Instruction, error) {
	if len(kwargs) != len(ids) && len(kwargs) > 0 {
		return nil, fault.New("", "prompts", nil, "give one for each, {} where there are none", "%d instructions have %d objects of arguments", len(ids), len(kwargs))
	}
	instructions := make([]Instruction, len(ids))
	for i, id := range ids {
		make, ok := kinds[id]
		if !ok {
			return nil, fault.New("", "prompts", nil, "known are "+strings.Join(alike(id), ", "), "there is no check of instructions of the kind %q", id)
		}
		a := arguments{}
		if len(kwargs) > 0 && string(bytes.TrimSpace(kwargs[i])) != "null" {
			if err := json.Unmarshal(kwargs[i], &a.given); err != nil {
				return nil, fault.New("", "prompts", nil, `give a JSON object, such as {"num_words": 100}`, "the arguments of %q: %w", id, err)
			}
		}
		instructions[i] = Instruction{ID: id, met: make(&a)}
		if a.err != nil {
			return nil, fmt.Errorf("the arguments of %q: %w", id, a.err)
		}
	}
	return instructions, nil
}

// Met reports whether the response does what the instruction says. An empty one never does.
func (i Instruction) Met(response string) bool {
	return strip(response) != "" && i.met(response)
}

// MetLoosely reports whether the response would do so without its first line, its last, both
// (such as "Sure, here is ..."), and without asterisks, in any combination.
func (i Instruction) MetLoosely(response string) bool {
	lines := strings.Split(response, "\n")
	last := len(lines) - 1
	rest := func(lines []string) string { return strip(strings.Join(lines, "\n")) }
	for _, r := range []string{response, rest(lines[1:]), rest(lines[:last]), rest(lines[1:max(last, 1)])} {
		if i.Met(r) || strings.Contains(r, "*") && i.Met(strings.ReplaceAll(r, "*", "")) {
			return true
		}
	}
	return false
}

// arguments are those of one instruction. What is wrong with any is kept in err.
type arguments struct {
	given map[string]json.RawMessage
	err   error
}

// read reads an argument. All that a kind has are needed: the authors' program draws those
// that are missing by chance, anew for each response, which no reward may do.
func (a *arguments) read(name, what string, to any) {
	raw, ok := a.given[name]
	if !ok || string(raw) == "null" {
		a.fail("give "+what, "%q is missing", name)
	} else if err := json.Unmarshal(raw, to); err != nil {
		a.fail("give "+what, "%q is %.80s", name, raw)
	}
}

func (a *arguments) fail(hint, format string, args ...any) {
	if a.err == nil {
		a.err = fault.New("", "prompts", nil, hint, format, args...)
	}
}

// count is a whole number, which published files write as 3 or 3.0.
func (a *arguments) count(name string) int {
	var n float64
	a.read(name, "a whole number", &n)
	if n < 0 || n != math.Trunc(n) || n > math.MaxInt32 {
		a.fail("give a whole number", "%q is %s", name, a.given[name])
	}
	return int(n)
}

func (a *arguments) text(name string) string {
	var s string
	a.read(name, "a text", &s)
	if s = strip(s); s == "" {
		a.fail("give a text", "%q is empty", name)
	}
	return s
}

func (a *arguments) texts(name string) []string {
	var s []string
	a.read(name, "a list of texts", &s)
	if len(s) == 0 {
		a.fail("give a list of texts", "%q is empty", name)
	}
	return s
}

// bound is a number with a relation to it.
func (a *arguments) bound(name, relation string) func(n int) bool {
	limit := a.count(name)
	switch r := a.text(relation); r {
	case "at least":
		return func(n int) bool { return n >= limit }
	case "less than":
		return func(n int) bool { return n < limit }
	default:
		a.fail(`give "at least" or "less than"`, "%q is %q", relation, r)
		return nil
	}
}
