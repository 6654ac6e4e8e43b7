package hub_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama/hub"
)

// A model is downloaded once, into the layout that the Hugging Face libraries and
// llama.cpp share, and is found there without the network.
func TestRepo(t *testing.T) {
	s := newServer(t, "README.md", "x", "m-Q4_K_M.gguf", text(3<<20), "m-Q8_0.gguf", text(50))
	o, _ := s.options(t)
	var last [2]int64
	o.Progress = func(file string, done, total int64) {
		if file != "m-Q4_K_M.gguf" || done < last[0] || done > total {
			t.Errorf("progress %s %d/%d after %v", file, done, total, last)
		}
		last = [2]int64{done, total}
	}
	path, err := hub.Repo(t.Context(), "u/m", "", o)
	if err != nil {
		t.Fatal(err)
	}
	repo := filepath.Join(o.CacheDir, "models--u--m")
	if want := filepath.Join(repo, "snapshots", commit, "m-Q4_K_M.gguf"); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	if read(t, path) != s.content["m-Q4_K_M.gguf"] || last[0] != last[1] || last[0] == 0 {
		t.Errorf("wrong content, or progress that ends with %v", last)
	}
	if target, err := os.Readlink(path); target != "../../blobs/"+s.oid("m-Q4_K_M.gguf") {
		t.Errorf("link to %s, %v", target, err)
	}
	if ref := read(t, filepath.Join(repo, "refs", "main")); ref != commit {
		t.Errorf("refs/main is %q", ref)
	}
	same(t, "in the cache", left(t, repo), "blobs/"+s.oid("m-Q4_K_M.gguf"), "refs/main", "snapshots/"+commit+"/m-Q4_K_M.gguf")
	same(t, "requests", s.requests(), "m-Q4_K_M.gguf")

	o.Progress = func(string, int64, int64) { t.Error("progress without a download") }
	if again, err := hub.Repo(t.Context(), "u/m:q4_k_m", "", o); again != path {
		t.Errorf("again: %s, %v", again, err)
	}
	// A link whose blob is gone, and a blob without its link.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if again, err := hub.Repo(t.Context(), "u/m", "", o); again != path {
		t.Errorf("without the link: %s, %v", again, err)
	}
	same(t, "requests", s.requests())

	s.hub.Close()
	if again, err := hub.Repo(t.Context(), "u/m", "", o); again != path {
		t.Errorf("without the hub: %s, %v", again, err)
	}
	o.Offline = true
	if again, err := hub.Repo(t.Context(), "u/m", "M-Q4_K_M.gguf", o); again != path {
		t.Errorf("offline: %s, %v", again, err)
	}
	if _, err := hub.Repo(t.Context(), "u/m:Q8_0", "", o); !errors.Is(err, hub.ErrNotCached) {
		t.Errorf("offline, another quantization: %v", err)
	} else {
		hinted(t, err, 0, "{offline}")
	}
}

func TestRepoChoice(t *testing.T) {
	for name, tc := range map[string]struct {
		repo, file string
		files      []string // besides the one that is wanted
		want       string
		requests   []string
	}{
		"default":            {repo: "u/m", files: []string{"a-BF16.gguf", "m-Q8_0.gguf"}, want: "z-q4_k_m.gguf"},
		"by tag":             {repo: "u/m:q8_0", files: []string{"a-Q4_K_M.gguf"}, want: "m-Q8_0.gguf"},
		"by file":            {repo: "u/m", file: "sub/b.gguf", files: []string{"a-Q4_K_M.gguf"}, want: "sub/b.gguf"},
		"not lfs":            {repo: "u/m", file: "notes.txt", files: []string{"a-Q4_K_M.gguf"}, want: "notes.txt"},
		"second page":        {repo: "u/m", files: []string{"1", "2", "3", "4", "5"}, want: "m.gguf"},
		"name to be escaped": {repo: "u/m", want: "m 100%?#.gguf", requests: []string{"m 100%?#.gguf"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			for _, f := range append(tc.files, tc.want) {
				s.paths = append(s.paths, f)
				s.content[f] = "GGUF, content of " + f
			}
			s.pageSize = 2
			o, _ := s.options(t)
			path, err := hub.Repo(t.Context(), tc.repo, tc.file, o)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(filepath.ToSlash(path), "/"+tc.want) || read(t, path) != s.content[tc.want] {
				t.Errorf("%s: %q", path, read(t, path))
			}
			same(t, "requests", s.requests(), tc.want)
		})
	}
}

