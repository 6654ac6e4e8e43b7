package serve

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// reciter answers with a text that it was given, a few bytes at a time, whatever it is asked.
type reciter struct {
	text  string
	asked []batch.Task
}

func (r *reciter) answer(_ context.Context, _ *batch.Policy, t batch.Task, emit func([]byte)) (decode.Response, error) {
	r.asked = append(r.asked, t)
	for b := []byte(r.text); len(b) > 0; b = b[min(3, len(b)):] {
		emit(b[:min(3, len(b))])
	}
	return decode.Response{Text: r.text, Finish: decode.FinishEOG, Tokens: []int32{1, 2}, LogProbs: []float32{-1, -2}}, nil
}

func (r *reciter) Close() error { return nil }

// recite is a server with a template, whose model says a text.
func recite(t *testing.T, template, text string) (*reciter, string) {
	t.Helper()
	o := options(t)
	e, err := prompt.NewEncoder(o.Model, prompt.Options{Template: template})
	if err != nil {
		t.Fatal(err)
	}
	o.Encoder, o.Size = e, 2048
	o.Context.Cells = 2048
	s, url := start(t, o)
	r := &reciter{text: text}
	if err := s.decoder.Close(); err != nil {
		t.Fatal(err)
	}
	s.decoder = r
	return r, url
}

const hermes = `{% if tools %}tools: {{ tools | tojson }}
{% endif %}{% for m in messages %}{{ m.role }}: {{ m.content or '' }}{% for c in m.tool_calls or [] %}
<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}
{% endfor %}`

var weather = []tree{{"type": "function", "function": tree{"name": "weather", "description": "The weather.", "parameters": tree{"type": "object", "properties": tree{"city": tree{"type": "string"}}}}}}

// Calls are told in the API's shape, whole and streamed, and those of the conversation are shown to the model as
// its template writes them.
func TestTools(t *testing.T) {
	r, url := recite(t, hermes, "I look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bodø\"}}\n</tool_call>")
	fields := tree{"messages": []tree{
		{"role": "user", "content": "How is it in Oslo?"},
		{"role": "assistant", "content": nil, "tool_calls": []tree{{"id": "abcdefghi", "type": "function", "function": tree{"name": "weather", "arguments": `{"city": "Oslo"}`}}}},
		{"role": "tool", "tool_call_id": "abcdefghi", "content": "rain"},
		{"role": "user", "content": "And in Bodø?"},
	}, "tools": weather}
	check := func(message tree, what string) {
		t.Helper()
		call := at(message, "tool_calls", 0)
		if at(message, "content") != "I look." || at(call, "type") != "function" || at(call, "function", "name") != "weather" || at(call, "function", "arguments") != `{"city": "Bodø"}` || at(call, "id") == "" {
			t.Errorf("%s: %v", what, message)
		}
	}
	status, _, text := ask(t, url+"/v1/chat/completions", body(t, fields))
	if status != 200 || at(parse(t, text), "choices", 0, "finish_reason") != "tool_calls" {
		t.Fatalf("%d %s", status, text)
	}
	check(at(parse(t, text), "choices", 0, "message").(tree), "whole")
	_, _, shown := ask(t, url+"/apply-template", body(t, fields))
	prompt := at(parse(t, shown), "prompt").(string)
	if !strings.HasPrefix(prompt, `tools: [{"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": `) || !strings.Contains(prompt, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>tool: rain") {
		t.Errorf("the model is shown %s", prompt)
	}
	if len(r.asked) != 1 || len(r.asked[0].Tokens) < 20 {
		t.Errorf("asked %d times", len(r.asked))
	}

	fields["stream"] = true
	_, _, text = ask(t, url+"/v1/chat/completions", body(t, fields))
	chunks, _ := events(t, text)
	whole := tree{"content": ""}
	finish := any(nil)
	for _, c := range chunks {
		if s, ok := at(c, "choices", 0, "delta", "content").(string); ok {
			whole["content"] = whole["content"].(string) + s
		}
		if calls := at(c, "choices", 0, "delta", "tool_calls"); calls != nil {
			whole["tool_calls"] = calls
			if at(calls, 0, "index") != 0.0 {
				t.Errorf("a call without its number: %v", calls)
			}
		}
		if f := at(c, "choices", 0, "finish_reason"); f != nil {
			finish = f
		}
	}
	if check(whole, "streamed"); finish != "tool_calls" {
		t.Errorf("finished by %v", finish)
	}

	// Tools that must not be called are not looked for.
	fields["stream"], fields["tool_choice"] = false, "none"
	_, _, text = ask(t, url+"/v1/chat/completions", body(t, fields))
	if s, _ := at(parse(t, text), "choices", 0, "message", "content").(string); !strings.Contains(s, "<tool_call>") {
		t.Errorf("a call where there may be none: %s", text)
	}
}

