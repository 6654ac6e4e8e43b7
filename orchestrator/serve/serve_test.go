package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// template shows posts as the lab's model knows them.
const template = `{% for m in messages %}{{ m.content }}{% if m.role == "user" %}
TL;DR:{% endif %}{% endfor %}`

var lab = sync.OnceValues(func() (*llama.Model, error) {
	return llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
})

// taste likes texts with many different letters: a reward that scores unfinished texts too.
type taste struct{}

func (taste) Info() reward.Info { return reward.Info{Name: "taste", Fingerprint: "1", Prefixes: true} }
func (taste) Close() error      { return nil }
func (taste) Score(_ context.Context, items []reward.Item) ([]reward.Score, error) {
	out := make([]reward.Score, len(items))
	for i, it := range items {
		letters := map[rune]bool{}
		for _, r := range it.Response {
			letters[r] = true
		}
		out[i].Value = float64(len(letters))
	}
	return out, nil
}

// options are those of a server of the lab's model, whose answers do not depend on how they are batched to
// any digit that matters.
func options(t testing.TB) Options {
	t.Helper()
	m, err := lab()
	if err != nil {
		t.Fatal(err)
	}
	e, err := prompt.NewEncoder(m, prompt.Options{Template: template})
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Model: m, Encoder: e, Size: 256, Name: "lab", Version: "test",
		Context: batch.Context{Threads: 1, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Flash: llama.FlashOff},
		Policy: batch.Policy{
			Strategy: decode.Strategy{Method: decode.MethodSample, N: 2, Beam: decode.Beam{Beams: 2, Block: 4}, Guide: decode.Guide{TopK: 4, Beta: 1, Rest: decode.RestParent}},
			Sampling: policy.Sampling{Temp: 1},
		},
		Rewards: map[string]reward.Model{"taste": taste{}},
		Heads:   map[string]*value.Function{},
	}
}

// start starts a server.
func start(t testing.TB, o Options) (*Server, string) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		h.Close()
		s.Close()
	})
	return s, h.URL
}

// ask asks for an address with a body, "" for GET.
func ask(t testing.TB, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	method := "POST"
	if body == "" {
		method = "GET"
	}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(text)
}

// tree is JSON as it comes.
type tree = map[string]any

func parse(t testing.TB, text string) tree {
	t.Helper()
	var v tree
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// at is what lies at a path of names and numbers, nil where nothing does.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(tree)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// events are the data of a stream, without its end, which is told.
func events(t testing.TB, text string) (out []tree, done bool) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok:
		case data == "[DONE]":
			done = true
		default:
			out = append(out, parse(t, data))
		}
	}
	return out, done
}

