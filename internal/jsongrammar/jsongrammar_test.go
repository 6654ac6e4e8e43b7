package jsongrammar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ivo-decoding/ivo/internal/jsongrammar"
	"github.com/ivo-decoding/ivo/llama"
)

func load(t testing.TB) *llama.Model {
	t.Helper()
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{VocabOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func compile(t testing.TB, schema string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("s.json", doc); err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	s, err := c.Compile("s.json")
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	return s
}

func rules(t testing.TB, m *llama.Model, schema string) *llama.Rules {
	t.Helper()
	g, err := jsongrammar.Of([]byte(schema))
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	r, err := m.Rules(g)
	if err != nil {
		t.Fatalf("%s: %v\n%s", schema, err, g)
	}
	return r
}

// walk draws a text that the rules accept, which closes what it opens after a while; done says whether it came to an end.
func walk(t testing.TB, m *llama.Model, r *llama.Rules, rng *rand.Rand) (text string, done bool) {
	t.Helper()
	var b strings.Builder
	state := r.Start()
	for n := range 600 {
		set, err := r.Allowed(state)
		if err != nil {
			t.Fatal(err)
		}
		all := slices.Collect(set.All())
		if len(all) == 0 {
			t.Fatalf("nothing may follow %q", b.String())
		}
		closing := slices.DeleteFunc(slices.Clone(all), func(token int32) bool {
			piece, _ := m.Piece(token, false)
			return !m.IsEOG(token) && (len(piece) != 1 || !strings.Contains(`"}]0`, string(piece)))
		})
		if len(closing) > 0 && (n > 60 || rng.IntN(4) == 0) {
			all = closing
		}
		token := all[rng.IntN(len(all))]
		if m.IsEOG(token) {
			return b.String(), true
		}
		piece, _ := m.Piece(token, false)
		b.Write(piece)
		if state, err = r.Next(state, token); err != nil {
			t.Fatal(err)
		}
	}
	return b.String(), false
}

func accepts(m *llama.Model, r *llama.Rules, text string, bytesFrom int32) bool {
	state, err := r.Start(), error(nil)
	for _, b := range []byte(text) {
		if state, err = r.Next(state, bytesFrom+int32(b)); err != nil {
			return false
		}
	}
	return state.Complete()
}

// firstByte is the token of the byte 0.
func firstByte(t testing.TB, m *llama.Model) int32 {
	t.Helper()
	for token := range int32(m.Info().Vocab) {
		if piece, _ := m.Piece(token, false); len(piece) == 1 && piece[0] == 0 {
			return token
		}
	}
	t.Fatal("the model has no tokens of bytes")
	return 0
}

// drawer draws schemas of what is supported, with values that they allow.
type drawer struct{ *rand.Rand }

type value func(d drawer) any

// fields are an object in order.
type fields []struct {
	name  string
	value any
}

func (f fields) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, x := range f {
		if i > 0 {
			b = append(b, ", "...)
		}
		name, _ := json.Marshal(x.name)
		v, err := json.Marshal(x.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ": "...), v...)
	}
	return append(b, '}'), nil
}

var texts = []string{"", "a", "kettle", "say \"so\"", "水🙂", "a\\b\n", "x y z", "längst"}

func (d drawer) text() string { return texts[d.IntN(len(texts))] }

