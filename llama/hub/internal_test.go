package hub

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	for name, tc := range map[string]struct {
		tag, file string
		paths     string
		want      string
	}{
		"Q4_K_M first":          {"", "", "m-Q8_0.gguf m-Q4_K_M.gguf", "m-Q4_K_M.gguf"},
		"then Q8_0":             {"", "", "m-F16.gguf m.Q8_0.gguf", "m.Q8_0.gguf"},
		"then the first":        {"", "", "README.md mmproj-m.gguf m-F16.gguf m-Q2_K.gguf", "m-F16.gguf"},
		"by tag":                {"q2_k", "", "m-Q4_K_M.gguf m-Q2_K.gguf", "m-Q2_K.gguf"},
		"the whole word":        {"F16", "", "m-BF16.gguf m-F16.gguf", "m-F16.gguf"},
		"part of a word":        {"F16", "", "m-Q8_0.gguf m-BF16.gguf", "m-BF16.gguf"},
		"tag in the folder":     {"Q8_0", "", "Q2_K/m.gguf Q8_0-x/m.gguf", "Q8_0-x/m.gguf"},
		"tag with odd marks":    {"Q(", "", "m-Q8_0.gguf", ""},
		"no such tag":           {"Q5_0", "", "m-Q8_0.gguf", ""},
		"projector":             {"F16", "", "mmproj-F16.gguf", ""},
		"value head":            {"", "", "head.gguf m-F16.gguf", "m-F16.gguf"},
		"by file":               {"", "M-f16.GGUF", "m-Q4_K_M.gguf m-F16.gguf", "m-F16.gguf"},
		"projector by file":     {"", "mmproj.gguf", "mmproj.gguf", "mmproj.gguf"},
		"split":                 {"", "", "m-Q8_0-00002-of-00002.gguf m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00001-of-00002.gguf m-Q8_0-00002-of-00002.gguf"},
		"split, by a later":     {"", "m-00002-of-00002.gguf", "m-00001-of-00002.gguf m-00002-of-00002.gguf", "m-00001-of-00002.gguf m-00002-of-00002.gguf"},
		"split, not whole":      {"", "", "m-00001-of-00002.gguf", ""},
		"split, only the later": {"", "", "m-00002-of-00002.gguf", ""},
		"one of one":            {"", "", "m-00001-of-00001.gguf", "m-00001-of-00001.gguf"},
		"nothing":               {"", "", "model.safetensors", ""},
	} {
		got, err := choose("u/m", strings.Fields(tc.paths), tc.tag, tc.file)
		if !slices.Equal(got, strings.Fields(tc.want)) || (err == nil) != (tc.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Hint == "") {
			t.Errorf("%s: no hint in %v", name, err)
		}
	}
}

func TestChooseHead(t *testing.T) {
	for name, tc := range map[string]struct{ file, paths, want string }{
		"the only one":        {"", "README.md x.gguf", "x.gguf"},
		"head.gguf":           {"", "model-Q8_0.gguf iter-02/head.gguf other-head.gguf", "iter-02/head.gguf"},
		"by its name":         {"", "model-Q8_0.gguf my-Value-Head.gguf", "my-Value-Head.gguf"},
		"several heads":       {"", "iter-01/head.gguf iter-02/head.gguf", ""},
		"several files":       {"", "a.gguf b.gguf", ""},
		"by file":             {"iter-01/head.gguf", "iter-01/head.gguf iter-02/head.gguf", "iter-01/head.gguf"},
		"without its folder":  {"kind.GGUF", "heads/kind.gguf heads/brief.gguf", "heads/kind.gguf"},
		"without its end":     {"brief", "heads/kind.gguf heads/brief.gguf", "heads/brief.gguf"},
		"in several folders":  {"head", "iter-01/head.gguf iter-02/head.gguf", ""},
		"at the root as well": {"head.gguf", "old/head.gguf head.gguf", "head.gguf"},
		"no such file":        {"none", "head.gguf", ""},
		"no head at all":      {"", "model.safetensors", ""},
	} {
		got, err := chooseHead("u/m", strings.Fields(tc.paths), tc.file)
		if !slices.Equal(got, strings.Fields(tc.want)) || (err == nil) != (tc.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Hint == "") {
			t.Errorf("%s: no hint in %v", name, err)
		}
	}
}

// A server that stalls in the middle is asked again.
func TestStall(t *testing.T) {
	var stalled atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if !stalled.Swap(true) {
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("GGUF4"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("GGUF456789"))
	}))
	defer server.Close()
	var waits int
	s, err := open(Options{CacheDir: t.TempDir(), Wait: func(context.Context, time.Duration) error { waits++; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	s.stall = 50 * time.Millisecond
	u, err := parseURL(server.URL + "/m.gguf")
	if err != nil {
		t.Fatal(err)
	}
	dest := filepath.Join(t.TempDir(), "m.gguf")
	if err := s.download(t.Context(), job{url: u, dest: dest, name: "m.gguf"}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(dest); string(data) != "GGUF456789" || waits != 1 {
		t.Errorf("%q after %d waits, %v", data, waits, err)
	}
}
