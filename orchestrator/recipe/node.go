package recipe

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// node is a part of a recipe, with what is wrong in it going to the recipe's problems.
type node struct {
	*yaml.Node
	name string // what it is called, such as "prompts.test"
	p    *Problems
}

// at is a node by its name.
func (p *Problems) at(n *yaml.Node, name string) node {
	if n.Kind == yaml.AliasNode { // what it stands for, on the line where it is written
		there := *n.Alias
		there.Line, n = n.Line, &there
	}
	return node{n, name, p}
}

func (n node) wrong(hint, format string, args ...any) {
	n.p.add(n.Line, "%s: %s (%s)", n.name, fmt.Sprintf(format, args...), hint)
}

// empty says whether there is nothing.
func (n node) empty() bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// kind is what the node is, in words.
func (n node) kind() string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.empty() {
		return "empty"
	}
	return strconv.Quote(n.Value)
}

// fields reads a mapping: each of its keys by the function that is known for it.
func (n node) fields(known map[string]func(node)) {
	if n.Kind != yaml.MappingNode {
		n.wrong("write it as a mapping with keys of "+strings.Join(slices.Sorted(maps.Keys(known)), ", "), "it is %s", n.kind())
		return
	}
	lines := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if first, twice := lines[key.Value]; twice {
			n.p.add(key.Line, "%s: the key %q is on line %d already (write it once)", n.name, key.Value, first)
			continue
		}
		lines[key.Value] = key.Line
		read, ok := known[key.Value]
		if !ok {
			n.p.add(key.Line, "%s: there is no key %q (choose from %s)", n.name, key.Value, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
			continue
		}
		read(n.p.at(n.Content[i+1], n.child(key.Value)))
	}
}

func (n node) child(key string) string {
	if n.name == root {
		return key
	}
	return n.name + "." + key
}

// root is the name of the whole.
const root = "the recipe"

// entries are the values of a mapping of names, in their order; keys get their line.
func (n node) entries(each func(name string, line int, n node)) {
	if n.Kind != yaml.MappingNode {
		n.wrong("write NAME: and what it is, one a line", "it is %s", n.kind())
		return
	}
	lines := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if first, twice := lines[key.Value]; twice {
			n.p.add(key.Line, "%s: the name %q is on line %d already (give each a name of its own)", n.name, key.Value, first)
			continue
		}
		lines[key.Value] = key.Line
		each(key.Value, key.Line, n.p.at(n.Content[i+1], n.child(key.Value)))
	}
}

// list are the elements of a list, or the node itself where it is none.
func (n node) list() (out []node) {
	if n.Kind != yaml.SequenceNode {
		return []node{n}
	}
	for i, c := range n.Content {
		out = append(out, n.p.at(c, fmt.Sprintf("%s[%d]", n.name, i)))
	}
	return out
}

// text reads a text that is not empty.
func (n node) text() (string, bool) {
	if n.Kind != yaml.ScalarNode || n.empty() || n.Value == "" {
		n.wrong("write a text", "it is %s", n.kind())
		return "", false
	}
	return n.Value, true
}

// texts reads a text or a list of texts.
func (n node) texts() (out []string) {
	for _, e := range n.list() {
		if text, ok := e.text(); ok {
			out = append(out, text)
		}
	}
	return out
}

// integer reads a whole number of at least so much, and so small that products of two overflow nowhere.
func (n node) integer(least int) (int, bool) { return n.within(least, math.MaxInt32) }

// within reads a whole number between two.
func (n node) within(least, most int) (int, bool) {
	v, err := strconv.Atoi(n.Value)
	large := errors.Is(err, strconv.ErrRange)
	switch {
	case n.Kind != yaml.ScalarNode || err != nil && !large || v < least:
		n.wrong(fmt.Sprintf("write a whole number, %d or more", least), "it is %s", n.kind())
	case large || v > most:
		n.wrong(fmt.Sprintf("write a whole number, %d at most", most), "it is %s", n.kind())
	default:
		return v, true
	}
	return 0, false
}

// number reads a finite number.
func (n node) number() (float64, bool) {
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		n.wrong("write a number", "it is %s", n.kind())
		return 0, false
	}
	return v, true
}

// truth reads true or false.
func (n node) truth() bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		n.wrong("write true or false", "it is %s", n.kind())
		return false
	}
	return n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
}

// decode reads whatever there is. Aliases that stand for themselves, or come to too much, are errors.
func (n node) decode(to any) error {
	err := n.Decode(to)
	if err != nil {
		_, said := syntax(err)
		err = errors.New(strings.Join(strings.Fields(said), " "))
	}
	return err
}

// one reads one of some words.
func one[T ~string](n node, of []T) (T, bool) {
	if n.Kind != yaml.ScalarNode || !slices.Contains(of, T(n.Value)) {
		n.wrong(fmt.Sprintf("choose from %v", of), "it is %s", n.kind())
		return "", false
	}
	return T(n.Value), true
}

// set are functions that read a node into a place.
func setText(to *string) func(node) { return func(n node) { *to, _ = n.text() } }

func setTexts(to *[]string) func(node) { return func(n node) { *to = n.texts() } }

func setTruth(to *bool) func(node) { return func(n node) { *to = n.truth() } }

func setNumber(to *float64) func(node) { return func(n node) { *to, _ = n.number() } }

func setInteger(to *int, least int) func(node) {
	return func(n node) {
		if v, ok := n.integer(least); ok {
			*to = v
		}
	}
}
