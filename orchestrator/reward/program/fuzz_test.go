package program

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Whatever a program says of an item, it is a finite number, an error, or no answer.
func FuzzAnswer(f *testing.F) {
	for _, said := range []string{"1.5", `{"score": -1e3, "id": "a"}`, `{"reward": "NaN"}`, "NaN", `{"error": "no"}`, "null", "1e999", `{"score": {"score": 1}}`, "[1]", `"Infinity"`, ` {"id":1,"score":Infinity}`} {
		f.Add([]byte(said), []byte(`"a"`))
	}
	f.Fuzz(func(t *testing.T, said, id []byte) {
		a, known, broken := readAnswer(said, id)
		if math.IsNaN(a.Value) || math.IsInf(a.Value, 0) || broken != nil && known {
			t.Errorf("%+v, %v, %v", a, known, broken)
		}
	})
}

// saying answers every request with a status and a text, and a wish to be left alone.
type saying struct {
	status int
	text   []byte
	after  string
}

func (s *saying) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{Status: http.StatusText(s.status), StatusCode: s.status, Header: http.Header{"Retry-After": {s.after}}, Body: io.NopCloser(strings.NewReader(string(s.text))), Request: r}, nil
}

// Whatever a server answers that scores, or that has a language model, every item has a finite score or an error, every question a
// reply or an error, none of which tells the key; and no pause is longer than one may be.
func FuzzReplies(f *testing.F) {
	f.Setenv(KeyVariable, secret)
	f.Setenv(ChatKeyVariable, secret)
	said := &saying{}
	var longest time.Duration
	o := Options{
		pause: func(d time.Duration) time.Duration { longest = max(longest, d); return 0 },
		timeout: func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
			return context.WithCancel(ctx)
		},
	}
	server, err := NewServer("http://server.test/score", o)
	if err != nil {
		f.Fatal(err)
	}
	chat, err := NewChat("http://server.test/v1", "m", o)
	if err != nil {
		f.Fatal(err)
	}
	server.http.Transport, chat.http.Transport = said, said
	for _, text := range []string{
		`{"scores":[1,{"score":2}]}`, `[1e999,null]`, `{"scores":[NaN,{"error":"no ` + secret + `"}]}`, `{"scores":[1]}`, `{"scores":null}`, "Infinity", `[{"id":"b","score":1},{"id":"a","score":2}]`,
		`{"choices":[{"message":{"content":"yes ` + secret + `"},"logprobs":{"content":[{"top_logprobs":[{"token":"A","logprob":-1e308}]}]}}]}`,
		`{"choices":[{"message":{"refusal":"no"}}]}`, `{"choices":[]}`, `{"error":{"message":"\u0073k-s3cret/key"}}`, `{"choices":[{"message":{"content":null},"logprobs":{"content":null}}]}`,
	} {
		for _, status := range []int{200, 400, 401, 429, 500, 301} {
			f.Add([]byte(text), status, "9999999999")
		}
	}
	items := []json.RawMessage{json.RawMessage(`{"id":"a"}`), json.RawMessage(`{"id":"b"}`)}
	f.Fuzz(func(t *testing.T, text []byte, status int, after string) {
		if status < 200 || status > 599 {
			status = 200 // the client reads no others
		}
		*said = saying{status, text, after}
		longest = 0
		clean := func(what string) {
			if strings.Contains(what, secret) {
				t.Errorf("it tells the key: %s", what)
			}
		}
		answers, err := server.Score(t.Context(), items)
		for _, a := range answers {
			if math.IsNaN(a.Value) || math.IsInf(a.Value, 0) {
				t.Errorf("a score of %v", a.Value)
			}
			err = errors.Join(err, a.Err)
		}
		if err != nil {
			clean(err.Error())
		}
		replies, err := chat.Ask(t.Context(), []Question{{Text: "a", Tokens: 1, First: true}})
		for _, r := range replies {
			clean(r.Text)
			err = errors.Join(err, r.Err)
		}
		if err != nil {
			clean(err.Error())
		}
		if longest > maxRetryAfter {
			t.Errorf("it pauses for %v", longest)
		}
	})
}
