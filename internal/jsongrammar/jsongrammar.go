// Package jsongrammar makes grammars of JSON schemas: whatever text such a grammar accepts is JSON that the schema
// validates. It knows a part of JSON Schema (2020-12) and refuses the rest by name; where a schema allows more than a
// grammar should, it accepts less. It makes texts in llama.cpp's GBNF of texts, and knows no model.
//
//   - type, alone or several; enum and const; anyOf; oneOf, where what each part accepts shows that no other does; allOf of
//     one; $ref within the schema, recursive or not; true, false and {}
//   - of strings minLength, maxLength, pattern (from ^ to $, without assertions), format (date, time, date-time, uuid)
//   - of numbers and integers minimum, maximum, exclusiveMinimum, exclusiveMaximum
//   - of arrays items, prefixItems, minItems, maxItems
//   - of objects properties, in their order, required, additionalProperties: what is not named comes only where it is
//     given, or where no property is named
//
// Whitespace comes as people write JSON: none, a space, or a line break and an indent. Numbers have 15 digits at most.
package jsongrammar

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Of makes a grammar of a schema, whose rule root describes a whole JSON value.
func Of(schema []byte) (string, error) {
	root, err := parse(schema)
	if err != nil {
		return "", fault.New("", "json_schema", nil, "mend {json_schema}", "the JSON schema is no JSON: %w", err)
	}
	c := &converter{root: root, rules: map[string]string{}, refs: map[string]string{}, open: map[string]bool{}}
	body, err := c.value(root, "#")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "root ::= %s\n", body)
	for _, name := range c.order {
		fmt.Fprintf(&b, "%s ::= %s\n", name, c.rules[name])
	}
	return b.String(), nil
}

// converter makes rules of the parts of a schema. What stands for a part in other rules' bodies is a name, or a text that
// needs no parentheses.
type converter struct {
	root  any
	rules map[string]string // by name
	order []string
	refs  map[string]string // rules of what $ref names, by its pointer
	open  map[string]bool   // pointers that are being followed without anything between
}

// unsupported is the error of a schema that has no grammar here.
func unsupported(path, hint, format string, args ...any) error {
	return fault.New("", "json_schema", nil, hint, "the JSON schema at %s: %s", path, fmt.Sprintf(format, args...))
}

// The rules of values that nothing more is said of.
var builtins = map[string]string{
	"ws":      `(" " | "\n" [ \t]{0,20})?`,
	"hex":     `[0-9a-fA-F]`,
	"plain":   `[^"\\\x00-\x1F]`,
	"char":    `plain | "\\" (["\\/bfnrt] | "u" ([0-9a-cefA-CEF] hex hex hex | [dD] [0-7] hex hex))`, // one character each: no surrogates
	"string":  `"\"" char* "\""`,
	"integer": `"-"? ("0" | [1-9] [0-9]{0,14})`,
	"number":  `integer ("." [0-9]{1,15})? ([eE] [-+]? [0-9] [0-9]?)?`,
	"boolean": `"true" | "false"`,
	"null":    `"null"`,
	"object":  `"{" ws (member ("," ws member)* ws)? "}"`,
	"member":  `string ":" " "? value`,
	"array":   `"[" ws (value ("," ws value)* ws)? "]"`,
	"value":   `object | array | string | number | boolean | null`,
}

// needs are the rules that a builtin one refers to.
var needs = map[string][]string{
	"char": {"plain", "hex"}, "string": {"char"}, "number": {"integer"}, "object": {"ws", "member"}, "member": {"string", "value"},
	"array": {"ws", "value"}, "value": {"object", "array", "string", "number", "boolean", "null"},
}

func (c *converter) builtin(name string) string {
	if _, ok := c.rules[name]; !ok {
		c.rules[name] = builtins[name]
		c.order = append(c.order, name)
		for _, n := range needs[name] {
			c.builtin(n)
		}
	}
	return name
}

// rule defines a rule named by a part's path, and returns its name.
func (c *converter) rule(path, body string) string {
	name := c.reserve(path)
	c.rules[name] = body
	return name
}

// reserve makes a name that is not taken.
func (c *converter) reserve(path string) string {
	name := "r" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.TrimPrefix(path, "#"))
	for base, n := name, 2; c.rules[name] != "" || slices.Contains(c.order, name); n++ {
		name = base + "-" + strconv.Itoa(n)
	}
	c.order = append(c.order, name)
	return name
}