func body(t testing.TB, fields tree) string {
	t.Helper()
	b, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var post = []tree{{"role": "user", "content": "i found a lamp in the garden today. it was red."}}

// What a request is answered is what the strategy gives for its prompt, its seed and its settings, streamed or
// not, and the parts of a stream make the whole.
func TestChat(t *testing.T) {
	o := options(t)
	_, url := start(t, o)
	for name, guidance := range map[string]tree{
		"plain":       {},
		"best-of-n":   {"method": "best-of-n", "samples": 3, "reward": "taste"},
		"tokenwise":   {"method": "tokenwise", "candidates": 3, "beta": 2, "reward": "taste"},
		"block-beam":  {"method": "block-beam", "beams": 2, "block": 3, "reward": "taste"},
		"best-of-k":   {"method": "block-best-of-k", "samples": 3, "block": 2, "reward": "taste"},
		"max_decoded": {"method": "block-beam", "beams": 2, "block": 3, "reward": "taste", "max_decoded": 21},
	} {
		fields := tree{"model": "lab", "messages": post, "max_tokens": 12, "seed": 7, "guidance": guidance, "stop": []string{"zzz"}}
		status, _, text := ask(t, url+"/v1/chat/completions", body(t, fields))
		if status != 200 {
			t.Fatalf("%s: %d %s", name, status, text)
		}
		whole := parse(t, text)
		want, policy := direct(t, o, guidance)
		if got := at(whole, "choices", 0, "message", "content"); got != want.Text {
			t.Errorf("%s: answered %q, the strategy gives %q", name, got, want.Text)
		}
		for path, want := range map[string]any{"method": string(policy.Strategy.Method), "decoded": float64(want.Decoded), "seed": 7.0} {
			if got := at(whole, "ivo", path); got != want {
				t.Errorf("%s: %s is %v, want %v", name, path, got, want)
			}
		}
		if got := at(whole, "usage", "completion_tokens"); got != float64(len(want.Tokens)) {
			t.Errorf("%s: %v tokens, want %d", name, got, len(want.Tokens))
		}
		if n := policy.MaxTokens; len(want.Tokens) > n || name == "max_decoded" && want.Decoded > 21 {
			t.Errorf("%s: %d tokens, %d decoded", name, len(want.Tokens), want.Decoded)
		}

		fields["stream"], fields["stream_options"] = true, tree{"include_usage": true}
		status, header, text := ask(t, url+"/v1/chat/completions", body(t, fields))
		chunks, done := events(t, text)
		if status != 200 || !done || !strings.HasPrefix(header.Get("Content-Type"), "text/event-stream") {
			t.Fatalf("%s: %d, %v, %s", name, status, header, text)
		}
		var said strings.Builder
		for _, c := range chunks {
			if s, ok := at(c, "choices", 0, "delta", "content").(string); ok {
				said.WriteString(s)
			}
		}
		if said.String() != want.Text || at(chunks[0], "choices", 0, "delta", "role") != "assistant" {
			t.Errorf("%s: streamed %q, the strategy gives %q", name, said.String(), want.Text)
		}
		last := chunks[len(chunks)-1]
		for _, u := range []any{at(whole, "usage"), at(last, "usage")} { // the second prompt is kept
			delete(u.(tree), "prompt_tokens_details")
		}
		if diff := cmp.Diff(at(whole, "usage"), at(last, "usage")); diff != "" || len(at(last, "choices").([]any)) != 0 {
			t.Errorf("%s: usage of the stream: %s", name, diff)
		}
		end := chunks[len(chunks)-2]
		near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-3 })
		if diff := cmp.Diff(at(whole, "ivo"), at(end, "choices", 0, "ivo"), near); diff != "" || at(end, "choices", 0, "finish_reason") != at(whole, "choices", 0, "finish_reason") {
			t.Errorf("%s: the end of the stream: %v, %s", name, end, diff)
		}
	}
}

// direct answers the post without a server.
func direct(t *testing.T, o Options, guidance tree) (decode.Response, *batch.Policy) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in, err := parseObject([]byte(body(t, tree{"messages": post, "max_tokens": 12, "seed": 7, "guidance": guidance, "stop": "zzz"})))
	if err != nil {
		t.Fatal(err)
	}
	q, err := s.readChat(in)
	if err != nil {
		t.Fatal(err)
	}
	p := q.way.policy
	p.MaxTokens = q.tasks[0].MaxTokens
	p.Key = func(string, int) uint64 { return policy.Key(7, 0, "", 0) }
	r, _, err := batch.One(t.Context(), o.Model, o.Context, nil, p, q.tasks[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, &p
}

// Several answers are the first of as many requests, and differ.
func TestChoices(t *testing.T) {
	_, url := start(t, options(t))
	_, _, text := ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "max_tokens": 12, "seed": 7, "n": 3}))
	var texts []string
	for i := range 3 {
		texts = append(texts, at(parse(t, text), "choices", i, "message", "content").(string))
	}
	_, _, one := ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "max_tokens": 12, "seed": 7}))
	if at(parse(t, one), "choices", 0, "message", "content") != texts[0] || len(slices.Compact(slices.Sorted(slices.Values(texts)))) < 2 {
		t.Errorf("answers %q, alone %s", texts, one)
	}
	_, _, streamed := ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "max_tokens": 12, "seed": 7, "n": 3, "stream": true}))
	said := make([]string, 3)
	chunks, _ := events(t, streamed)
	for _, c := range chunks {
		i := int(at(c, "choices", 0, "index").(float64))
		s, _ := at(c, "choices", 0, "delta", "content").(string)
		said[i] += s
	}
	if diff := cmp.Diff(texts, said); diff != "" {
		t.Error(diff)
	}
}

