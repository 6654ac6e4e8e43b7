package reward

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// openJSON makes "json", 1 where the response is one JSON value and nothing else but white space, and
// 0 where it is not, as an empty response. "json:SCHEMA.json" asks for more:
//
//	R = 0 no JSON, 1/2 JSON that does not fit the JSON schema of the file, 1 JSON that fits it
//
// The half is there for learning: at first hardly any response fits, and a value function needs
// something to tell apart. Without a file, a record's own field "schema" or "json_schema" (an
// object, or a text that holds one) is its schema. "json:fenced" and "json:fenced:SCHEMA.json" also take the
// value out of a Markdown fence (```json), where it is all that the response has.
//
// Schemas are of draft 4 to 2020-12 and stand alone: a reference to another file or address
// is refused. Numbers outside the range of a float64 fit no schema.
func openJSON(argument string, _ Options) (Model, error) {
	fenced, path := false, argument
	if rest, ok := strings.CutPrefix(argument, "fenced"); ok && (rest == "" || rest[0] == ':') {
		fenced, path = true, strings.TrimPrefix(rest, ":")
	}
	schemaOf, key := recordSchema, "its own"
	if path != "" {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("the JSON schema of the reward: %w", err)
		}
		schema, err := compileSchema(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		schemaOf = func(prompt.Record) (*jsonschema.Schema, error) { return schema, nil }
		key = digest(content)
	}
	return rule{
		info:  Info{Name: name("json", argument), Fingerprint: fmt.Sprintf("json 1 fenced=%t schema=%s", fenced, key), Hi: 1},
		needs: func(p prompt.Record) error { _, err := schemaOf(p); return err },
		score: func(it Item) (float64, error) {
			schema, err := schemaOf(it.Prompt)
			if err != nil {
				return 0, err
			}
			text := it.Response
			if fenced {
				text = unfence(text)
			}
			return scoreJSON(text, schema), nil
		},
	}, nil
}

// scoreJSON scores a text; schema may be nil.
func scoreJSON(text string, schema *jsonschema.Schema) float64 {
	if !json.Valid([]byte(text)) {
		return 0
	}
	if schema == nil {
		return 1
	}
	// The validator computes with numbers of any size, for as long as that takes: a response
	// may well say 1e999999.
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil || schema.Validate(value) != nil {
		return 0.5
	}
	return 1
}

// unfence is what stands between the fences of a text that is one fenced block, else the text.
func unfence(text string) string {
	inner, ok := strings.CutPrefix(strings.TrimSpace(text), "```")
	inner, closed := strings.CutSuffix(inner, "```")
	language, inner, lines := strings.Cut(inner, "\n")
	if language = strings.TrimSpace(language); ok && closed && lines && (language == "" || strings.EqualFold(language, "json")) {
		return inner
	}
	return text
}

// recordSchema is the schema that a record brings along, or nil.
func recordSchema(p prompt.Record) (*jsonschema.Schema, error) {
	for _, field := range []string{"schema", "json_schema"} {
		raw := p.Fields[field]
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var text string // columns of tables hold schemas as texts
		if json.Unmarshal(raw, &text) == nil {
			raw = json.RawMessage(text)
		}
		schema, err := compileSchema(raw)
		if err != nil {
			return nil, fmt.Errorf("its field %q: %w", field, err)
		}
		return schema, nil
	}
	return nil, nil
}

// here is a schema's address, which is no place that anything could be loaded from.
const here = "schema:///"

// alone refuses all that a schema refers to outside itself.
type alone struct{}

func (alone) Load(url string) (any, error) {
	return nil, fault.New("", "reward", nil, `put what it refers to under its "$defs"`, "it refers to %s, which is not loaded", strings.TrimPrefix(url, here))
}

func compileSchema(content []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("no JSON schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(alone{})
	if err := c.AddResource(here, doc); err != nil {
		return nil, fmt.Errorf("no JSON schema: %w", err)
	}
	schema, err := c.Compile(here)
	if err != nil {
		return nil, fmt.Errorf("no JSON schema: %w", reason(err))
	}
	return schema, nil
}

// reason is what an error of the compiler, which is a tree of lines, comes down to.
func reason(err error) error {
	var load *jsonschema.LoadURLError
	var schema *jsonschema.SchemaValidationError
	var invalid *jsonschema.ValidationError
	if errors.As(err, &load) {
		return load.Err
	}
	if !errors.As(err, &schema) || !errors.As(schema.Err, &invalid) {
		return err
	}
	for len(invalid.Causes) > 0 {
		invalid = invalid.Causes[0]
	}
	return invalid
}