// annotations say nothing of what is valid.
var annotations = []string{"$schema", "$id", "$comment", "$defs", "definitions", "$anchor", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}

// keywords that are known, by what they say something of.
var keywords = map[string]string{
	"minLength": "string", "maxLength": "string", "pattern": "string", "format": "string",
	"minimum": "number", "maximum": "number", "exclusiveMinimum": "number", "exclusiveMaximum": "number",
	"items": "array", "prefixItems": "array", "minItems": "array", "maxItems": "array", "uniqueItems": "array",
	"properties": "object", "required": "object", "additionalProperties": "object",
}

// alone are keywords that stand beside annotations only.
var alone = []string{"$ref", "anyOf", "oneOf", "allOf", "const", "enum"}

// value is what stands for the values of a schema.
func (c *converter) value(schema any, path string) (string, error) {
	switch s := schema.(type) {
	case bool:
		if !s {
			return "", unsupported(path, "leave it out", "no value is valid")
		}
		return c.builtin("value"), nil
	case *object:
		return c.schema(s, path)
	}
	return "", unsupported(path, "give an object, true or false", "%s is no schema", text(schema))
}

func (c *converter) schema(s *object, path string) (string, error) {
	var said []string // keywords that are no annotations
	for _, key := range s.keys {
		if slices.Contains(annotations, key) || strings.HasPrefix(key, "x-") {
			continue
		}
		if said = append(said, key); key != "type" && !slices.Contains(alone, key) && keywords[key] == "" {
			return "", unsupported(path, "leave it out, or say it otherwise", "the keyword %q is not supported", key)
		}
	}
	for _, key := range alone {
		if !s.has(key) {
			continue
		}
		for _, other := range said {
			if other != key && (other != "type" || key != "const" && key != "enum") {
				return "", unsupported(path, "join what they say in one of them", "%q beside %q is not supported", other, key)
			}
		}
		return c.apart(s, key, path)
	}
	types, err := typesOf(s, said, path)
	if err != nil {
		return "", err
	}
	if types == nil {
		return c.builtin("value"), nil
	}
	return c.either(len(types), path, func(i int) (string, error) { return c.typed(s, types[i], path) })
}

