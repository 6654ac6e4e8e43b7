package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serveModel is a hub whose repository user/repo holds the lab's model, which lies at
// /model.gguf too. interrupt, if set, is called when half of the model is sent.
func serveModel(t *testing.T, path string, interrupt func()) *httptest.Server {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	mux := http.NewServeMux()
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(v) }
	}
	type m = map[string]any
	mux.HandleFunc("/api/models/user/repo/refs", answer(m{"branches": []m{{"name": "main", "targetCommit": commit}}}))
	head, err := os.ReadFile(lab(t).head)
	if err != nil {
		t.Fatal(err)
	}
	listed := func(path string, data []byte) m {
		return m{"type": "file", "path": path, "size": len(data), "lfs": m{"oid": fmt.Sprintf("%x", sha256.Sum256(data)), "size": len(data)}}
	}
	mux.HandleFunc("/api/models/user/repo/tree/"+commit, answer([]m{listed("lab-F32.gguf", data), listed("head.gguf", head)}))
	mux.HandleFunc("/user/repo/resolve/"+commit+"/head.gguf", func(w http.ResponseWriter, r *http.Request) { w.Write(head) })
	model := func(w http.ResponseWriter, r *http.Request) {
		if interrupt != nil && r.Header.Get("Range") == "" {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:len(data)/2])
			w.(http.Flusher).Flush()
			interrupt()
			<-r.Context().Done()
			return
		}
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
	mux.HandleFunc("/user/repo/resolve/"+commit+"/lab-F32.gguf", model)
	mux.HandleFunc("/model.gguf", model)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("LLAMA_CACHE", filepath.Join(t.TempDir(), "cache"))
	return s
}

// ivo runs ivo, which must succeed.
func runIvo(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	if code := Main(append([]string{"ivo"}, args...), &out, &err); code != 0 {
		t.Fatalf("%q: exit code %d: %s", args, code, err.String())
	}
	return out.String(), err.String()
}

// A model of the hub is downloaded, and used again when the hub is gone.
func TestGenerateFromHub(t *testing.T) {
	f := lab(t)
	s := serveModel(t, f.model, nil)
	generate := func(from ...string) (stdout, stderr string) {
		t.Helper()
		return runIvo(t, append([]string{"generate", "-p", "i found a red kettle.\\nTL;DR:", "-n", "8", "--temp", "0"}, from...)...)
	}
	want, _ := generate("-m", f.model)
	own := filepath.Join(t.TempDir(), "own.gguf")
	for _, from := range [][]string{{"-hf", "user/repo"}, {"-mu", s.URL + "/model.gguf"}, {"-mu", s.URL + "/model.gguf", "-m", own}} {
		if got, stderr := generate(from...); got != want || !strings.Contains(stderr, "download ") {
			t.Errorf("%q: %q, want %q; stderr %q", from, got, want, stderr)
		}
	}
	s.Close()
	for _, from := range [][]string{{"-hf", "user/repo:F32"}, {"-hfr", "user/repo", "-hff", "lab-F32.gguf"}, {"-mu", s.URL + "/model.gguf"}, {"-m", own}} {
		if got, stderr := generate(append(from, "--offline")...); got != want || stderr != "" {
			t.Errorf("offline, %q: %q, want %q; stderr %q", from, got, want, stderr)
		}
	}
	t.Setenv("LLAMA_ARG_HF_REPO", "user/repo")
	t.Setenv("LLAMA_ARG_OFFLINE", "1")
	if got, _ := generate(); got != want {
		t.Errorf("by the environment: %q, want %q", got, want)
	}
	if got, _ := generate("-m", f.model); got != want {
		t.Errorf("by a flag, against the environment: %q, want %q", got, want)
	}
	if got, _ := runIvo(t, "inspect", "-hf", "user/repo"); !strings.Contains(got, "fingerprint") {
		t.Errorf("inspect: %q", got)
	}
}

// A value head of the hub guides as one on disk does.
func TestHeadFromHub(t *testing.T) {
	f := lab(t)
	serveModel(t, f.model, nil)
	generate := func(more ...string) (stdout, stderr string) {
		t.Helper()
		return runIvo(t, append([]string{"generate", "-m", f.model, "-p", "i found a red kettle.\\nTL;DR:", "-n", "8", "-s", "1", "--method", "block-beam"}, more...)...)
	}
	want, _ := generate("--value-head", f.head)
	for _, from := range [][]string{{"-hfv", "user/repo"}, {"--hf-repo-v", "user/repo:head.gguf", "--offline"}} {
		if got, _ := generate(from...); got != want {
			t.Errorf("%q: %q, want %q", from, got, want)
		}
	}
	if got, _ := runIvo(t, "value", "-m", f.model, "-hfv", "user/repo", "-p", "i found a red kettle.", "--response", " x", "--json"); got == "" {
		t.Error("ivo value said nothing")
	}
	var out, stderr bytes.Buffer
	if code := Main([]string{"ivo", "generate", "-m", f.model, "-p", "x", "-hfv", "user/repo", "--value-head", f.head}, &out, &stderr); code != exitUsage {
		t.Errorf("both: exit code %d: %s", code, stderr.String())
	}
}
