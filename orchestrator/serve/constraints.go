package serve

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/internal/jsongrammar"
	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/serve/toolcall"
)

const (
	maxBiases  = 1024
	maxGrammar = 64 << 10 // bytes
	maxSchema  = 64 << 10
)

// constrain reads what rules tokens out or makes them likelier: logit biases and a grammar.
func (s *Server) constrain(o *object, to *policy.Sampling) {
	to.MinTokens = o.whole("min_tokens", to.MinTokens, 0, 1<<30)
	to.IgnoreEOS = o.flag("ignore_eos", to.IgnoreEOS)
	if g := o.text("grammar"); len(g) > maxGrammar {
		o.fail("grammar", "it has %d bytes, at most %d are taken", len(g), maxGrammar)
	} else if g != "" {
		to.Grammar = g
	}
	biases := o.object("logit_bias")
	if biases == nil {
		return
	}
	if n := len(biases.fields); n > maxBiases {
		o.fail("logit_bias", "%d tokens are given, at most %d are taken", n, maxBiases)
		return
	}
	to.LogitBias = maps.Clone(to.LogitBias)
	if to.LogitBias == nil {
		to.LogitBias = map[int32]number.Float{}
	}
	for _, name := range slices.Sorted(maps.Keys(biases.fields)) {
		token, err := strconv.ParseInt(name, 10, 32)
		if err != nil || token < 0 || int(token) >= s.o.Model.Info().Vocab {
			o.fail("logit_bias", "%q is no token of the model's %d", name, s.o.Model.Info().Vocab)
			return
		}
		if biases.has(name) {
			to.LogitBias[int32(token)] = number.Float(biases.number(name, 0, -100, 100))
		}
	}
}

// readFormat reads the form that the answer has to have, as a grammar; where names the object that says so.
func (q *question) readFormat(o *object, where string, flat bool) {
	f := o.object(where)
	if f == nil {
		return
	}
	schema := json.RawMessage(`{"type": "object"}`)
	if flat {
		f.object("schema") // which is an object, whether it is looked at or not
	}
	switch f.oneOf("type", "text", "json_object", "json_schema") {
	case "text":
		return
	case "json_schema":
		if !flat {
			if f = f.object("json_schema"); f == nil {
				o.fail(where+".json_schema", "give the schema: its name and the schema itself")
				return
			}
		}
		if schema = f.raw("schema"); schema == nil {
			schema = json.RawMessage(`{}`)
		}
		f.object("schema") // of which kind it is
	}
	if o.problem() == nil {
		q.form(o, f.path+"schema", schema)
	}
}

// form lets the answer be JSON of a schema, which stands at a path.
func (q *question) form(o *object, path string, schema json.RawMessage) {
	if len(schema) > maxSchema {
		*o.err = bad(path, "%s: the schema has %d bytes, at most %d are taken", path, len(schema), maxSchema)
		return
	}
	grammar, err := jsongrammar.Of(schema)
	if err != nil {
		*o.err = bad(path, "%s: %v", path, err)
		return
	}
	q.way.policy.Sampling.Grammar = grammar
}

// mustCall lets the answer be nothing but a call of a tool, where the request wants one: by a grammar of
// the tools' schemas.
func (q *question) mustCall(o *object) {
	t := q.tools
	if t.choice == "auto" || t.choice == "none" || o.problem() != nil {
		return
	}
	var calls []string
	for _, tool := range t.tools {
		if t.choice != "required" && t.choice != tool.Name {
			continue
		}
		args := string(tool.Parameters)
		if args == "" {
			args = `{"type": "object"}`
		}
		calls = append(calls, `{"type": "object", "properties": {"name": {"const": `+string(encode(tool.Name))+`}, "arguments": `+args+`}, "required": ["name", "arguments"], "additionalProperties": false}`)
	}
	schema := calls[0]
	if len(calls) > 1 {
		schema = `{"anyOf": [` + strings.Join(calls, ", ") + `]}`
	}
	q.form(o, "tools", json.RawMessage(schema))
	t.form = toolcall.Plain
}

// efforts are the most tokens of thought by the API's words for them; those of high are not bounded.
var efforts = map[string]int{"none": 0, "minimal": 64, "low": 256, "medium": 1024, "high": -1, "xhigh": -1}

// think reads how much the model may think before it answers, and tells the template.
func (q *question) think(o *object, effort string, vars map[string]any) map[string]any {
	t := &q.way.policy.Thoughts
	if effort != "" {
		budget, ok := efforts[effort]
		if !ok {
			o.fail("reasoning_effort", "%q is none of %q", effort, slices.Sorted(maps.Keys(efforts)))
		}
		if t.Limited, t.Budget = budget >= 0, max(budget, 0); vars == nil {
			vars = map[string]any{}
		}
		for name, v := range map[string]any{"reasoning_effort": effort, "enable_thinking": effort != "none"} {
			if _, said := vars[name]; !said {
				vars[name] = v
			}
		}
	}
	if o.has("reasoning_budget") {
		budget := o.whole("reasoning_budget", -1, -1, 1<<30)
		t.Limited, t.Budget = budget >= 0, max(budget, 0)
	}
	return vars
}
