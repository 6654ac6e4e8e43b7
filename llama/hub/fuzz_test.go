package hub

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Whatever an Ollama keeps as a model's manifest, it is refused with a word on what to do, or names a file in its
// own folder.
func FuzzManifest(f *testing.F) {
	const name = "registry.ollama.ai/library/a/latest"
	dir := f.TempDir()
	path := filepath.Join(dir, "manifests", filepath.FromSlash(name))
	digest := strings.Repeat("a", 64)
	blob := filepath.Join(dir, "blobs", "sha256-"+digest)
	for _, p := range []string{path, blob} {
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.WriteFile(blob, []byte("GGUF"), 0o644); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:` + digest + `","size":4}]}`))
	f.Add([]byte(`{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:../../x","size":4}]}`))
	f.Add([]byte(`{"layers":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := readOllama(dir, name)
		switch {
		case err != nil && !strings.HasSuffix(err.Error(), ")"):
			t.Errorf("nothing to do about it: %v", err)
		case err == nil && l.Path != blob:
			t.Errorf("it names %s", l.Path)
		}
	})
}

// answers is a hub that answers each request with the next of some texts, and the last again.
type answers struct {
	t     *testing.T
	texts [][]byte
	link  string // of all but the last
	asked int
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") != "" && r.URL.Host != "hub.test" {
		a.t.Errorf("the token goes to %s", r.URL.Host)
	}
	a.asked++
	header := http.Header{}
	if a.asked < 4 {
		header["Link"] = []string{a.link}
	}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(strings.NewReader(string(a.texts[min(a.asked, len(a.texts))-1]))), Request: r}, nil
}

// Whatever the hub answers, it is refused with a word on what to do, or a list of files that lie in their repository, from which
// one is chosen or none; and the token goes nowhere else.
func FuzzReplies(f *testing.F) {
	commit := strings.Repeat("0a", 20)
	refs := []byte(`{"branches":[{"name":"main","targetCommit":"` + commit + `"}]}`)
	tree := []byte(`[{"type":"file","path":"m-Q8_0.gguf","oid":"` + commit + `","size":4,"lfs":{"oid":"` + strings.Repeat("b", 64) + `","size":5}}]`)
	f.Add(refs, tree, "")
	f.Add(refs, tree, `<https://hub.test/next?cursor=1>; rel="next"`)
	f.Add(refs, tree, `<//elsewhere.test/next>; rel="next"`)
	f.Add(refs, tree, `<http://[::1>; rel=next`)
	f.Add([]byte(`{"branches":[{"name":"../../x","targetCommit":"`+commit+`"}]}`), []byte(`[{"type":"file","path":"../x.gguf"},{"type":"file","path":"m.gguf","oid":"../..","size":-1}]`), "")
	f.Add([]byte("null"), []byte(`{"error":"no"}`), "")
	f.Fuzz(func(t *testing.T, refs, tree []byte, link string) {
		s, err := open(Options{Endpoint: "https://hub.test", Token: "secret", CacheDir: t.TempDir(), Client: &http.Client{Transport: &answers{t: t, texts: [][]byte{refs, tree}, link: link}},
			Wait: func(context.Context, time.Duration) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.list(t.Context(), "user/model", 1)
		if err != nil {
			if !strings.HasSuffix(err.Error(), ")") {
				t.Errorf("nothing to do about it: %v", err)
			}
			return
		}
		var paths []string
		for _, o := range l.files {
			if !filepath.IsLocal(filepath.FromSlash(o.path)) || o.oid != "" && !objectID.MatchString(o.oid) {
				t.Errorf("it lists %+v", o)
			}
			paths = append(paths, o.path)
		}
		if !commitHash.MatchString(l.commit) || !filepath.IsLocal(l.branch) {
			t.Errorf("it is at %q of %q", l.commit, l.branch)
		}
		parts, err := choose("user/model", paths, "", "")
		if err == nil && !slices.Contains(paths, parts[0]) {
			t.Errorf("%q is chosen of %q", parts, paths)
		}
	})
}

// Whatever the files hold that other programs keep beside their models, they name a model in its folder, or none: llama.cpp's
// manifests and commits, and LM Studio's settings.
func FuzzKept(f *testing.F) {
	dir, home := f.TempDir(), f.TempDir()
	f.Setenv("HOME", home)
	s, err := open(Options{CacheDir: dir, Offline: true})
	if err != nil {
		f.Fatal(err)
	}
	commit, sum := strings.Repeat("0a", 20), strings.Repeat("b", 64)
	model := s.flatPath("user/model", "m.gguf")
	snapshot := filepath.Join(s.repoDir("user/model"), "snapshots", commit)
	files := []string{filepath.Join(dir, "manifest=user=model=latest.json"), filepath.Join(s.repoDir("user/model"), "refs", "main"), filepath.Join(home, ".lmstudio", "settings.json")}
	for _, path := range append(files, model, filepath.Join(snapshot, "m.gguf")) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("GGUF"), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	downloads, err := json.Marshal(map[string]string{"downloadsFolder": dir})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), []byte(`{"ggufFile":{"rfilename":"m.gguf","lfs":{"sha256":"`+sum+`"}}}`))
	f.Add(uint8(0), []byte(`{"ggufFile":{"rfilename":"../../x.gguf"}}`))
	f.Add(uint8(1), []byte(commit+"\n"))
	f.Add(uint8(1), []byte("../"+commit))
	f.Add(uint8(2), downloads)
	f.Add(uint8(2), []byte(`{"downloadsFolder":"\u0000"}`))
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		if err := os.WriteFile(files[kind%3], data, 0o644); err != nil {
			t.Fatal(err)
		}
		switch kind % 3 {
		case 0:
			if got := s.flatCached("user/model", "", ""); got != "" && got != model {
				t.Errorf("it names %s", got)
			}
			if got := s.flatFetched("user/model", []object{{path: "m.gguf", oid: sum, size: 4}}); got != "" && got != model {
				t.Errorf("it names %s", got)
			}
		case 1:
			if got := s.snapshot("user/model"); got != "" && got != snapshot {
				t.Errorf("it names %s", got)
			}
		case 2:
			for _, got := range studioDirs() {
				if st, err := os.Stat(got); err != nil || !st.IsDir() {
					t.Errorf("it names %s: %v", got, err)
				}
			}
		}
	})
}