// A value head beside a model is found as the model is.
func TestHead(t *testing.T) {
	s := newServer(t, "m-Q8_0.gguf", text(100), "heads/kind.gguf", "GGUF kind", "heads/head.gguf", "GGUF head")
	o, _ := s.options(t)
	for range 2 {
		for repo, want := range map[string]string{"u/m": "GGUF head", "u/m:kind": "GGUF kind"} {
			if path, err := hub.Head(t.Context(), repo, o); err != nil || read(t, path) != want {
				t.Errorf("%s: %s, %v", repo, path, err)
			}
		}
		o.Offline = true
	}
	if n := len(s.requests()); n != 2 {
		t.Errorf("%d files were fetched", n)
	}
	_, err := hub.Head(t.Context(), "u/m:m-Q8_0.gguf", o)
	hinted(t, err, 0, "{offline}")
	o.Offline = false
	_, err = hub.Head(t.Context(), "u/m:none", o)
	hinted(t, err, 0, "heads/kind.gguf")
}

func TestRepoSplit(t *testing.T) {
	s := newServer(t, "q/m-00001-of-00002.gguf", text(100), "q/m-00002-of-00002.gguf", text(70), "q/n-00002-of-00002.gguf", "x")
	o, _ := s.options(t)
	path, err := hub.Repo(t.Context(), "u/m", "", o)
	if err != nil {
		t.Fatal(err)
	}
	second := strings.Replace(path, "00001-of", "00002-of", 1)
	if read(t, path) != text(100) || read(t, second) != text(70) {
		t.Error("wrong content")
	}
	same(t, "requests", s.requests(), "q/m-00001-of-00002.gguf", "q/m-00002-of-00002.gguf")
	// What is missing is fetched, and missed without the network.
	if err := os.Remove(filepath.Join(o.CacheDir, "models--u--m", "blobs", s.oid("q/m-00002-of-00002.gguf"))); err != nil {
		t.Fatal(err)
	}
	off := o
	off.Offline = true
	if _, err := hub.Repo(t.Context(), "u/m", "", off); !errors.Is(err, hub.ErrNotCached) {
		t.Errorf("half a model: %v", err)
	}
	if _, err := hub.Repo(t.Context(), "u/m", "q/m-00002-of-00002.gguf", o); err != nil || read(t, second) != text(70) {
		t.Errorf("the other half: %v", err)
	}
	same(t, "requests", s.requests(), "q/m-00002-of-00002.gguf")
}