// A model whose template knows no tools is told of them in the system prompt, and answers with an object.
func TestToolsOfAnyModel(t *testing.T) {
	_, url := recite(t, template, `{"name": "weather", "arguments": {"city": "Oslo"}}`)
	_, _, text := ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "tools": weather}))
	if at(parse(t, text), "choices", 0, "message", "tool_calls", 0, "function", "name") != "weather" {
		t.Error(text)
	}
	_, _, text = ask(t, url+"/apply-template", body(t, tree{"messages": post, "tools": weather}))
	if s := at(parse(t, text), "prompt").(string); !strings.Contains(s, `"description":"The weather."`) {
		t.Error(s)
	}
}

func TestToolRefusals(t *testing.T) {
	_, url := recite(t, hermes, "no")
	for _, c := range []struct {
		fields tree
		param  string
	}{
		{tree{"tools": "x"}, "tools"},
		{tree{"tools": []any{1}}, "tools[0]"},
		{tree{"tools": []tree{{"type": "retrieval"}}}, "tools[0].type"},
		{tree{"tools": []tree{{"type": "function"}}}, "tools[0].function"},
		{tree{"tools": []tree{{"type": "function", "function": tree{"name": "a b"}}}}, "tools[0].function.name"},
		{tree{"tools": []tree{{"type": "function", "function": tree{"name": "a", "parameters": 1}}}}, "tools[0].function.parameters"},
		{tree{"tools": weather, "tool_choice": "always"}, "tool_choice"},
		{tree{"tools": weather, "tool_choice": tree{"type": "function", "function": tree{"name": "other"}}}, "tool_choice.function.name"},
		{tree{"tool_choice": "required"}, "tool_choice"},
		{tree{"messages": []tree{{"role": "assistant", "tool_calls": []tree{{"function": tree{"name": "a", "arguments": "{"}}}}}}, "messages[0].tool_calls"},
	} {
		if c.fields["messages"] == nil {
			c.fields["messages"] = post
		}
		status, _, text := ask(t, url+"/v1/chat/completions", body(t, c.fields))
		if status != 400 || at(parse(t, text), "error", "param") != c.param {
			t.Errorf("%v: %d %s", c.fields, status, text)
		}
	}
}

// Log-probabilities are the model's own, with the bytes of every token, which make the text.
func TestLogprobs(t *testing.T) {
	o := options(t)
	_, url := start(t, o)
	fields := tree{"messages": post, "max_tokens": 12, "seed": 7, "logprobs": true}
	_, _, text := ask(t, url+"/v1/chat/completions", body(t, fields))
	reply := parse(t, text)
	want, _ := direct(t, o, tree{})
	tokens := at(reply, "choices", 0, "logprobs", "content").([]any)
	var said []byte
	for i, token := range tokens {
		if got := at(token, "logprob").(float64); math.Abs(got-float64(want.LogProbs[i])) > 1e-3 {
			t.Errorf("token %d has log-probability %v, want %v", i, got, want.LogProbs[i])
		}
		for _, b := range at(token, "bytes").([]any) {
			said = append(said, byte(b.(float64)))
		}
	}
	if string(said) != want.Text {
		t.Errorf("the bytes make %q, the text is %q", said, want.Text)
	}
}

