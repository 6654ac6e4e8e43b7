package serve

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
)

// Answers have the form that is asked for, whatever guides them.
func TestFormats(t *testing.T) {
	o := options(t)
	o.Size = 1024 // more than the model has learned on: tools take a long prompt
	_, url := start(t, o)
	schema := tree{"type": "object", "properties": tree{"colour": tree{"enum": []string{"red", "blue"}}}, "required": []string{"colour"}, "additionalProperties": false}
	for name, guidance := range map[string]tree{"plain": {}, "block-beam": {"method": "block-beam", "beams": 2, "block": 3, "reward": "taste"}, "tokenwise": {"method": "tokenwise", "candidates": 3, "reward": "taste"}} {
		for path, fields := range map[string]tree{
			"/v1/chat/completions": {"messages": post, "max_tokens": 60, "response_format": tree{"type": "json_schema", "json_schema": tree{"name": "a", "schema": schema}}},
			"/v1/responses":        {"input": "i found a lamp", "max_output_tokens": 60, "text": tree{"format": tree{"type": "json_schema", "name": "a", "schema": schema}}},
		} {
			fields["guidance"], fields["seed"] = guidance, 5
			status, _, text := ask(t, url+path, body(t, fields))
			reply := parse(t, text)
			said, _ := at(reply, "choices", 0, "message", "content").(string)
			if path == "/v1/responses" {
				said, _ = at(reply, "output", 0, "content", 0, "text").(string)
			}
			var answer struct{ Colour string }
			if err := json.Unmarshal([]byte(said), &answer); status != 200 || err != nil || answer.Colour != "red" && answer.Colour != "blue" {
				t.Errorf("%s %s: %d %s (%v)", path, name, status, text, err)
			}
		}
		_, _, text := ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "max_tokens": 60, "seed": 5, "guidance": guidance, "tool_choice": "required", "tools": []tree{
			{"type": "function", "function": tree{"name": "paint", "parameters": schema}}, {"type": "function", "function": tree{"name": "wash", "parameters": schema}},
		}}))
		call := at(parse(t, text), "choices", 0, "message", "tool_calls", 0, "function")
		if name := at(call, "name"); name != "paint" && name != "wash" || !strings.Contains(fmt.Sprint(at(call, "arguments")), "colour") {
			t.Errorf("%s: %s", name, text)
		}
	}
	_, _, text := ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "max_tokens": 9, "grammar": `root ::= "yes" | "no"`}))
	if said := at(parse(t, text), "choices", 0, "message", "content"); said != "yes" && said != "no" {
		t.Error(text)
	}
	for fields, param := range map[string]string{
		`"response_format": 5`: "response_format", `"response_format": {"type": "xml"}`: "response_format.type", `"response_format": {"type": "json_schema"}`: "response_format.json_schema",
		`"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}`: "response_format.json_schema.schema", `"grammar": 5`: "grammar",
		`"logit_bias": [1]`: "logit_bias", `"logit_bias": {"x": 1}`: "logit_bias", `"logit_bias": {"99999999": 1}`: "logit_bias", `"logit_bias": {"5": 101}`: "logit_bias.5", `"logit_bias": {"5": "a"}`: "logit_bias.5",
		`"reasoning_effort": "much"`: "reasoning_effort", `"min_tokens": -1`: "min_tokens",
	} {
		status, _, text := ask(t, url+"/v1/chat/completions", `{"messages": [{"role": "user", "content": "hi"}], `+fields+`}`)
		if status != 400 || at(parse(t, text), "error", "param") != param {
			t.Errorf("%s: %d %s", fields, status, text)
		}
	}
	if status, _, text := ask(t, url+"/v1/chat/completions", `{"messages": [{"role": "user", "content": "hi"}], "grammar": "root ::= ("}`); status != 400 {
		t.Errorf("a broken grammar: %d %s", status, text)
	}
	var many strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&many, `,"%d":1`, i)
	}
	if status, _, text := ask(t, url+"/v1/chat/completions", `{"messages": [{"role": "user", "content": "hi"}], "logit_bias": {`+many.String()[1:]+`}}`); status != 400 {
		t.Errorf("a megabyte of biases: %d %s", status, text)
	}
}

// A bias of -100 rules a token out, and one of 100 makes it the only one.
func TestLogitBias(t *testing.T) {
	_, url := start(t, options(t))
	_, _, text := ask(t, url+"/tokenize", `{"content": " lamp"}`)
	tokens := at(parse(t, text), "tokens").([]any)
	token := fmt.Sprint(tokens[len(tokens)-1])
	_, _, text = ask(t, url+"/v1/completions", body(t, tree{"prompt": "i found a", "max_tokens": 3, "logit_bias": tree{token: 100}}))
	if said := at(parse(t, text), "choices", 0, "text"); said != " lamp lamp lamp" {
		t.Errorf("%s", text)
	}
}

// The alternatives of a token are the likeliest, the likeliest first.
func TestTopLogprobs(t *testing.T) {
	_, url := start(t, options(t))
	_, _, text := ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "max_tokens": 6, "seed": 7, "logprobs": true, "top_logprobs": 5}))
	for i, token := range at(parse(t, text), "choices", 0, "logprobs", "content").([]any) {
		top := at(token, "top_logprobs").([]any)
		last := math.Inf(1)
		for _, alternative := range top {
			p := at(alternative, "logprob").(float64)
			if p > last || at(alternative, "bytes") == nil {
				t.Errorf("token %d: %v", i, top)
			}
			if last = p; at(alternative, "token") == at(token, "token") && math.Abs(p-at(token, "logprob").(float64)) > 1e-3 {
				t.Errorf("token %d has another log-probability among the likeliest: %v", i, token)
			}
		}
		if len(top) != 5 {
			t.Errorf("token %d: %d alternatives", i, len(top))
		}
	}
	_, _, text = ask(t, url+"/v1/completions", body(t, tree{"prompt": "i found a", "max_tokens": 3, "logprobs": 3}))
	if top, _ := at(parse(t, text), "choices", 0, "logprobs", "top_logprobs", 0).(tree); len(top) != 3 {
		t.Error(text)
	}
}