// either is one of n parts.
func (c *converter) either(n int, path string, part func(i int) (string, error)) (string, error) {
	var parts []string
	for i := range n {
		p, err := part(i)
		if err != nil {
			return "", err
		}
		parts = append(parts, p)
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return c.rule(path, strings.Join(parts, " | ")), nil
}

// typesOf are the types that a schema allows, nil for all: those it names, or the one that its keywords speak of.
func typesOf(s *object, said []string, path string) ([]string, error) {
	var types []string
	switch t := s.get("type").(type) {
	case nil:
		for _, key := range said {
			if of := keywords[key]; !slices.Contains(types, of) {
				types = append(types, of)
			}
		}
		if len(types) > 1 {
			return nil, unsupported(path, "give it a type", "it has keywords of several types and names none")
		}
		return types, nil
	case string:
		types = []string{t}
	case []any:
		for _, x := range t {
			name, _ := x.(string)
			types = append(types, name)
		}
	default:
		types = []string{""}
	}
	for i, t := range types {
		if builtins[t] == "" || !slices.Contains([]string{"string", "number", "integer", "boolean", "null", "array", "object"}, t) {
			return nil, unsupported(path, "types are string, number, integer, boolean, null, array and object", "type %s", text(s.get("type")))
		}
		if slices.Contains(types[:i], t) {
			return nil, unsupported(path, "name each once", "the type %s stands twice", t)
		}
	}
	if len(types) == 0 {
		return nil, unsupported(path, "name some, or leave it out", "no types are allowed")
	}
	if slices.Contains(types, "number") { // which takes integers too
		types = slices.DeleteFunc(types, func(t string) bool { return t == "integer" })
	}
	return types, nil
}

// typed is the values of one type.
func (c *converter) typed(s *object, of, path string) (string, error) {
	switch of {
	case "string":
		return c.text(s, path)
	case "number", "integer":
		return c.number(s, of, path)
	case "array":
		return c.array(s, path)
	case "object":
		return c.object(s, path)
	}
	return c.builtin(of), nil
}

// apart is what the keywords say that stand alone.
func (c *converter) apart(s *object, key, path string) (string, error) {
	at := path + "/" + key
	switch key {
	case "$ref":
		return c.ref(s, path)
	case "const":
		return c.constants(s, []any{s.get("const")}, at)
	case "enum":
		values, ok := s.get("enum").([]any)
		if !ok || len(values) == 0 {
			return "", unsupported(at, "list what is allowed", "no values are allowed")
		}
		return c.constants(s, values, at)
	}
	parts, ok := s.get(key).([]any)
	if !ok || len(parts) == 0 {
		return "", unsupported(at, "list schemas", "it is no list of schemas")
	}
	switch {
	case key == "allOf" && len(parts) > 1:
		return "", unsupported(at, "join them in one schema", "allOf of %d schemas is not supported", len(parts))
	case key == "oneOf":
		for i := range parts {
			for j := range i {
				if !c.disjoint(parts[j], parts[i]) {
					return "", unsupported(at, "write anyOf, or give each a required property whose const tells them apart", "a value may be valid by both %d and %d, which oneOf forbids", j, i)
				}
			}
		}
	}
	return c.either(len(parts), path, func(i int) (string, error) { return c.value(parts[i], at+"/"+strconv.Itoa(i)) })
}

// constants are some values.
func (c *converter) constants(s *object, values []any, path string) (string, error) {
	var parts []string
	types, err := typesOf(s, nil, path)
	if err != nil {
		return "", err
	}
	for _, v := range values {
		if of := kindOf(v); s.has("type") && !slices.Contains(types, of) && !(of == "integer" && slices.Contains(types, "number")) {
			continue
		}
		if p := c.spelled(v); !slices.Contains(parts, p) {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "", unsupported(path, "change the type or the values", "none of the values is of the type")
	}
	return c.either(len(parts), path, func(i int) (string, error) { return parts[i], nil })
}

// spelled is a constant, with whitespace where people may write it.
func (c *converter) spelled(v any) string {
	list := func(open, end string, n int, part func(i int) string) string {
		var parts []string
		for i := range n {
			parts = append(parts, part(i))
		}
		ws := c.builtin("ws")
		return fmt.Sprintf("%q %s %s %s %q", open, ws, strings.Join(parts, ` "," `+ws+" "), ws, end)
	}
	switch x := v.(type) {
	case *object:
		if len(x.keys) > 0 {
			return list("{", "}", len(x.keys), func(i int) string { return quote(text(x.keys[i])+":") + ` " "? ` + c.spelled(x.values[x.keys[i]]) })
		}
	case []any:
		if len(x) > 0 {
			return list("[", "]", len(x), func(i int) string { return c.spelled(x[i]) })
		}
	}
	return quote(text(v))
}

// ref is what a $ref names.
func (c *converter) ref(s *object, path string) (string, error) {
	pointer, _ := s.get("$ref").(string)
	at := path + "/$ref"
	schema, err := c.resolve(pointer, at)
	if err != nil {
		return "", err
	}
	if c.open[pointer] {
		return "", unsupported(at, "put something between", "%s refers to itself", pointer)
	}
	if name, ok := c.refs[pointer]; ok {
		return name, nil
	}
	name := c.reserve(pointer)
	c.refs[pointer], c.open[pointer] = name, true
	defer delete(c.open, pointer)
	body, err := c.value(schema, pointer)
	c.rules[name] = body
	return name, err
}

// within makes what stands inside a value, where a reference may come back to it.
func (c *converter) within(make func() (string, error)) (string, error) {
	open := c.open
	c.open = map[string]bool{}
	defer func() { c.open = open }()
	return make()
}

// resolve finds what a pointer into the schema names.
func (c *converter) resolve(pointer, path string) (any, error) {
	rest, ok := strings.CutPrefix(pointer, "#")
	if !ok || rest != "" && rest[0] != '/' {
		return nil, unsupported(path, "refer to a part of the schema, such as #/$defs/name", "%q is not supported", pointer)
	}
	at := c.root
	for _, step := range strings.Split(rest, "/")[1:] {
		name, err := url.PathUnescape(step)
		if err != nil {
			return nil, unsupported(path, "mend it", "%q is no pointer", pointer)
		}
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		switch x := at.(type) {
		case *object:
			if !x.has(name) {
				return nil, unsupported(path, "define it", "there is no %s", pointer)
			}
			at = x.get(name)
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(x) {
				return nil, unsupported(path, "define it", "there is no %s", pointer)
			}
			at = x[i]
		default:
			return nil, unsupported(path, "define it", "there is no %s", pointer)
		}
	}
	return at, nil
}

// quote is a text as a grammar has it.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ':
			fmt.Fprintf(&b, `\x%02X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