// In streams, those of a text come with it, by every method; and so do the values that are asked for.
func TestLogprobsStream(t *testing.T) {
	_, url := start(t, options(t))
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-3 })
	for _, method := range []string{"sample", "tokenwise", "block-beam", "block-best-of-k", "best-of-n"} {
		fields := tree{"messages": post, "max_tokens": 12, "seed": 7, "logprobs": true, "top_logprobs": 2, "guidance": tree{"method": method, "reward": "taste", "beams": 2, "block": 3, "samples": 2, "candidates": 3}}
		_, _, text := ask(t, url+"/v1/chat/completions", body(t, fields))
		want := at(parse(t, text), "choices", 0, "logprobs", "content").([]any)
		fields["stream"] = true
		_, _, text = ask(t, url+"/v1/chat/completions", body(t, fields))
		var tokens []any
		var said, spelled string
		chunks, _ := events(t, text)
		for _, c := range chunks {
			list, _ := at(c, "choices", 0, "logprobs", "content").([]any)
			tokens = append(tokens, list...)
			for _, token := range list {
				spelled += at(token, "token").(string)
			}
			part, _ := at(c, "choices", 0, "delta", "content").(string)
			// What several beams say by different tokens comes before any of these.
			if said += part; part != "" && said != spelled && !(method == "block-beam" && strings.HasPrefix(said, spelled)) {
				t.Errorf("%s: the text up to a chunk is %q, that of its tokens %q", method, said, spelled)
			}
		}
		if diff := cmp.Diff(want, tokens, near); diff != "" {
			t.Errorf("%s: %s", method, diff)
		}

		_, _, text = ask(t, url+"/v1/completions", body(t, tree{"prompt": "i found", "max_tokens": 6, "seed": 7, "logprobs": 1}))
		whole := at(parse(t, text), "choices", 0, "logprobs")
		_, _, text = ask(t, url+"/v1/completions", body(t, tree{"prompt": "i found", "max_tokens": 6, "seed": 7, "logprobs": 1, "stream": true}))
		parts := tree{}
		chunks, _ = events(t, text)
		for _, c := range chunks {
			lists, _ := at(c, "choices", 0, "logprobs").(tree)
			for name, list := range lists {
				before, _ := parts[name].([]any)
				parts[name] = append(before, list.([]any)...)
			}
		}
		if diff := cmp.Diff(whole, any(parts), near); diff != "" {
			t.Errorf("completions: %s", diff)
		}
	}

	o := options(t)
	o.Heads["brief"], o.Head = &value.Function{Source: value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
		out := make([]float64, len(texts))
		for i, text := range texts {
			out[i] = -float64(len(text))
		}
		return out, nil
	})}, "brief"
	_, url = start(t, o)
	_, _, text := ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "max_tokens": 12, "seed": 7, "stream": true, "guidance": tree{"values": true}}))
	var values []any
	chunks, _ := events(t, text)
	for i, c := range chunks {
		list, _ := at(c, "choices", 0, "ivo", "values").([]any)
		if i < len(chunks)-1 {
			values = append(values, list...)
		} else if diff := cmp.Diff(list[:len(values)], values); diff != "" || len(values) == 0 {
			t.Errorf("values at the end %v, on the way %v", list, values)
		}
	}
}

