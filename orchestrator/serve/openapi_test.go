package serve

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// description is the served OpenAPI description, compiled piece by piece.
type description struct {
	doc      tree
	compiler *jsonschema.Compiler
}

func describe(t *testing.T, url string) *description {
	t.Helper()
	_, _, text := ask(t, url+"/openapi.json", "")
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("http://ivo/openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return &description{parse(t, text), c}
}

// check holds a JSON text against a schema of the description.
func (d *description) check(t *testing.T, pointer, text string) error {
	t.Helper()
	schema, err := d.compiler.Compile("http://ivo/openapi.json#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return schema.Validate(v)
}

// What is described is what there is, and replies have the shapes that are described.
func TestOpenAPI(t *testing.T) {
	o := options(t)
	o.Shelf = shelved(t)
	_, url := start(t, o)
	d := describe(t, url)
	_, _, runs := ask(t, url+"/runs", "")
	_, _, prompts := ask(t, url+"/prompts", "")
	ids := strings.NewReplacer("{model}", "lab", "{run}", at(parse(t, runs), "runs", 0, "id").(string), "{list}", at(parse(t, prompts), "prompts", 0, "id").(string))
	for path, item := range d.doc["paths"].(tree) {
		for method := range item.(tree) {
			req, err := http.NewRequest(strings.ToUpper(method), url+ids.Replace(path), strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode == 404 || res.StatusCode == 405 || res.StatusCode >= 500 {
				t.Errorf("%s %s is described, and gives %d", method, path, res.StatusCode)
			}
		}
	}
	const schemas = "/components/schemas/"
	for _, c := range []struct{ path, body, request, reply string }{
		{"/v1/chat/completions", `{"messages": [{"role": "user", "content": "i found a lamp"}], "max_tokens": 4, "logprobs": true, "n": 2}`, "ChatRequest", "ChatCompletion"},
		{"/v1/chat/completions", `{"messages": [{"role": "user", "content": "i found a lamp"}], "max_tokens": 4, "guidance": {"method": "tokenwise", "reward": "taste", "candidates": 2}}`, "ChatRequest", "ChatCompletion"},
		{"/v1/completions", `{"prompt": ["i found", "a lamp"], "max_tokens": 4, "logprobs": 0}`, "CompletionRequest", "Completion"},
		{"/v1/responses", `{"input": "i found a lamp", "max_output_tokens": 4}`, "ResponseRequest", "Response"},
		{"/v1/embeddings", `{"input": "i found a lamp"}`, "EmbeddingRequest", "Embeddings"},
		{"/v1/chat/completions", `{"messages": 5}`, "", "Error"},
		{"/v1/responses", `{"input": "a", "previous_response_id": "b"}`, "", "Error"},
		{"/props", "", "", "Props"},
		{"/v1/models/lab", "", "", "Model"},
		{"/v1/models/other", "", "", "Error"},
	} {
		if c.request != "" {
			if err := d.check(t, schemas+c.request, c.body); err != nil {
				t.Errorf("%s: %s is not as described: %v", c.path, c.body, err)
			}
		}
		_, _, text := ask(t, url+c.path, c.body)
		if err := d.check(t, schemas+c.reply, text); err != nil {
			t.Errorf("%s %s: %s is no %s: %v", c.path, c.body, text, c.reply, err)
		}
	}
	// What is described as wrong is refused.
	for field, values := range map[string][]any{
		"temperature": {"a", -1, true}, "top_p": {2, "x"}, "n": {0, 1.5, "2"}, "stop": {5, []any{""}, []any{1}}, "stream": {1, "true"}, "max_tokens": {0, "1", 1 << 20},
		"top_logprobs": {21, -1}, "logprobs": {1}, "seed": {"1", 0.5, json.Number("-9223372036854775809")}, "tools": {5, []any{1}}, "guidance": {1, tree{"beams": 0}, tree{"method": "x"}, tree{"beta": "2"}},
		"presence_penalty": {"1"}, "chat_template_kwargs": {1}, "stream_options": {tree{"include_usage": 5}}, "model": {"other", 5}, "messages": {nil, []any{}, 1},
	} {
		for _, v := range values {
			fields := tree{"messages": post}
			fields[field] = v
			text := body(t, fields)
			if d.check(t, schemas+"ChatRequest", text) == nil {
				t.Errorf("%s = %v is described as right", field, v)
			}
			if status, _, reply := ask(t, url+"/v1/chat/completions", text); status < 400 || status >= 500 || !json.Valid([]byte(reply)) {
				t.Errorf("%s = %v: %d %s", field, v, status, reply)
			}
		}
	}
}