// Requests that come at once are answered as each is alone, and what they have in common is read once.
func TestTogether(t *testing.T) {
	o := options(t)
	_, url := start(t, o)
	var bodies []string
	for i, guidance := range []tree{{}, {"method": "block-beam", "beams": 2, "block": 3, "reward": "taste"}, {"method": "best-of-n", "samples": 3, "reward": "taste"}, {"method": "tokenwise", "candidates": 3, "reward": "taste"}} {
		for seed := range 4 {
			bodies = append(bodies, body(t, tree{"messages": []tree{{"role": "user", "content": "i found a lamp in the garden today. it was red. " + strings.Repeat("my friend lost it. ", i)}}, "max_tokens": 12, "seed": seed, "guidance": guidance}))
		}
	}
	content := func(b string) any {
		_, _, text := ask(t, url+"/v1/chat/completions", b)
		return at(parse(t, text), "choices", 0, "message", "content")
	}
	var want []any
	for _, b := range bodies {
		want = append(want, content(b))
	}
	got := make([]any, len(bodies))
	var all sync.WaitGroup
	for i, b := range bodies {
		all.Go(func() { got[i] = content(b) })
	}
	all.Wait()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, _, text := ask(t, url+"/v1/chat/completions", bodies[0])
	if n, _ := at(parse(t, text), "usage", "prompt_tokens_details", "cached_tokens").(float64); n == 0 {
		t.Errorf("a prompt that was read before is read anew: %s", text)
	}
}