// Of a model that thinks, thoughts are told apart from the answer, are counted, and end where they are asked to.
func TestThoughts(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/lab-think.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	o := options(t)
	o.Model, o.Size = m, 400
	if o.Encoder, err = prompt.NewEncoder(m, prompt.Options{Template: template + " <think>"}); err != nil {
		t.Fatal(err)
	}
	_, url := start(t, o)
	const story = "i misplaced a yellow piano last week. i cracked a dusty helmet at work. that is all. i bought a red bell at work. yesterday, by the river, i auctioned a huge guitar."
	marks := float64(len(o.Encoder.Thinks().Close())) // which end a thought, and count with it
	long := 0.0
	for name, c := range map[string]struct {
		asked tree
		most  float64
	}{
		"high": {tree{"reasoning_effort": "high"}, math.Inf(1)}, "low": {tree{"reasoning_effort": "low"}, 256},
		"seven": {tree{"reasoning_budget": 7}, 7}, "none": {tree{"reasoning_effort": "none"}, 0},
	} {
		fields := tree{"messages": []tree{{"role": "user", "content": story}}, "max_tokens": 120, "seed": 7, "temperature": 0.7}
		for name, v := range c.asked {
			fields[name] = v
		}
		_, _, text := ask(t, url+"/v1/chat/completions", body(t, fields))
		whole := parse(t, text)
		thought, _ := at(whole, "choices", 0, "message", "reasoning_content").(string)
		answer, _ := at(whole, "choices", 0, "message", "content").(string)
		n, _ := at(whole, "usage", "completion_tokens_details", "reasoning_tokens").(float64)
		if (thought == "") != (c.most == 0) || answer == "" || strings.Contains(thought+answer, "think>") {
			t.Errorf("%s: thought %q, answered %q", name, thought, answer)
		}
		if total := at(whole, "usage", "completion_tokens").(float64); n > c.most+marks || n >= total || c.most <= 7 && n < c.most {
			t.Errorf("%s: %v of %v tokens are thought: %q", name, n, total, thought)
		}
		long = max(long, n-marks)

		fields["stream"] = true
		_, _, text = ask(t, url+"/v1/chat/completions", body(t, fields))
		var said, told string
		chunks, _ := events(t, text)
		for _, c := range chunks {
			part, _ := at(c, "choices", 0, "delta", "reasoning_content").(string)
			if told += part; part != "" && said != "" {
				t.Errorf("%s: %q is thought after %q was said", name, part, said)
			}
			part, _ = at(c, "choices", 0, "delta", "content").(string)
			said += part
		}
		if said != answer || told != thought {
			t.Errorf("%s: streamed %q after %q, want %q after %q", name, said, told, answer, thought)
		}

		fields = tree{"input": story, "max_output_tokens": 120, "seed": 7, "temperature": 0.7}
		if effort, ok := c.asked["reasoning_effort"]; ok {
			fields["reasoning"] = tree{"effort": effort}
		} else {
			fields["reasoning_budget"] = c.asked["reasoning_budget"]
		}
		_, _, text = ask(t, url+"/v1/responses", body(t, fields))
		reply := parse(t, text)
		items, _ := at(reply, "output").([]any)
		if thought != "" {
			if at(items[0], "type") != "reasoning" || at(items[0], "content", 0, "text") != thought || at(items[0], "content", 0, "type") != "reasoning_text" {
				t.Errorf("%s: %v, want the thought %q", name, items, thought)
			}
			items = items[1:]
		}
		if len(items) != 1 || at(items[0], "content", 0, "text") != answer || at(reply, "usage", "output_tokens_details", "reasoning_tokens") != n {
			t.Errorf("%s: %v, want the answer %q and %v tokens of thought", name, reply, answer, n)
		}
		fields["stream"] = true
		_, _, text = ask(t, url+"/v1/responses", body(t, fields))
		told, said = "", ""
		var kinds []string
		all, _ := events(t, text)
		for _, e := range all {
			kind := strings.TrimPrefix(at(e, "type").(string), "response.")
			switch kind {
			case "reasoning_text.delta":
				told += at(e, "delta").(string)
			case "output_text.delta":
				said += at(e, "delta").(string)
			default:
				kinds = append(kinds, kind)
			}
		}
		want := []string{"created", "in_progress"}
		if thought != "" {
			want = append(want, "output_item.added", "reasoning_text.done", "output_item.done")
		}
		want = append(want, "output_item.added", "content_part.added", "output_text.done", "content_part.done", "output_item.done", at(reply, "status").(string))
		if diff := cmp.Diff(want, kinds); diff != "" || told != thought || said != answer {
			t.Errorf("%s: streamed %q after %q: events %s", name, said, told, diff)
		}
	}
	if long <= 7 {
		t.Errorf("the model thinks %v tokens at most: nothing was bounded", long)
	}
}

