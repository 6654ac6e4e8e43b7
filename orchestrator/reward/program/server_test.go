package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const secret = "sk-s3cret/key"

// site is a server that scores items {"id", "do"}: "do" is the score as JSON, or "fail" where
// the whole request fails. answer, if set, answers in its place, given the number of the request.
type site struct {
	*httptest.Server
	answer func(n int, w http.ResponseWriter, items []string) bool

	mu       sync.Mutex
	requests int
	asked    map[string]int // how often an item was
	pauses   []time.Duration
	client   *Server
}

func newSite(t *testing.T, o Options) *site {
	t.Setenv(KeyVariable, secret)
	s := &site{asked: map[string]int{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Server.Close)
	o.pause = func(d time.Duration) time.Duration {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pauses = append(s.pauses, d)
		return 0
	}
	if o.timeout == nil { // no time is ever over
		o.timeout = func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
			return context.WithCancel(ctx)
		}
	}
	var err error
	if s.client, err = NewServer(s.URL+"/score?model=a+b", o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.client.Close() })
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Items []struct{ ID, Do string }
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	if err != nil || r.Header.Get("Authorization") != "Bearer "+secret || r.URL.RawQuery != "model=a+b" || r.Method != http.MethodPost {
		http.Error(w, "bad test", http.StatusTeapot)
		return
	}
	var do []string
	s.mu.Lock()
	s.requests++
	n := s.requests
	for _, it := range body.Items {
		s.asked[it.ID]++
		do = append(do, it.Do)
	}
	s.mu.Unlock()
	if s.answer != nil && s.answer(n, w, do) {
		return
	}
	if slices.Contains(do, "fail") {
		http.Error(w, "cannot do that with "+r.Header.Get("Authorization"), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, `{"scores": [%s]}`, strings.Join(do, ", "))
}

// each says how often the items were asked for.
func (s *site) each() (counts []int) {
	for i := range len(s.asked) {
		counts = append(counts, s.asked[fmt.Sprint("p", i)])
	}
	return counts
}

// fails answers the first n requests by one status.
func fails(n, status int, header ...string) func(int, http.ResponseWriter, []string) bool {
	return func(i int, w http.ResponseWriter, _ []string) bool {
		if i > n {
			return false
		}
		for k := 0; k < len(header); k += 2 {
			w.Header().Set(header[k], header[k+1])
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, "you said Bearer %s %s", secret, strings.Repeat("x", 2*maxShown))
		return true
	}
}

// text answers all requests by a text.
func text(s string) func(int, http.ResponseWriter, []string) bool {
	return func(_ int, w http.ResponseWriter, _ []string) bool {
		io.WriteString(w, s)
		return true
	}
}

// endless answers by one list that does not end.
func endless(_ int, w http.ResponseWriter, _ []string) bool {
	io.WriteString(w, `{"scores": [`)
	for chunk := []byte(strings.Repeat("1, ", 10000)); ; {
		if _, err := w.Write(chunk); err != nil {
			return true
		}
	}
}

