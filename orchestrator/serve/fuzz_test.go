package serve

import (
	"encoding/json"
	"net/http/httptest"
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