func (d drawer) schema(depth int) (string, value) {
	n := 12
	if depth == 0 {
		n = 8
	}
	switch d.IntN(n) {
	case 0:
		return `{"type": "string"}`, func(d drawer) any { return d.text() }
	case 1:
		from, more := d.IntN(4), d.IntN(6)
		return fmt.Sprintf(`{"type": "string", "minLength": %d, "maxLength": %d}`, from, from+more), func(d drawer) any { return strings.Repeat("é", from+d.IntN(more+1)) }
	case 2:
		low := d.IntN(3000) - 1500
		high := low + d.IntN(2000)
		return fmt.Sprintf(`{"type": "integer", "minimum": %d, "maximum": %d}`, low, high), func(d drawer) any { return low + d.IntN(high-low+1) }
	case 3:
		low, high := d.IntN(20)-10, 0
		high = low + 1 + d.IntN(20)
		return fmt.Sprintf(`{"type": "number", "exclusiveMinimum": %d, "maximum": %d}`, low, high), func(d drawer) any { return high }
	case 4:
		return `{"type": ["boolean", "null"]}`, func(d drawer) any { return []any{true, false, nil}[d.IntN(3)] }
	case 5:
		return `{"enum": ["red", 3, null, {"a": [1]}, "\"\\"]}`, func(d drawer) any { return []any{"red", 3, nil, fields{{"a", []int{1}}}, "\"\\"}[d.IntN(5)] }
	case 6:
		p := []struct{ pattern, text string }{{`^[a-c]{2,4}-\\d+$`, "abc-12"}, {`^(yes|no)\\?$`, "no?"}, {`^[^x]*$`, "a\"b"}, {`^#[0-9A-F]{6}$`, "#00FFAA"}}[d.IntN(4)]
		return fmt.Sprintf(`{"type": "string", "pattern": "%s"}`, p.pattern), func(drawer) any { return p.text }
	case 7:
		f := []struct{ format, text string }{{"date", "2026-11-27"}, {"time", "23:59:01.5Z"}, {"date-time", "1999-01-31T00:00:00+02:00"}, {"uuid", "123e4567-e89b-12d3-a456-426614174000"}}[d.IntN(4)]
		return fmt.Sprintf(`{"type": "string", "format": %q}`, f.format), func(drawer) any { return f.text }
	case 8:
		s, v := d.schema(depth - 1)
		from, more := d.IntN(3), d.IntN(3)
		return fmt.Sprintf(`{"type": "array", "items": %s, "minItems": %d, "maxItems": %d}`, s, from, from+more), func(d drawer) any {
			out := []any{}
			for range from + d.IntN(more+1) {
				out = append(out, v(d))
			}
			return out
		}
	case 9:
		s, v := d.schema(depth - 1)
		s2, v2 := d.schema(depth - 1)
		rest := []string{"false", `{"type": "boolean"}`}[d.IntN(2)]
		return fmt.Sprintf(`{"prefixItems": [%s, %s], "items": %s, "minItems": 1, "maxItems": 3}`, s, s2, rest), func(d drawer) any {
			out := []any{v(d), v2(d), true}
			return out[:1+d.IntN(map[bool]int{true: 2, false: 3}[rest == "false"])]
		}
	case 10:
		s, v := d.schema(depth - 1)
		return fmt.Sprintf(`{"anyOf": [%s, {"const": "none"}]}`, s), func(d drawer) any {
			if d.IntN(2) == 0 {
				return "none"
			}
			return v(d)
		}
	}
	var props, required []string
	var values []value
	var must []bool
	names := []string{"name", "na", "x/y~", "say \"so\"", "水"}
	for _, name := range names[:d.IntN(len(names)+1)] {
		s, v := d.schema(depth - 1)
		q, _ := json.Marshal(name)
		props = append(props, string(q)+": "+s)
		must = append(must, d.IntN(2) == 0)
		if must[len(must)-1] {
			required = append(required, string(q))
		}
		values = append(values, v)
	}
	other := []string{"false", `{"type": "integer", "minimum": 0, "maximum": 9}`}[d.IntN(2)]
	return fmt.Sprintf(`{"type": "object", "properties": {%s}, "required": [%s], "additionalProperties": %s}`, strings.Join(props, ", "), strings.Join(required, ", "), other), func(d drawer) any {
		out := fields{}
		for i, v := range values {
			if must[i] || d.IntN(2) == 0 {
				out = append(out, struct {
					name  string
					value any
				}{names[i], v(d)})
			}
		}
		for _, name := range []string{"nam", "more", ""} {
			if other != "false" && d.IntN(3) == 0 {
				out = append(out, struct {
					name  string
					value any
				}{name, 7})
			}
		}
		return out
	}
}

