package batch_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ivo-decoding/ivo/internal/jsongrammar"
	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// Schemas of bounded length, each with what it is asked for.
var schemas = []struct{ ask, schema string }{
	{"Describe a person.", `{"type": "object", "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 16}, "age": {"type": "integer", "minimum": 0, "maximum": 120}, "mood": {"enum": ["glad", "sad", "calm"]}}, "required": ["name", "age", "mood"], "additionalProperties": false}`},
	{"List colours of the rainbow.", `{"type": "array", "items": {"type": "string", "pattern": "^[a-z]{3,8}$"}, "minItems": 2, "maxItems": 4}`},
	{"Rate this film: it was long, and I laughed twice.", `{"type": "object", "properties": {"score": {"type": "number", "minimum": 0, "maximum": 10}, "why": {"type": "string", "maxLength": 40}, "seen": {"type": ["boolean", "null"]}}, "required": ["score", "why"]}`},
	{"When does the next train leave, and from where?", `{"type": "object", "properties": {"on": {"type": "string", "format": "date"}, "from": {"$ref": "#/$defs/place"}, "to": {"$ref": "#/$defs/place"}}, "required": ["on", "from"], "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string", "minLength": 2, "maxLength": 12}, "track": {"type": "integer", "minimum": 1, "maximum": 24}}, "required": ["city"], "additionalProperties": false}}}`},
	{"Draw something.", `{"oneOf": [{"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number", "exclusiveMinimum": 0, "maximum": 100}}, "required": ["kind", "r"], "additionalProperties": false}, {"type": "object", "properties": {"kind": {"const": "line"}, "to": {"type": "array", "prefixItems": [{"type": "integer", "minimum": -9, "maximum": 9}, {"type": "integer", "minimum": -9, "maximum": 9}], "items": false, "minItems": 2}}, "required": ["kind", "to"], "additionalProperties": false}]}`},
}

// schemaTokens are enough for the longest of their answers, whatever is in it: forty signs of four tokens each, and the rest.
const schemaTokens = 320

// With a real model, by every method that is guided, answers under a JSON schema are JSON that it validates. IVO_SCHEMA_ANSWERS
// is the number of answers by each method, and IVO_SCHEMA_HEAD the file of a head for the model's states that guides them in the
// place of a count of letters: docs/log.md has what 200 gave.
//
//	IVO_SCHEMA_ANSWERS=200 IVO_SCHEMA_HEAD=runs/first/iter-01/head.gguf go test ./orchestrator/batch -timeout 2h -v -run TestSchemaAnswers
func TestSchemaAnswers(t *testing.T) {
	path := testmodel.SmolLM2(t)
	n := 2
	if s := os.Getenv("IVO_SCHEMA_ANSWERS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	encoder, err := prompt.NewEncoder(m, prompt.Options{Chat: true})
	if err != nil {
		t.Fatal(err)
	}
	guide := func(g decode.Guide) decode.Guide {
		g.TopK, g.Beta = 2, 1
		return g
	}
	strategies := []decode.Strategy{
		{Method: decode.MethodBestOfN, N: 2},
		{Method: decode.MethodTokenwise, Guide: guide(decode.Guide{Rest: decode.RestParent})},
		{Method: decode.MethodGreedy, Guide: guide(decode.Guide{Rest: decode.RestNone})},
		{Method: decode.MethodBlockSampling, Beam: decode.Beam{Block: 4}, Guide: guide(decode.Guide{Rest: decode.RestMean})},
		{Method: decode.MethodOnePass, Guide: guide(decode.Guide{Rest: decode.RestParent})},
		{Method: decode.MethodBlockBestOfK, N: 2, Beam: decode.Beam{Block: 6}},
		{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 6}},
	}
	values, layers := value.Source(value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
		out := make([]float64, len(texts))
		for i, text := range texts {
			out[i] = float64(strings.Count(text, "e"))
		}
		return out, nil
	})), []int(nil)
	if file := os.Getenv("IVO_SCHEMA_HEAD"); file != "" {
		learned, err := value.Open(value.Options{Heads: []string{file}})
		if err != nil {
			t.Fatal(err)
		}
		defer learned.Close()
		if err := learned.CheckPolicy(m); err != nil {
			t.Fatal(err)
		}
		if values, layers = learned.Source, learned.Layers; values.Advantages() { // draws can be tilted by it
			strategies = append(strategies, decode.Strategy{Method: decode.MethodSample, Proposal: 2},
				decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 6}, Proposal: 2})
		}
	}
	e, err := engine.New(m, engine.Params{Ctx: 16384, Sequences: 64, Threads: 1, Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, s := range strategies {
		s.RawBeta = layers == nil
		name := string(s.Method)
		if s.Proposal != 0 {
			name += ", tilted"
		}
		t.Run(name, func(t *testing.T) {
			testSchemaAnswers(t, e, encoder, s, values, n)
		})
	}
}

// testSchemaAnswers has n answers under all schemas in turn, all at once.
func testSchemaAnswers(t *testing.T, e *engine.Engine, encoder *prompt.Encoder, s decode.Strategy, values value.Source, n int) {
	var mu sync.Mutex
	valid, failed := 0, []string{}
	var jobs []engine.Job
	for i := range n {
		c := schemas[i%len(schemas)]
		grammar, err := jsongrammar.Of([]byte(c.schema))
		if err != nil {
			t.Fatal(err)
		}
		schema := validator(t, c.schema)
		req := decode.Request{Key: policy.Key(1, 0, "", i), Value: values, Sampling: policy.Sampling{Temp: 1, TopP: 0.95, Grammar: grammar}, MaxTokens: schemaTokens}
		if req.Prompt, err = encoder.Encode(prompt.Record{Messages: []llama.Message{{Role: "user", Content: fmt.Sprintf("%s Answer number %d, as JSON.", c.ask, i)}}}); err != nil {
			t.Fatal(err)
		}
		job, err := s.Job(e, req, func(r decode.Response) {
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(r.Text))
			if err == nil {
				err = schema.Validate(doc)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, fmt.Sprintf("%q (%s): %v", r.Text, r.Finish, err))
			} else {
				valid++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job)
	}
	if err := e.Run(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d parse and validate", valid, n)
	if valid != n {
		t.Errorf("%d of %d answers are valid; not %s", valid, n, strings.Join(failed, "\n"))
	}
}

func validator(t *testing.T, schema string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("s.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("s.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