func TestServer(t *testing.T) {
	for _, tc := range []struct {
		name     string
		answer   func(int, http.ResponseWriter, []string) bool
		do, want []string
		whole    string // the error of the whole call
		asked    []int  // how often each item was, if that is certain
	}{
		{name: "good", do: []string{"1", "-2.5", `{"score": 3}`, `{"reward": 4}`, `{"id": "p4", "score": 5}`}, want: []string{"1", "-2.5", "3", "4", "5"}, asked: []int{1, 1, 1, 1, 1}},
		{name: "a bare list", answer: text(` [1, 2] `), do: []string{"", ""}, want: []string{"1", "2"}},
		{
			name: "half fail", asked: []int{1, 1, 1, 1, 1, 1, 1, 1},
			do:   []string{"1", `{"error": "too long"}`, "2", "NaN", "3", `"NaN"`, "4", `{"score": -Infinity}`},
			want: []string{"1", "! too long", "2", "! the score is NaN", "3", "! the score is NaN", "4", "! the score is -Infinity"},
		},
		{
			name: "no numbers", do: []string{`"high"`, "true", `{"id": "p9", "score": 1}`, "{}", "6"},
			want: []string{`! "\"high\"" stands where`, `! "true" stands`, `! answers to the id`, `! neither a "score"`, "6"},
		},
		{name: "null is asked for again", do: []string{"1", "null", "2", `{"score": null}`}, want: []string{"1", "! no score (null)", "2", "! no score (null)"}, asked: []int{1, 3, 1, 3}},
		{
			name: "null at first", do: []string{"1", "2"}, want: []string{"7", "2"}, asked: []int{1, 2},
			answer: func(n int, w http.ResponseWriter, _ []string) bool {
				if n == 1 {
					io.WriteString(w, "[7, null]")
				} else {
					io.WriteString(w, "[2]")
				}
				return true
			},
		},
		{name: "503, then good", answer: fails(5, 503), do: []string{"1", "2"}, want: []string{"1", "2"}, asked: []int{6, 6}},
		{name: "503 for good", answer: fails(99, 503), do: []string{"1", "2"}, whole: "503 Service Unavailable: you said Bearer [the key] xxx", asked: []int{6, 6}},
		{name: "500 once", answer: fails(1, 500), do: []string{"1", "2"}, want: []string{"1", "2"}, asked: []int{2, 2}},
		{name: "500 for one item", do: []string{"1", "2", "fail", "3"}, want: []string{"1", "2", "! 500 Internal Server Error: cannot do that with Bearer [the key] (", "3"}, asked: []int{3, 3, 6, 5}},
		{name: "401", answer: fails(99, 401), do: []string{"1", "2"}, whole: "401 Unauthorized: you said Bearer [the key]"},
		{name: "404", answer: fails(99, 404), do: []string{"1", "2"}, whole: "check the address", asked: []int{1, 1}},
		{name: "redirect", answer: fails(99, 307, "Location", "http://user:pass@other.example/x?token=1"), do: []string{"1", "2"}, whole: "307 Temporary Redirect: http://other.example/x (redirects are not followed", asked: []int{1, 1}},
		{
			name: "413 for more than two", do: []string{"1", "2", "3", "4", "5"}, want: []string{"1", "2", "3", "4", "5"},
			answer: func(_ int, w http.ResponseWriter, do []string) bool {
				if len(do) > 2 {
					w.WriteHeader(http.StatusRequestEntityTooLarge)
				}
				return len(do) > 2
			},
		},
		{name: "no JSON", answer: text("<html>" + secret), do: []string{"1", "2"}, want: []string{`! answered with "<html>[the key]" (let it answer`, "! <html>"}, asked: []int{1, 1}},
		{name: "nothing", answer: text(""), do: []string{"1"}, want: []string{`! answered with ""`}},
		{name: "no scores", answer: text(`{"score": 1}`), do: []string{"1"}, want: []string{`! answered with`}},
		{name: "a lone number", answer: text(`1`), do: []string{"1"}, want: []string{`! answered with "1"`}},
		{name: "key in an error", answer: text(`[{"error": "no sk-s3cret\/key here"}, "sk-s3cret/key"]`), do: []string{"1", "2"}, want: []string{"! no [the key] here", `! "\"[the key]\"" stands`}},
		{name: "wrong count", answer: text("[1, 2]"), do: []string{"1", "1", "1"}, want: []string{"! gave 2 scores for 1 items", "1", "2"}},
		{name: "endless", answer: endless, do: []string{"1", "2"}, want: []string{"! more than 16 MiB", "! more than 16 MiB"}, asked: []int{1, 1}},
		{
			name: "cut off", do: []string{"1", "2"}, want: []string{"1", "2"}, asked: []int{2, 2},
			answer: func(n int, w http.ResponseWriter, _ []string) bool {
				if n == 1 {
					w.Header().Set("Content-Length", "100")
					io.WriteString(w, "[1,")
				}
				return n == 1
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, Options{})
			s.answer = tc.answer
			answers, err := s.client.Score(t.Context(), jobs(tc.do...))
			if tc.whole != "" {
				if err == nil || !strings.Contains(err.Error(), tc.whole) {
					t.Errorf("got %v, %v; want error %q", answers, err, tc.whole)
				}
			} else if err != nil {
				t.Fatal(err)
			} else {
				compare(t, answers, tc.want)
			}
			if tc.asked != nil && !slices.Equal(s.each(), tc.asked) {
				t.Errorf("items were asked for %v times, want %v", s.each(), tc.asked)
			}
			if text := fmt.Sprint(answers, err); strings.Contains(text, "s3cret") || strings.Contains(text, "pass@") {
				t.Errorf("a secret is told: %s", text)
			}
		})
	}
}

// Delays double, are jittered and bounded, and are no shorter than the server asks for, as
// long as that is within reason.
func TestServerPauses(t *testing.T) {
	for _, tc := range []struct {
		header string
		least  time.Duration // of each pause
	}{{"", 0}, {"7", 7 * time.Second}, {"86400", time.Minute}, {"Fri, 31 Dec 2100 23:59:59 GMT", time.Minute}, {"Fri, 31 Dec 1999 23:59:59 GMT", 0}, {"soon", 0}, {"-3", 0}} {
		s := newSite(t, Options{})
		s.answer = fails(requestTries-1, http.StatusTooManyRequests, "Retry-After", tc.header)
		if answers, err := s.client.Score(t.Context(), jobs("1")); err != nil || told(answers[0]) != "1" {
			t.Fatalf("got %v, %v", answers, err)
		}
		if len(s.pauses) != requestTries-1 {
			t.Fatalf("%d pauses", len(s.pauses))
		}
		for k, d := range s.pauses {
			base := firstDelay << k
			if lo, hi := max(base/2, tc.least), max(base*3/2, tc.least); d < lo || d > hi+1 {
				t.Errorf("Retry-After %q: pause %d is %v, not %v to %v", tc.header, k, d, lo, hi)
			}
		}
	}
}