// What the grammar of a schema accepts is JSON that the schema validates, and values of the schema are accepted as they
// are written, with spaces or without.
func TestDrawn(t *testing.T) {
	m := load(t)
	from := firstByte(t, m)
	ended := 0
	for i := range 300 {
		d := drawer{rand.New(rand.NewPCG(uint64(i), 5))}
		schema, v := d.schema(3)
		s, r := compile(t, schema), rules(t, m, schema)
		for range 4 {
			text, done := walk(t, m, r, d.Rand)
			if !done {
				continue
			}
			ended++
			instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err != nil {
				t.Fatalf("%s\naccepts %q: %v", schema, text, err)
			}
			if err := s.Validate(instance); err != nil {
				t.Fatalf("%s\naccepts %q: %v", schema, text, err)
			}
		}
		for range 3 {
			var line bytes.Buffer
			enc := json.NewEncoder(&line)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(v(d)); err != nil {
				t.Fatal(err)
			}
			var indented bytes.Buffer
			json.Indent(&indented, bytes.TrimSpace(line.Bytes()), "", "")
			for _, text := range []string{strings.TrimSpace(line.String()), strings.ReplaceAll(indented.String(), "\n", " ")} { // a line break ends the lab's texts
				if !accepts(m, r, text, from) {
					g, _ := jsongrammar.Of([]byte(schema))
					t.Fatalf("%s\ndoes not accept %s\n%s", schema, text, g)
				}
			}
		}
	}
	if ended < 600 {
		t.Errorf("%d texts came to an end", ended)
	}
}

// Recursive schemas, any JSON, and what tells the parts of oneOf from each other.
func TestSchemas(t *testing.T) {
	m := load(t)
	from := firstByte(t, m)
	tree := `{"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["v"], "additionalProperties": false}}}`
	shapes := `{"oneOf": [
		{"type": "object", "properties": {"kind": {"const": "dot"}, "at": {"type": "number"}}, "required": ["kind"], "additionalProperties": false},
		{"type": "object", "properties": {"kind": {"enum": ["line", "arc"]}}, "required": ["kind"], "additionalProperties": false},
		{"type": "null"}, {"enum": ["none"]}]}`
	for _, c := range []struct {
		schema   string
		yes, not []string
	}{
		{tree, []string{`{"v": 1}`, `{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3}]}`}, []string{`{}`, `{"v": 1, "kids": [1]}`, `{"kids": [], "v": 1}`}},
		{shapes, []string{`{"kind": "dot", "at": 1.5}`, `{"kind": "arc"}`, `null`, `"none"`}, []string{`{"kind": "dot", "kind": "arc"}`, `{"kind": "x"}`, `1`}},
		{`{}`, []string{`{"a": [1, -2.5e-3, "\u00e9", true, null, {}], "b": {"c": []}}`, `0`}, []string{`01`, `{"a" 1}`, `"\ud800"`, `[1,]`, ``}},
		{`true`, []string{`[ ]`, `"x"`}, []string{`nul`}},
		{`{"type": "object", "properties": {"age": {"type": "integer"}}, "additionalProperties": {"type": "string"}}`, []string{`{"ag": "x"}`, `{"age": 3, "agee": "x", "b": "y"}`, `{}`}, []string{`{"age": "x"}`, `{"\u0061ge": "x"}`}},
		{`{"type": "object", "required": ["id"], "properties": {"n": {"type": "null"}}}`, []string{`{"n": null, "id": [1]}`, `{"id": 1}`}, []string{`{"n": null}`, `{"id": 1, "x": 1}`}},
		{`{"type": "number", "minimum": 0, "maximum": 1}`, []string{`0`, `0.25`, `1`}, []string{`1.5`, `-0.1`, `2`}},
		{`{"type": "integer", "exclusiveMaximum": -5}`, []string{`-6`, `-1234`}, []string{`-5`, `0`, `6`}},
		{`{"allOf": [{"type": "boolean"}], "title": "x"}`, []string{`true`}, []string{`1`}},
	} {
		s, r := compile(t, c.schema), rules(t, m, c.schema)
		for _, text := range c.yes {
			instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err != nil || s.Validate(instance) != nil {
				t.Fatalf("%s: the test's own %s is not valid", c.schema, text)
			}
			if !accepts(m, r, text, from) {
				t.Errorf("%s does not accept %s", c.schema, text)
			}
		}
		for _, text := range c.not {
			if accepts(m, r, text, from) {
				t.Errorf("%s accepts %s", c.schema, text)
			}
		}
	}
}

