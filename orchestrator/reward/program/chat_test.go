package program

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// model is a server with chat completions: it says what it is asked to. answer, if set, answers in its
// place, given the number of the request.
type model struct {
	*httptest.Server
	answer func(n int, w http.ResponseWriter, asked string) bool

	mu     sync.Mutex
	bodies []map[string]any
	pauses []time.Duration
	client *Chat
}

func newModel(t *testing.T, name string, o Options) *model {
	t.Setenv(ChatKeyVariable, secret)
	m := &model{}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Server.Close)
	o.pause = func(d time.Duration) time.Duration {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.pauses = append(m.pauses, d)
		return 0
	}
	o.timeout = func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
		return context.WithCancel(ctx)
	}
	var err error
	if m.client, err = NewChat(m.URL, name, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.client.Close() })
	return m
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer "+secret {
		http.Error(w, "bad test", http.StatusTeapot)
		return
	}
	asked := body["messages"].([]any)[0].(map[string]any)["content"].(string)
	m.mu.Lock()
	m.bodies = append(m.bodies, body)
	n := len(m.bodies)
	m.mu.Unlock()
	if m.answer == nil || !m.answer(n, w, asked) {
		says(w, asked)
	}
}

// says answers by a text.
func says(w io.Writer, text string) {
	json.NewEncoder(w).Encode(map[string]any{"choices": []any{map[string]any{
		"message":  map[string]any{"role": "assistant", "content": text},
		"logprobs": map[string]any{"content": []any{map[string]any{"token": text, "top_logprobs": []any{map[string]any{"token": text, "logprob": -0.5}}}}},
	}}})
}

func TestChat(t *testing.T) {
	body := func(text string) func(int, http.ResponseWriter, string) bool {
		return func(_ int, w http.ResponseWriter, _ string) bool {
			io.WriteString(w, text)
			return true
		}
	}
	status := func(times, code int) func(int, http.ResponseWriter, string) bool {
		return func(n int, w http.ResponseWriter, _ string) bool {
			if n > times {
				return false
			}
			w.WriteHeader(code)
			fmt.Fprintf(w, "you said Bearer %s", secret)
			return true
		}
	}
	for name, tc := range map[string]struct {
		answer      func(int, http.ResponseWriter, string) bool
		asked, want []string
		whole       string // the error of the whole call
		requests    int
	}{
		"good":              {asked: []string{"a", "b", "c"}, want: []string{"a", "b", "c"}, requests: 3},
		"429, then good":    {answer: status(5, 429), asked: []string{"a"}, want: []string{"a"}, requests: 6},
		"429 for good":      {answer: status(99, 429), asked: []string{"a"}, whole: "429 Too Many Requests: you said Bearer [the key] (ask for less", requests: 6},
		"500 once":          {answer: status(1, 500), asked: []string{"a"}, want: []string{"a"}, requests: 2},
		"401":               {answer: status(99, 401), asked: []string{"a"}, whole: "set the environment variable IVO_JUDGE_KEY", requests: 1},
		"404":               {answer: status(99, 404), asked: []string{"a"}, whole: "check the address", requests: 1},
		"400":               {answer: status(99, 400), asked: []string{"a"}, want: []string{"! 400 Bad Request: you said Bearer [the key]"}, requests: 1},
		"redirect":          {answer: status(99, 307), asked: []string{"a"}, whole: "307", requests: 1},
		"no JSON":           {answer: body("<html>" + secret), asked: []string{"a"}, want: []string{`! answered with "<html>[the key]" (name a server with chat`}},
		"nothing":           {answer: body(""), asked: []string{"a"}, want: []string{`! answered with ""`}},
		"no choices":        {answer: body(`{"choices": []}`), asked: []string{"a"}, want: []string{`! answered with`}},
		"no text":           {answer: body(`{"choices": [{"message": {"content": null}}]}`), asked: []string{"a"}, want: []string{`! answered with`}},
		"another form":      {answer: body(`{"choices": "A"}`), asked: []string{"a"}, want: []string{`! answered with`}},
		"error in the body": {answer: body(`{"error": {"message": "no sk-s3cret\/key here"}}`), asked: []string{"a"}, want: []string{`! answered with the error "{\"message\":\"no [the key] here\"}`}},
		"refusal":           {answer: body(`{"choices": [{"message": {"content": null, "refusal": "I will not"}}]}`), asked: []string{"a"}, want: []string{`! the model refused: "I will not"`}},
		"key in a reply":    {asked: []string{"it is " + secret}, want: []string{"it is [the key]"}},
		"one of two": {
			asked: []string{"a", "b"}, want: []string{"! 422 Unprocessable Entity", "b"},
			answer: func(_ int, w http.ResponseWriter, asked string) bool {
				if asked == "a" {
					w.WriteHeader(http.StatusUnprocessableEntity)
				}
				return asked == "a"
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel(t, "", Options{})
			m.answer = tc.answer
			var questions []Question
			for _, text := range tc.asked {
				questions = append(questions, Question{Text: text, Tokens: 1})
			}
			replies, err := m.client.Ask(t.Context(), questions)
			switch {
			case tc.whole != "" && (err == nil || !strings.Contains(err.Error(), tc.whole)):
				t.Errorf("got %v, %v; want error %q", replies, err, tc.whole)
			case tc.whole == "" && err != nil:
				t.Fatal(err)
			}
			for i, want := range tc.want {
				text, isErr := strings.CutPrefix(want, "! ")
				got := replies[i]
				if isErr != (got.Err != nil) || isErr && !strings.Contains(got.Err.Error(), text) || !isErr && got.Text != want {
					t.Errorf("reply %d: got %q, %v; want %q", i, got.Text, got.Err, want)
				}
			}
			if tc.requests > 0 && len(m.bodies) != tc.requests {
				t.Errorf("%d requests, want %d", len(m.bodies), tc.requests)
			}
			if text := fmt.Sprint(replies, err); strings.Contains(text, "s3cret") {
				t.Errorf("a secret is told: %s", text)
			}
		})
	}
}