// A new version is fetched; the old one stays until it is there.
func TestRepoMoves(t *testing.T) {
	s := newServer(t, "m.gguf", text(100))
	o, _ := s.options(t)
	old := filepath.Join(o.CacheDir, "models--u--m", "snapshots", strings.Repeat("a", 40), "m.gguf")
	for name, content := range map[string]string{old: "old", filepath.Join(o.CacheDir, "models--u--m", "refs", "main"): strings.Repeat("a", 40) + "\n"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.before = func(w http.ResponseWriter, r *http.Request, path string) bool {
		w.WriteHeader(http.StatusNotFound)
		return true
	}
	_, err := hub.Repo(t.Context(), "u/m", "", o)
	hinted(t, err, 404, "name")
	off := o
	off.Offline = true
	if path, err := hub.Repo(t.Context(), "u/m", "", off); path != old {
		t.Errorf("after a failed update: %s, %v", path, err)
	}
	s.before = nil
	if path, err := hub.Repo(t.Context(), "u/m", "", o); err != nil || read(t, path) != text(100) {
		t.Errorf("update: %v", err)
	}
}

func TestRepoRefused(t *testing.T) {
	s := newServer(t, "m-Q4_K_M.gguf", "x", "m-IQ2_XS-00001-of-00002.gguf", "y", "mmproj-F16.gguf", "z")
	o, waits := s.options(t)
	for name, tc := range map[string]struct {
		repo, file, token string
		status            int
		header            string // of the hub's answers: X-Error-Code
		hint              string
		waits             int
	}{
		"no repository":      {repo: "u/nothing", status: 404, hint: "name"},
		"not a name":         {repo: "u/m/n", hint: "user/repo"},
		"up the tree":        {repo: "../m", hint: "user/repo"},
		"no quantization":    {repo: "u/m:Q9", hint: "Q4_K_M, IQ2_XS"},
		"not a model":        {repo: "u/m:F16", hint: "Q4_K_M, IQ2_XS"},
		"no file":            {repo: "u/m", file: "n.gguf", hint: "m-Q4_K_M.gguf"},
		"half a split model": {repo: "u/m:IQ2_XS", hint: "another quantization"},
		"unauthorized":       {repo: "u/m", status: 401, hint: "HF_TOKEN"},
		"bad token":          {repo: "u/m", token: "t", status: 401, hint: "valid"},
		"gated":              {repo: "u/m", status: 403, header: "GatedRepo", hint: "ask for access"},
		"gated, with token":  {repo: "u/m", token: "t", status: 403, header: "GatedRepo", hint: "account"},
		"too many requests":  {repo: "u/m", status: 429, hint: "wait", waits: 2},
		"broken":             {repo: "u/m", status: 500, hint: "later", waits: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s.api = nil
			if tc.status != 0 && tc.status != 404 {
				s.api = func(w http.ResponseWriter) int {
					w.Header().Set("X-Error-Code", tc.header)
					return tc.status
				}
			}
			o, before := o, len(*waits)
			o.Token = tc.token
			_, err := hub.Repo(context.Background(), tc.repo, tc.file, o)
			hinted(t, err, tc.status, tc.hint)
			if n := len(*waits) - before; n != tc.waits {
				t.Errorf("%d waits, want %d", n, tc.waits)
			}
		})
	}
	if _, err := hub.Repo(t.Context(), "u/m", "", hub.Options{Endpoint: "huggingface.co"}); err == nil {
		t.Error("an endpoint without a scheme")
	} else {
		hinted(t, err, 0, "HF_ENDPOINT")
	}
}

// The token goes to the hub and to no one else.
func TestToken(t *testing.T) {
	s := newServer(t, "m.gguf", text(100))
	o, _ := s.options(t)
	t.Setenv("HF_TOKEN", "hf_secret\n")
	if _, err := hub.Repo(t.Context(), "u/m", "", o); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.URL(t.Context(), s.files.URL+"/m.gguf", "", o); err != nil {
		t.Fatal(err)
	}
	if got := s.tokens["hub"]; got != strings.Repeat("Bearer hf_secret", 3) {
		t.Errorf("the hub got %q", got)
	}
	if got := s.tokens["files"]; got != "" {
		t.Errorf("the other server got %q", got)
	}
}

// Files of a checkpoint are downloaded whatever they hold, but for web pages, and found again without the hub.
func TestFiles(t *testing.T) {
	s := newServer(t, "config.json", `{"a": 1}`, "model.safetensors", "0123456789", "sub/config.json", "{}", "model.gguf", text(20))
	o, _ := s.options(t)
	choose := func(names []string) ([]string, error) {
		if got := strings.Join(names, " "); !strings.HasPrefix(got, "config.json model.") || strings.Contains(got, "/") {
			t.Errorf("%q are there to choose from", got)
		}
		return []string{"config.json", "model.safetensors"}, nil
	}
	folder, err := hub.Files(t.Context(), "u/m", choose, o)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"config.json": `{"a": 1}`, "model.safetensors": "0123456789"} {
		if got := read(t, filepath.Join(folder, name)); got != want {
			t.Errorf("%s: got %q", name, got)
		}
	}
	same(t, "requests", s.requests(), "config.json", "model.safetensors")
	o.Offline = true
	if again, err := hub.Files(t.Context(), "u/m", choose, o); err != nil || again != folder {
		t.Errorf("without the hub: %s, %v", again, err)
	}
	o.Offline = false
	_, err = hub.Files(t.Context(), "u/m", func([]string) ([]string, error) { return nil, errors.New("nothing suits") }, o)
	hinted(t, err, 0, "check the name")
	_, err = hub.Files(t.Context(), "u/m:Q8_0", choose, o)
	hinted(t, err, 0, "write user/repo")
	s.content["page.json"] = "<!DOCTYPE html><html>sign in</html>"
	s.paths = append(s.paths, "page.json")
	if _, err = hub.Files(t.Context(), "u/m", func([]string) ([]string, error) { return []string{"page.json"}, nil }, o); err == nil {
		t.Error("a web page was kept")
	}
}