func TestCompletions(t *testing.T) {
	_, url := start(t, options(t))
	prompt := post[0]["content"].(string) + "\nTL;DR:"
	fields := tree{"prompt": []string{prompt, "the dog"}, "max_tokens": 6, "seed": 7, "n": 2, "echo": true, "logprobs": 1}
	status, _, text := ask(t, url+"/v1/completions", body(t, fields))
	reply := parse(t, text)
	if status != 200 || len(at(reply, "choices").([]any)) != 4 || at(reply, "object") != "text_completion" {
		t.Fatalf("%d %s", status, text)
	}
	var texts []string
	for i := range 4 {
		texts = append(texts, at(reply, "choices", i, "text").(string))
		tokens := at(reply, "choices", i, "logprobs", "tokens").([]any)
		if n := len(at(reply, "choices", i, "logprobs", "token_logprobs").([]any)); n != len(tokens) || n == 0 {
			t.Errorf("choice %d: %d log-probabilities of %d tokens", i, n, len(tokens))
		}
	}
	if !strings.HasPrefix(texts[0], prompt) || !strings.HasPrefix(texts[3], "the dog") || texts[0] == texts[1] {
		t.Errorf("%q", texts)
	}
	fields["stream"] = true
	_, _, text = ask(t, url+"/v1/completions", body(t, fields))
	said := make([]string, 4)
	chunks, done := events(t, text)
	for _, c := range chunks {
		said[int(at(c, "choices", 0, "index").(float64))] += at(c, "choices", 0, "text").(string)
	}
	if diff := cmp.Diff(texts, said); diff != "" || !done {
		t.Error(diff)
	}

	// A prompt of tokens is that of their text.
	_, _, text = ask(t, url+"/tokenize", body(t, tree{"content": prompt, "add_special": true}))
	tokens := at(parse(t, text), "tokens")
	_, _, first := ask(t, url+"/v1/completions", body(t, tree{"prompt": prompt, "max_tokens": 6, "seed": 7}))
	_, _, second := ask(t, url+"/v1/completions", body(t, tree{"prompt": tokens, "max_tokens": 6, "seed": 7}))
	if a, b := at(parse(t, first), "choices", 0, "text"), at(parse(t, second), "choices", 0, "text"); a != b || a == nil {
		t.Errorf("%v of a text, %v of its tokens", a, b)
	}
	for body, param := range map[string]string{
		`{}`: "prompt", `{"prompt": []}`: "prompt", `{"prompt": ""}`: "prompt", `{"prompt": [[1, -1]]}`: "prompt[0][1]", `{"prompt": [1, 99999999]}`: "prompt[1]",
		`{"prompt": "a", "suffix": "b"}`: "suffix", `{"prompt": {"a": 1}}`: "prompt", `{"prompt": ["a", 1]}`: "prompt[1]", `{"prompt": "a", "logprobs": 99}`: "logprobs",
	} {
		status, _, text := ask(t, url+"/v1/completions", body)
		if status != 400 || at(parse(t, text), "error", "param") != param {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

// The answer of the responses API is that of a chat, and its events build it up.
func TestResponses(t *testing.T) {
	_, url := start(t, options(t))
	fields := tree{"input": post[0]["content"], "max_output_tokens": 12, "seed": 7, "tools": []tree{{"type": "web_search"}}, "include": []string{"message.output_text.logprobs"}, "metadata": tree{"a": "b"}}
	status, _, text := ask(t, url+"/v1/responses", body(t, fields))
	whole := parse(t, text)
	_, _, text = ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "max_tokens": 12, "seed": 7}))
	want := at(parse(t, text), "choices", 0, "message", "content")
	item := at(whole, "output", 0)
	if status != 200 || at(item, "content", 0, "text") != want || at(item, "type") != "message" || at(whole, "object") != "response" || at(whole, "metadata", "a") != "b" {
		t.Fatalf("%d %v, want %v", status, whole, want)
	}
	if at(whole, "status") == "incomplete" && at(whole, "incomplete_details", "reason") != "max_output_tokens" || len(at(item, "content", 0, "logprobs").([]any)) == 0 {
		t.Errorf("%v", whole)
	}

	fields["stream"] = true
	_, header, text := ask(t, url+"/v1/responses", body(t, fields))
	said := ""
	var kinds []string
	all, done := events(t, text)
	for i, e := range all {
		if at(e, "sequence_number") != float64(i) || !strings.Contains(text, "event: "+at(e, "type").(string)+"\ndata: ") {
			t.Errorf("event %d: %v", i, e)
		}
		if kind := at(e, "type").(string); kind == "response.output_text.delta" {
			if said += at(e, "delta").(string); at(e, "output_index") != 0.0 || at(e, "content_index") != 0.0 || at(e, "item_id") == nil {
				t.Errorf("a delta without its place: %v", e)
			}
		} else {
			kinds = append(kinds, strings.TrimPrefix(kind, "response."))
		}
	}
	order := []string{"created", "in_progress", "output_item.added", "content_part.added", "output_text.done", "content_part.done", "output_item.done", at(whole, "status").(string)}
	if diff := cmp.Diff(order, kinds); diff != "" || said != want || done || !strings.HasPrefix(header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("said %q, want %q; events %s", said, want, diff)
	}
	end := at(all[len(all)-1], "response").(tree)
	for _, name := range []string{"id", "created_at"} { // they are another response's
		delete(end, name)
		delete(whole, name)
	}
	same := func(v any) any {
		text := string(encode(v))
		return varying.ReplaceAllString(text, "")
	}
	if diff := cmp.Diff(same(whole), same(end)); diff != "" {
		t.Errorf("the stream's response is another: %s", diff)
	}
	for body, param := range map[string]string{
		`{}`: "input", `{"input": 5}`: "input", `{"input": "a", "previous_response_id": "resp_1"}`: "previous_response_id", `{"input": [{"role": "cook", "content": "a"}]}`: "input[0].role",
		`{"input": [{"role": "user", "content": [{"type": "input_image"}]}]}`: "input[0].content[0].type", `{"input": "a", "background": true}`: "background",
		`{"input": "a", "max_output_tokens": "b"}`: "max_output_tokens", `{"input": [{"type": "function_call", "call_id": "b", "name": "a", "arguments": "["}]}`: "input[0].arguments",
		`{"input": [{"type": "message"}]}`: "input[0].role", `{"input": [{"role": "user"}]}`: "input[0].content", `{"input": [{"role": "user", "content": null}]}`: "input[0].content",
		`{"input": [{"role": "user", "content": [{"type": "input_text"}]}]}`: "input[0].content[0].text", `{"input": [{"role": "user", "content": [{"text": "a"}]}]}`: "input[0].content[0].type",
		`{"input": [{"type": "function_call", "name": "a", "arguments": "{}"}]}`: "input[0].call_id", `{"input": [{"type": "function_call", "call_id": "b", "arguments": "{}"}]}`: "input[0].name",
		`{"input": [{"type": "function_call", "call_id": "b", "name": "a"}]}`: "input[0].arguments", `{"input": [{"type": "function_call_output", "output": "a"}]}`: "input[0].call_id",
		`{"input": ["a"]}`: "input[0]", `{"input": [{}]}`: "input[0].role", `{"input": [{"role": "user", "content": "a"}, {"type": "function_call_output", "call_id": "b"}]}`: "input[1].output",
		`{"input": [{"type": "item_reference", "id": "msg_1"}]}`: "input[0].id", `{"input": [{"id": "msg_1"}]}`: "input[0].id",
	} {
		status, _, text := ask(t, url+"/v1/responses", body)
		if status != 400 || at(parse(t, text), "error", "param") != param {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

// Calls of the responses API are items, and come back as such.
func TestResponsesTools(t *testing.T) {
	_, url := recite(t, hermes, "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bodø\"}}\n</tool_call>")
	fields := tree{"input": []tree{
		{"role": "user", "content": []tree{{"type": "input_text", "text": "How is it in Oslo?"}}},
		{"type": "reasoning", "summary": []any{}},
		{"type": "function_call", "call_id": "abcdefghi", "name": "weather", "arguments": `{"city": "Oslo"}`},
		{"type": "function_call_output", "call_id": "abcdefghi", "output": "rain"},
	}, "tools": []tree{{"type": "function", "name": "weather", "parameters": tree{"type": "object"}}}, "instructions": "Be brief."}
	_, _, text := ask(t, url+"/v1/responses", body(t, fields))
	item := at(parse(t, text), "output", 0)
	if at(item, "type") != "function_call" || at(item, "name") != "weather" || at(item, "arguments") != `{"city": "Bodø"}` || at(item, "call_id") == "" || at(parse(t, text), "status") != "completed" {
		t.Error(text)
	}
	fields["stream"] = true
	_, _, text = ask(t, url+"/v1/responses", body(t, fields))
	var kinds []string
	all, _ := events(t, text)
	for _, e := range all {
		kinds = append(kinds, strings.TrimPrefix(at(e, "type").(string), "response."))
	}
	if diff := cmp.Diff([]string{"created", "in_progress", "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done", "completed"}, kinds); diff != "" {
		t.Error(diff)
	}
}

// A text's vector has length 1, is the same in both encodings, and is nearer to that of a like text.
func TestEmbeddings(t *testing.T) {
	_, url := start(t, options(t))
	texts := []string{"i found a red lamp in the garden", "i found a blue lamp in the garden", "my friend lost the key"}
	_, _, text := ask(t, url+"/v1/embeddings", body(t, tree{"input": texts, "model": "lab"}))
	reply := parse(t, text)
	var vectors [][]float64
	for i := range texts {
		var v []float64
		sum := 0.0
		for _, x := range at(reply, "data", i, "embedding").([]any) {
			v = append(v, x.(float64))
			sum += x.(float64) * x.(float64)
		}
		if vectors = append(vectors, v); math.Abs(sum-1) > 1e-4 {
			t.Errorf("vector %d has length %v", i, math.Sqrt(sum))
		}
	}
	dot := func(a, b []float64) (sum float64) {
		for i := range a {
			sum += a[i] * b[i]
		}
		return sum
	}
	if near, far := dot(vectors[0], vectors[1]), dot(vectors[0], vectors[2]); near <= far {
		t.Errorf("a like text lies at %v, another at %v", near, far)
	}
	_, _, text = ask(t, url+"/v1/embeddings", body(t, tree{"input": texts[0], "encoding_format": "base64"}))
	raw, err := base64.StdEncoding.DecodeString(at(parse(t, text), "data", 0, "embedding").(string))
	if err != nil {
		t.Fatal(err)
	}
	packed := make([]float32, len(raw)/4)
	if err := binary.Read(bytes.NewReader(raw), binary.LittleEndian, packed); err != nil {
		t.Fatal(err)
	}
	for i, x := range packed {
		if math.Abs(float64(x)-vectors[0][i]) > 1e-6 {
			t.Fatalf("number %d is %v in base64, %v else", i, x, vectors[0][i])
		}
	}
	for body, param := range map[string]string{`{}`: "input", `{"input": ""}`: "input", `{"input": "a", "dimensions": 3}`: "dimensions", `{"input": "a", "encoding_format": "int8"}`: "encoding_format", `{"input": [[]]}`: "input"} {
		status, _, text := ask(t, url+"/v1/embeddings", body)
		if status != 400 || at(parse(t, text), "error", "param") != param {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

// Texts and tokens are turned into each other, also where a token is a part of a character.
func TestTokenize(t *testing.T) {
	_, url := start(t, options(t))
	for _, text := range []string{"i found a lamp", "ø and 🜲", ""} {
		_, _, reply := ask(t, url+"/tokenize", body(t, tree{"content": text}))
		tokens := at(parse(t, reply), "tokens")
		_, _, back := ask(t, url+"/detokenize", body(t, tree{"tokens": tokens}))
		if got := at(parse(t, back), "content"); strings.TrimSpace(got.(string)) != strings.TrimSpace(text) {
			t.Errorf("%q came back as %q", text, got)
		}
		_, _, reply = ask(t, url+"/tokenize", body(t, tree{"content": text, "with_pieces": true}))
		if n := len(at(parse(t, reply), "tokens").([]any)); n != len(tokens.([]any)) {
			t.Errorf("%d tokens with pieces, %d without", n, len(tokens.([]any)))
		}
	}
	status, _, text := ask(t, url+"/props", "")
	if props := parse(t, text); status != 200 || at(props, "model_alias") != "lab" || at(props, "ivo", "rewards", 0) != "taste" || strings.Contains(text, "testdata") {
		t.Errorf("%d %s", status, text)
	}
	if status, _, text := ask(t, url+"/detokenize", `{"tokens": [-1]}`); status != 400 || at(parse(t, text), "error", "param") != "tokens[0]" {
		t.Errorf("%d %s", status, text)
	}
	if !json.Valid([]byte(text)) {
		t.Error(text)
	}
}

// varying are ids, what was read before, and digits that rounding can reach.
var varying = regexp.MustCompile(`(msg_|fc_)[0-9a-f]+|"cached_tokens":\d+|(kl|logprob)":-?\d+\.?\d?\d?\d*|"values?":[^"]*`)

// The tree of a search, as it is streamed, holds the answer: what was kept, block after block.
func TestTree(t *testing.T) {
	_, url := start(t, options(t))
	_, _, text := ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "max_tokens": 12, "seed": 7, "stream": true, "guidance": tree{"method": "block-beam", "beams": 2, "block": 3, "reward": "taste", "tree": true}}))
	chunks, _ := events(t, text)
	said, pruned := "", 0
	beams := []string{""}
	for _, c := range chunks {
		if s, ok := at(c, "choices", 0, "delta", "content").(string); ok {
			said += s
		}
		branches, _ := at(c, "choices", 0, "branches").([]any)
		if branches == nil {
			continue
		}
		next := map[int]string{}
		for _, b := range branches {
			if kept := int(at(b, "kept").(float64)); kept < 0 {
				pruned++
			} else {
				next[kept] = beams[int(at(b, "parent").(float64))] + at(b, "text").(string)
			}
		}
		beams = nil
		for i := range len(next) {
			beams = append(beams, next[i])
		}
	}
	if said == "" || !strings.HasPrefix(beams[0], said) || pruned == 0 {
		t.Errorf("answered %q, the tree's beams are %q, %d pruned", said, beams, pruned)
	}
}

// The page's files are there, and load nothing from elsewhere.
func TestPageFiles(t *testing.T) {
	_, url := start(t, options(t))
	for path, kind := range map[string]string{"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"} {
		status, header, text := ask(t, url+path, "")
		if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), kind) || header.Get("Content-Security-Policy") == "" || strings.Contains(text, "://") {
			t.Errorf("%s: %d %v", path, status, header)
		}
	}
	_, _, text := ask(t, url+"/score", `{"reward": "taste", "responses": ["aab", "abc"]}`)
	if at(parse(t, text), "scores", 0) != 2.0 || at(parse(t, text), "scores", 1) != 3.0 {
		t.Error(text)
	}
	if status, _, text := ask(t, url+"/score", `{"reward": "cmd:id", "responses": ["a"]}`); status != 404 || at(parse(t, text), "error", "param") != "reward" {
		t.Errorf("%d %s", status, text)
	}
}