func TestServerRefused(t *testing.T) {
	s := newSite(t, Options{Batch: 2})
	s.Server.Close()
	answers, err := s.client.Score(t.Context(), jobs(slices.Repeat([]string{"1"}, 200)...))
	if err == nil || !strings.Contains(err.Error(), "connection refused (check that the server runs, and its address)") {
		t.Errorf("got %v, %v", answers, err)
	}
	if tries := len(s.pauses); tries > (batchFailures+4)*requestTries {
		t.Errorf("%d tries after the first", tries)
	}
	if err := s.client.Try(t.Context(), jobs("1")); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

// A server that breaks down on the way keeps no item from being named.
func TestServerBreaksDown(t *testing.T) {
	s := newSite(t, Options{Batch: 2, Workers: 1})
	s.answer = func(n int, w http.ResponseWriter, items []string) bool {
		return n > 3 && fails(1000, http.StatusServiceUnavailable)(n, w, items)
	}
	answers, err := s.client.Score(t.Context(), jobs(slices.Repeat([]string{"1"}, 100)...))
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		switch {
		case i < 6 && told(a) != "1",
			i >= 6 && (a.Err == nil || !strings.Contains(a.Err.Error(), "503")),
			i >= 6+2*batchFailures && !strings.Contains(a.Err.Error(), "not scored, because of failures before it"):
			t.Errorf("item %d: %s", i, told(a))
		}
	}
	if want := 3 + batchFailures*requestTries; s.requests != want {
		t.Errorf("%d requests, want %d", s.requests, want)
	}
}

func TestServerTimesOut(t *testing.T) {
	var mu sync.Mutex
	var end []context.CancelFunc
	s := newSite(t, Options{timeout: func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
		mu.Lock()
		defer mu.Unlock()
		ctx, cancel := context.WithCancel(ctx)
		end = append(end, cancel)
		return ctx, cancel
	}})
	release := make(chan struct{})
	s.answer = func(n int, w http.ResponseWriter, items []string) bool {
		if !slices.Contains(items, "2") {
			return false
		}
		mu.Lock()
		for _, cancel := range end { // the time is over
			cancel()
		}
		mu.Unlock()
		<-release
		return true
	}
	answers, err := s.client.Score(t.Context(), jobs("1", "2"))
	close(release)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, answers, []string{"1", "! within 2m0s (raise"})
	if want := []int{2, 1 + slowTries}; !slices.Equal(s.each(), want) {
		t.Errorf("asked %v times, want %v", s.each(), want)
	}
}

func TestServerCancelled(t *testing.T) {
	s := newSite(t, Options{})
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	release := make(chan struct{})
	s.answer = func(int, http.ResponseWriter, []string) bool {
		cancel(why)
		<-release
		return true
	}
	_, err := s.client.Score(ctx, jobs(slices.Repeat([]string{"1"}, 100)...))
	close(release)
	if !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

// Many items go in batches, each once, and come back in order.
func TestServerBatches(t *testing.T) {
	s := newSite(t, Options{Batch: 7})
	var do []string
	for i := range 100 {
		do = append(do, fmt.Sprint(i))
	}
	answers, err := s.client.Score(t.Context(), jobs(do...))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, answers, do)
	if want := slices.Repeat([]int{1}, 100); s.requests != 15 || !slices.Equal(s.each(), want) {
		t.Errorf("%d requests, items %v", s.requests, s.each())
	}
	if err := s.client.Try(t.Context(), jobs(`{"error": "no"}`, "NaN")); err != nil {
		t.Error(err)
	}
}

func TestServerAddress(t *testing.T) {
	os.Unsetenv(KeyVariable)
	for address, want := range map[string]string{
		"http://h/score#part":        "",
		"https://[::1]:80/a?model=x": "",
		"http://user:pass@h/score":   "holds a user name or a password (set the environment variable IVO_REWARD_KEY",
		"http://user:p%zz@h/score":   "holds a user name or a password",
		"http://h/s?api_key=pass":    `holds a secret, "api_key"`,
		"http://h/s?Token=pass":      `holds a secret, "Token"`,
		"http:///score":              "no address of a server",
		"ftp://h":                    "no address of a server",
		"h:80/score":                 "as in http://127.0.0.1:8000/score",
		"http://h/%zz":               "bad address",
	} {
		s, err := NewServer(address, Options{})
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want == "" && (s.Name() != strings.TrimSuffix(address, "#part") || s.Fingerprint() != "http 1 "+s.Name()):
			t.Errorf("%s: got %s, %s", address, s.Name(), s.Fingerprint())
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pass@") || strings.Contains(err.Error(), "=pass")):
			t.Errorf("%s: got %v, want %q", address, err, want)
		}
	}
	t.Setenv(KeyVariable, "two\nlines")
	if _, err := NewServer("http://h/", Options{}); err == nil || strings.Contains(err.Error(), "two") {
		t.Errorf("got %v", err)
	}
}