// What is wrong with a request is told in OpenAI's shape, with the field.
func TestRefusals(t *testing.T) {
	_, url := start(t, options(t))
	long := strings.Repeat("a b ", 400)
	for _, c := range []struct {
		what   string
		body   string
		status int
		param  any
		code   any
	}{
		{"no JSON", `{"messages": [}`, 400, nil, nil},
		{"a list", `[]`, 400, nil, nil},
		{"null", `null`, 400, nil, nil},
		{"no messages", `{}`, 400, "messages", "missing_required_parameter"},
		{"messages of a wrong kind", `{"messages": "hi"}`, 400, "messages", nil},
		{"a message of a wrong kind", `{"messages": ["hi"]}`, 400, "messages[0]", nil},
		{"no role", `{"messages": [{"content": "hi"}]}`, 400, "messages[0].role", "missing_required_parameter"},
		{"another role", `{"messages": [{"role": "cook", "content": "hi"}]}`, 400, "messages[0].role", nil},
		{"a content of a wrong kind", `{"messages": [{"role": "user", "content": 5}]}`, 400, "messages[0]", nil},
		{"a zero byte", `{"messages": [{"role": "user", "content": "a\u0000b"}]}`, 400, nil, nil},
		{"temperature", `{"messages": [{"role": "user", "content": "hi"}], "temperature": "hot"}`, 400, "temperature", nil},
		{"negative temperature", `{"messages": [{"role": "user", "content": "hi"}], "temperature": -1}`, 400, "temperature", nil},
		{"half a token", `{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 0.5}`, 400, "max_tokens", nil},
		{"no answers", `{"messages": [{"role": "user", "content": "hi"}], "n": 0}`, 400, "n", nil},
		{"seed", `{"messages": [{"role": "user", "content": "hi"}], "seed": 1.5}`, 400, "seed", nil},
		{"stops", `{"messages": [{"role": "user", "content": "hi"}], "stop": [1]}`, 400, "stop[0]", nil},
		{"empty stop", `{"messages": [{"role": "user", "content": "hi"}], "stop": [""]}`, 400, "stop", nil},
		{"many stops", `{"messages": [{"role": "user", "content": "hi"}], "stop": [` + strings.Repeat(`"a",`, 10000) + `"a"]}`, 400, "stop", nil},
		{"stream", `{"messages": [{"role": "user", "content": "hi"}], "stream": "yes"}`, 400, "stream", nil},
		{"method", `{"messages": [{"role": "user", "content": "hi"}], "guidance": {"method": "magic"}}`, 400, "guidance.method", nil},
		{"beams", `{"messages": [{"role": "user", "content": "hi"}], "guidance": {"method": "block-beam", "reward": "taste", "beams": 10000}}`, 400, "guidance.beams", nil},
		{"a file as a head", `{"messages": [{"role": "user", "content": "hi"}], "guidance": {"value_head": "/etc/passwd"}}`, 400, "guidance.value_head", nil},
		{"a program as a reward", `{"messages": [{"role": "user", "content": "hi"}], "guidance": {"method": "best-of-n", "reward": "cmd:id"}}`, 400, "guidance.reward", nil},
		{"guidance without a guide", `{"messages": [{"role": "user", "content": "hi"}], "guidance": {"method": "block-beam"}}`, 400, "guidance.value_head", nil},
		{"guidance of a wrong kind", `{"messages": [{"role": "user", "content": "hi"}], "guidance": 3}`, 400, "guidance", nil},
		{"another model", `{"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}`, 404, "model", "model_not_found"},
		{"another preset", `{"model": "lab@none", "messages": [{"role": "user", "content": "hi"}]}`, 404, "model", "model_not_found"},
		{"too long", `{"messages": [{"role": "user", "content": "` + long + `"}]}`, 400, "max_tokens", "context_length_exceeded"},
		{"too long an answer", `{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1000}`, 400, "max_tokens", "context_length_exceeded"},
		{"deep JSON", `{"messages": ` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`, 400, nil, nil},
		{"deep objects", strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), 400, nil, nil},
	} {
		status, header, text := ask(t, url+"/v1/chat/completions", c.body)
		e := at(parse(t, text), "error")
		if status != c.status || at(e, "param") != c.param || at(e, "code") != c.code || at(e, "type") != "invalid_request_error" || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s, want %d about %v", c.what, status, text, c.status, c.param)
		}
		if m, _ := at(e, "message").(string); m == "" || strings.Contains(m, "--") || strings.ContainsAny(m, "{") {
			t.Errorf("%s: the message is %q", c.what, m)
		}
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{{"GET", "/nothing", 404}, {"GET", "/v1/chat/completions", 405}, {"DELETE", "/v1/models", 405}, {"GET", "/v1/models/other", 404}, {"GET", "/v1/models/lab@base", 200}, {"GET", "/health", 200}} {
		req, err := http.NewRequest(c.method, url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.status || !json.Valid(text) {
			t.Errorf("%s %s: %d %s (%v)", c.method, c.path, res.StatusCode, bytes.TrimSpace(text), err)
		}
	}
}

// Unknown fields are left alone, and null is none.
func TestTolerance(t *testing.T) {
	_, url := start(t, options(t))
	status, _, text := ask(t, url+"/v1/chat/completions", `{"model": null, "messages": [{"role": "user", "content": [{"type": "text", "text": "i found a lamp"}], "name": "x"}],
		"temperature": null, "stop": null, "store": true, "metadata": {"a": "b"}, "user": "u", "service_tier": "auto", "max_tokens": 3.0, "guidance": null}`)
	if status != 200 {
		t.Errorf("%d %s", status, text)
	}
}
