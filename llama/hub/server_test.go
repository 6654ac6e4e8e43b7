package hub_test

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/llama/hub"
)

func init() { slog.SetLogLoggerLevel(slog.LevelError) }

const commit = "0123456789abcdef0123456789abcdef01234567"

// server is a hub with the repository u/m. Its files lie at another server, which it
// redirects to.
type server struct {
	hub, files *httptest.Server
	paths      []string // of the repository, in its order
	content    map[string]string
	pageSize   int // files a page of the listing
	// before, if set, sees each request for a file's bytes; if it returns true it has
	// answered.
	before func(w http.ResponseWriter, r *http.Request, path string) bool
	// api, if set, is the status and the header of every answer of the hub itself.
	api func(w http.ResponseWriter) int

	mu     sync.Mutex
	log    []string // "PATH RANGE" of the requests for bytes
	tokens map[string]string
}

// text is a file of n bytes, a multiple of 10, that begins as a GGUF file does.
func text(n int) string { return "GGUF456789" + strings.Repeat("0123456789", n/10-1) }

// newServer serves files, given as path, content, path, content...
func newServer(t *testing.T, files ...string) *server {
	t.Helper()
	s := &server{content: map[string]string{}, pageSize: 1000, tokens: map[string]string{}}
	for i := 0; i < len(files); i += 2 {
		s.paths = append(s.paths, files[i])
		s.content[files[i]] = files[i+1]
	}
	s.files = httptest.NewServer(http.HandlerFunc(s.serveFile))
	s.hub = httptest.NewServer(http.HandlerFunc(s.serveHub))
	t.Cleanup(s.files.Close)
	t.Cleanup(s.hub.Close)
	return s
}

func (s *server) saw(name string, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[name] += r.Header.Get("Authorization")
	if name == "files" {
		s.log = append(s.log, strings.TrimSpace(strings.TrimPrefix(r.URL.Path, "/")+" "+r.Header.Get("Range")))
	}
}

// requests are the requests for bytes since the last call.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.log
	s.log = nil
	return out
}

// oid is a file's SHA-256, or, of a .txt file, git's SHA-1.
func (s *server) oid(path string) string {
	if strings.HasSuffix(path, ".txt") {
		return fmt.Sprintf("%x", sha1.Sum([]byte(fmt.Sprintf("blob %d\x00%s", len(s.content[path]), s.content[path]))))
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(s.content[path])))
}

func (s *server) serveHub(w http.ResponseWriter, r *http.Request) {
	s.saw("hub", r)
	if s.api != nil {
		w.WriteHeader(s.api(w))
		return
	}
	if path, ok := strings.CutPrefix(r.URL.Path, "/u/m/resolve/"+commit+"/"); ok {
		w.Header().Set("X-Linked-Etag", `"`+s.oid(path)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(s.content[path])))
		http.Redirect(w, r, s.files.URL+(&url.URL{Path: "/" + path}).EscapedPath(), http.StatusFound)
		return
	}
	type m = map[string]any
	switch r.URL.Path {
	case "/api/models/u/m/refs":
		json.NewEncoder(w).Encode(m{"branches": []m{{"name": "dev", "targetCommit": strings.Repeat("1", 40)}, {"name": "main", "targetCommit": commit}}})
	case "/api/models/u/m/tree/" + commit:
		from := 0
		fmt.Sscan(r.FormValue("cursor"), &from)
		page := []m{{"type": "directory", "path": "sub", "oid": strings.Repeat("2", 40)}, {"type": "file", "path": "../../evil.gguf", "oid": strings.Repeat("3", 40)}}
		for _, p := range s.paths[from:min(from+s.pageSize, len(s.paths))] {
			f := m{"type": "file", "path": p, "oid": s.oid(p), "size": len(s.content[p])}
			if !strings.HasSuffix(p, ".txt") {
				f["oid"] = strings.Repeat("4", 40)
				f["lfs"] = m{"oid": s.oid(p), "size": len(s.content[p]), "pointerSize": 130}
			}
			page = append(page, f)
		}
		if from += s.pageSize; from < len(s.paths) {
			w.Header().Set("Link", fmt.Sprintf(`<%s?recursive=true&cursor=%d>; rel="next"`, s.hub.URL+r.URL.Path, from))
		}
		json.NewEncoder(w).Encode(page)
	default:
		http.NotFound(w, r)
	}
}

func (s *server) serveFile(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if r.Method == http.MethodGet {
		s.saw("files", r)
	}
	if s.before != nil && s.before(w, r, path) {
		return
	}
	content, ok := s.content[path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"`+s.oid(path)[:8]+`"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}

// cutAt answers the first n requests with the bytes up to at, and a cut connection.
func (s *server) cutAt(at, n int) {
	s.before = func(w http.ResponseWriter, r *http.Request, path string) bool {
		s.mu.Lock()
		n--
		cut := n >= 0
		s.mu.Unlock()
		if !cut {
			return false
		}
		w.Header().Set("ETag", `"`+s.oid(path)[:8]+`"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(s.content[path])))
		w.Write([]byte(s.content[path][:at]))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// options are those of a cache of the test's own. The waits that were asked for are
// counted, and take no time.
func (s *server) options(t *testing.T) (o hub.Options, waits *[]time.Duration) {
	t.Helper()
	for _, name := range []string{"LLAMA_ARG_OFFLINE", "LLAMA_OFFLINE", "HF_TOKEN", "LLAMA_CACHE"} {
		t.Setenv(name, "")
	}
	waits = new([]time.Duration)
	return hub.Options{Endpoint: s.hub.URL, CacheDir: t.TempDir(), Wait: func(ctx context.Context, d time.Duration) error {
		*waits = append(*waits, d)
		return ctx.Err()
	}}, waits
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// left are the names of all files below dir.
func left(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// hinted is an error of the package with the status, and a hint that holds some text.
func hinted(t *testing.T, err error, status int, hint string) {
	t.Helper()
	var e *hub.Error
	if !errors.As(err, &e) || e.Status != status || !strings.Contains(e.Hint, hint) || e.Hint == "" {
		t.Errorf("got %v, want status %d and a hint with %q", err, status, hint)
	}
}