// What is asked is what the API knows, and no more than was wanted.
func TestChatAsks(t *testing.T) {
	m := newModel(t, "judge-1", Options{Workers: 1})
	replies, err := m.client.Ask(t.Context(), []Question{{Text: "a", Tokens: 1, First: true}, {Text: "<b>", Tokens: 9, Schema: json.RawMessage(`{"type":"object"}`)}})
	if err != nil {
		t.Fatal(err)
	}
	message := func(text string) []any { return []any{map[string]any{"role": "user", "content": text}} }
	want := []map[string]any{
		{"model": "judge-1", "messages": message("a"), "temperature": 0.0, "max_tokens": 1.0, "logprobs": true, "top_logprobs": 20.0},
		{
			"model": "judge-1", "messages": message("<b>"), "temperature": 0.0, "max_tokens": 9.0,
			"response_format": map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": "verdict", "strict": true, "schema": map[string]any{"type": "object"}}},
		},
	}
	if diff := cmp.Diff(want, m.bodies); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Reply{{Text: "a", First: []Alternative{{"a", -0.5}}}, {Text: "<b>"}}, replies); diff != "" {
		t.Error(diff)
	}
}

func TestChatAddress(t *testing.T) {
	os.Unsetenv(ChatKeyVariable)
	for address, want := range map[string]string{
		"http://h":                        "http://h/v1/chat/completions",
		"http://h/":                       "http://h/v1/chat/completions",
		"https://h:1/api/v3/":             "https://h:1/api/v3/chat/completions",
		"https://h/v1/chat/completions":   "https://h/v1/chat/completions",
		"https://h/v1?api-version=2#part": "https://h/v1/chat/completions?api-version=2",
	} {
		if c, err := NewChat(address, "m", Options{}); err != nil || c.Name() != want || c.Fingerprint() != `chat 1 `+want+` "m"` {
			t.Errorf("%s: %+v, %v", address, c, err)
		}
	}
	for _, address := range []string{"http://user:pass@h/", "http://h/?api_key=pass"} {
		if _, err := NewChat(address, "", Options{}); err == nil || strings.Contains(err.Error(), "pass@") || strings.Contains(err.Error(), "=pass") || !strings.Contains(err.Error(), ChatKeyVariable) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A key may lie in a file, and is no part of what is told about it.
func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	t.Setenv(ChatKeyVariable, "")
	t.Setenv(ChatKeyVariable+"_FILE", path)
	for content, want := range map[string]string{
		"sk-1\n": "", " \n": "is empty", "sk-\n1": "no request can carry", strings.Repeat("k", maxKey+1): "too large", "sk-ä": "no request can carry",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := NewChat("http://h", "", Options{})
		switch {
		case want == "" && (err != nil || c.key != "sk-1"):
			t.Errorf("%.9q: %v", content, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sk-")):
			t.Errorf("%.9q: got %v, want %q", content, err, want)
		}
	}
	os.Remove(path)
	if _, err := NewChat("http://h", "", Options{}); err == nil || !strings.Contains(err.Error(), "IVO_JUDGE_KEY_FILE") {
		t.Error(err)
	}
}