// What is not supported is an error that says where in the schema it stands.
func TestErrors(t *testing.T) {
	for schema, want := range map[string]string{
		`{"type": "string"`: "the JSON schema is no JSON",
		`[]`:                "at #: [] is no schema",
		`{"not": {}}`:       `at #: the keyword "not" is not supported`,
		`false`:             "at #: no value is valid",
		`{"type": "text"}`:  `at #: type "text"`,
		`{"properties": {"a": {"properties": {"b": {"type": "array", "contains": {}}}}}}`: `at #/properties/a/properties/b: the keyword "contains"`,
		`{"properties": {"a/b": {"if": {}}}}`:                                             `at #/properties/a~1b: the keyword "if"`,
		`{"items": {"multipleOf": 3}}`:                                                    `at #/items: the keyword "multipleOf"`,
		`{"$ref": "other.json"}`:                                                          `at #/$ref: "other.json" is not supported`,
		`{"$ref": "#/$defs/x"}`:                                                           `there is no #/$defs/x`,
		`{"$ref": "#"}`:                                                                   `at #/$ref: # refers to itself`,
		`{"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}, "$ref": "#/$defs/a"}`:                                                     `#/$defs/a refers to itself`,
		`{"anyOf": [{"type": "null"}], "minLength": 3}`:                                                                                                   `at #: "minLength" beside "anyOf"`,
		`{"oneOf": [{"type": "integer"}, {"type": "number"}]}`:                                                                                            `at #/oneOf: a value may be valid by both 0 and 1`,
		`{"oneOf": [{"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"a": {"const": 1.0}}, "required": ["a"]}]}`: `valid by both 0 and 1`,
		`{"allOf": [{}, {}]}`:                                                   `at #/allOf: allOf of 2 schemas`,
		`{"type": "string", "pattern": "a"}`:                                    `at #/pattern: "a" matches parts of a text (begin with ^`,
		`{"type": "string", "pattern": "^(?=a)b$"}`:                             `at #/pattern: "^(?=a)b$" is no regular expression`,
		`{"type": "string", "pattern": "^a\\bb$"}`:                              `is not supported within a pattern`,
		`{"type": "string", "format": "email"}`:                                 `at #/format: the format "email"`,
		`{"type": "string", "minLength": 5, "maxLength": 3}`:                    `minLength 5 is above maxLength 3`,
		`{"type": "string", "maxLength": 100000}`:                               `at #/maxLength: maxLength is 100000 (give a number from 0 to 1000)`,
		`{"type": "integer", "minimum": 3, "maximum": 2}`:                       `at #: no number that can be written lies within its bounds`,
		`{"type": "integer", "minimum": true}`:                                  `at #/minimum: minimum is true`,
		`{"type": "array", "uniqueItems": true}`:                                `the keyword "uniqueItems"`,
		`{"type": "array", "items": [{}]}`:                                      `at #/items: a list of schemas is not supported (write prefixItems)`,
		`{"type": "array", "prefixItems": [{}], "items": false, "minItems": 2}`: `2 items at least, and 1 at most`,
		`{"type": "object", "required": ["x"], "additionalProperties": false}`:  `at #/required: "x" is required, and not allowed`,
		`{"enum": []}`:                       `at #/enum: no values are allowed`,
		`{"type": "string", "enum": [1]}`:    `none of the values is of the type`,
		`{"minimum": 1, "minLength": 2}`:     `keywords of several types`,
		`{"type": []}`:                       `no types are allowed`,
		`{"type": "object", "type": "null"}`: `the key "type" stands twice`,
	} {
		_, err := jsongrammar.Of([]byte(schema))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", schema, err, want)
		}
	}
	// One that no finite value satisfies has a grammar that says so.
	g, err := jsongrammar.Of([]byte(`{"properties": {"a": {"$ref": "#"}}, "required": ["a"]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := llama.CheckGrammar(g, ""); err == nil || !strings.Contains(err.Error(), "no text can satisfy it") {
		t.Error(err)
	}
}
