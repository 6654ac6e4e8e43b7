package serve

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever is asked at any address, there is an answer that is no failure of the server's, and JSON or a stream of it.
func FuzzRequest(f *testing.F) {
	paths := []string{"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/tokenize", "/detokenize", "/apply-template", "/score"}
	message := `"messages":[{"role":"user","content":"i found a lamp"}],"max_tokens":4`
	for i := range paths {
		for _, b := range []string{
			`{` + message + `}`, `{` + message + `,"stream":true,"logprobs":true,"top_logprobs":3,"stop":["a"]}`, `{"prompt":["a",[1,2]],"max_tokens":2,"n":2,"seed":-1}`,
			`{"input":"i found","max_output_tokens":2,"tools":[{"type":"function","name":"f","parameters":{"type":"object"}}]}`, `{"content":"a","tokens":[1,2,99999]}`,
			`{` + message + `,"guidance":{"method":"best-of-n","samples":2,"reward":"taste"}}`, `{` + message + `,"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"integer"}}}}`,
			`{` + message + `,"grammar":"root ::= \"a\"","logit_bias":{"5":-100}}`, `{`, `[]`, `{"text":"a","reward":"taste","prompt":"b","response":"c"}`,
		} {
			f.Add(uint8(i), []byte(b))
		}
	}
	o := options(f)
	s, err := New(o)
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	h := s.Handler()
	f.Fuzz(func(t *testing.T, path uint8, body []byte) {
		r := httptest.NewRequest("POST", paths[int(path)%len(paths)], strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != 503 {
			t.Errorf("%d: %s", w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
			t.Errorf("no JSON: %s", w.Body)
		}
	})
}

// Whatever is asked for of what the server has, by whatever address, query and headers, there is an answer that is no failure of
// the server's; without a key it is none of what is kept.
func FuzzShelf(f *testing.F) {
	o := options(f)
	o.Shelf, o.Keys, o.Origins = shelved(f), []string{"k"}, []string{"https://page.test"}
	s, err := New(o)
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	runs, err := o.Shelf.Runs()
	if err != nil {
		f.Fatal(err)
	}
	lists, err := o.Shelf.Prompts()
	if err != nil {
		f.Fatal(err)
	}
	h := s.Handler()
	report, list := "/runs/"+runs[0].ID+"/report", "/prompts/"+lists[0].ID
	for _, path := range []string{"/runs", report, "/runs/../../etc/passwd/report", "/prompts", list, "/prompts/%00", "/v1/models", "/v1/models/lab", "/props", "/metrics", "/openapi.json", "/health", "/", "/v1/score", "//", "*"} {
		f.Add("GET", path, "from=0&count=2", "Authorization", "Bearer k")
	}
	f.Add("GET", list, "from=-1&count=1e9&from=%zz", "X-Api-Key", "k")
	f.Add("GET", list, "from=9999999999999999999", "Authorization", "bearer  k")
	f.Add("GET", "/runs", "", "Authorization", "Bearer kk")
	f.Add("OPTIONS", report, "", "Origin", "https://page.test")
	f.Add("DELETE", report, "", "Origin", "null")
	f.Add("HEAD", "/prompts", "", "Accept-Encoding", "\xff")
	f.Fuzz(func(t *testing.T, method, path, query, header, value string) {
		r, err := http.NewRequest(method, "http://127.0.0.1/", nil)
		if err != nil {
			return // there is no such request
		}
		if r.URL.Path, err = url.PathUnescape(path); err != nil || !strings.HasPrefix(r.URL.Path, "/") {
			return
		}
		r.URL.RawQuery = query
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != 503 {
			t.Errorf("%s %s?%s: %d: %s", method, path, query, w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("no JSON: %s", w.Body)
		}
		keyed := r.Header.Get("X-Api-Key") == "k" || strings.HasSuffix(r.Header.Get("Authorization"), "k")
		if !keyed && w.Code == 200 && (strings.HasPrefix(r.URL.Path, "/runs") || strings.HasPrefix(r.URL.Path, "/prompts") || strings.HasPrefix(r.URL.Path, "/v1/models")) {
			t.Errorf("%s %s: without a key it says %s", method, path, w.Body)
		}
	})
}

// Whatever a file of keys holds, it is refused, or lets those in who show one of its lines.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("one\r\n\n# none\n two \n"))
	f.Add([]byte("\xef\xbb\xbf\x00"))
	f.Add([]byte("#"))
	path := filepath.Join(f.TempDir(), "keys")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		keys, err := Keys(path)
		if err != nil {
			if !strings.Contains(err.Error(), "write a key a line into it") {
				t.Error(err)
			}
			return
		}
		s := &Server{o: Options{Keys: keys}}
		let := s.keyed(func(http.ResponseWriter, *http.Request) error { return nil })
		for _, key := range keys {
			if strings.TrimSpace(key) == "" || strings.ContainsAny(key, "\n") || !strings.Contains(string(data), key) {
				t.Errorf("a key is %q", key)
			}
			r := httptest.NewRequest("GET", "/runs", nil)
			r.Header["Authorization"] = []string{"Bearer " + key}
			if err := let(httptest.NewRecorder(), r); err != nil {
				t.Errorf("%q is not let in: %v", key, err)
			}
		}
		if err := let(httptest.NewRecorder(), httptest.NewRequest("GET", "/runs", nil)); err == nil {
			t.Error("somebody without a key is let in")
		}
	})
}

// Whatever a file of presets holds, it is read or refused.
func FuzzPresets(f *testing.F) {
	f.Add([]byte("value_heads: {a: a.gguf}\nrewards: {b: sentiment}\npresets:\n  c: {about: d, method: best-of-n, samples: 4, reward: b, temperature: 0.5}\n"))
	f.Add([]byte("presets: {a@b: {}}"))
	f.Add([]byte("a: &a [*a, *a]\n"))
	path := filepath.Join(f.TempDir(), "presets.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := ReadPresets(path)
		if err != nil {
			return
		}
		for name, preset := range p.Presets {
			var w way
			if w.preset(preset); strings.ContainsAny(name, "@ ") {
				t.Errorf("a preset is called %q", name)
			}
		}
	})
}
