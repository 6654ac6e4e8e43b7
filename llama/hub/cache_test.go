package hub_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ivo-decoding/ivo/llama/hub"
)

// The cache is where the environment says.
func TestCacheFolder(t *testing.T) {
	s := newServer(t, "m.gguf", text(100))
	names := []string{"LLAMA_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}
	for i, hubDir := range []string{"", "", "", "hub", "huggingface/hub", ".cache/huggingface/hub"} {
		t.Run(names[i], func(t *testing.T) {
			if names[i] == "HOME" && runtime.GOOS == "windows" {
				t.Skip("another variable there")
			}
			o, _ := s.options(t)
			o.CacheDir, o.Endpoint = "", ""
			t.Setenv("MODEL_ENDPOINT", "")
			t.Setenv("HF_ENDPOINT", s.hub.URL)
			// Each variable goes before those that follow it.
			for j, name := range names {
				value := filepath.Join(t.TempDir(), name)
				if j < i {
					value = ""
				}
				t.Setenv(name, value)
			}
			path, err := hub.Repo(t.Context(), "u/m", "", o)
			if want := filepath.Join(os.Getenv(names[i]), filepath.FromSlash(hubDir), "models--u--m", "snapshots", commit, "m.gguf"); path != want {
				t.Errorf("-hf: %s, want %s, %v", path, want, err)
			}
			flat := filepath.Join(os.Getenv("XDG_CACHE_HOME"), "llama.cpp")
			switch {
			case names[i] == "LLAMA_CACHE":
				flat = os.Getenv("LLAMA_CACHE")
			case runtime.GOOS == "darwin":
				flat = filepath.Join(os.Getenv("HOME"), "Library", "Caches", "llama.cpp")
			case names[i] == "HOME":
				flat = filepath.Join(os.Getenv("HOME"), ".cache", "llama.cpp")
			}
			path, err = hub.URL(t.Context(), s.files.URL+"/m.gguf", "", o)
			if want := filepath.Join(flat, "m.gguf"); path != want {
				t.Errorf("-mu: %s, want %s, %v", path, want, err)
			}
		})
	}
}

// What older versions of llama.cpp downloaded is used where it lies, unless it is not
// what the hub has now.
func TestFlatLayout(t *testing.T) {
	const name = "q/m-Q8_0.gguf"
	for title, tc := range map[string]struct {
		repo, file  string
		content     string
		manifest    string // its checksum, %s for the right one; "" for none
		found       bool
		foundHidden bool // without the network
	}{
		"with manifest":    {repo: "u/m:Q8_0", content: text(100), manifest: "%s", found: true, foundHidden: true},
		"without manifest": {repo: "u/m:q8_0", content: text(100), found: true, foundHidden: true},
		"by file":          {repo: "u/m", file: name, content: text(100), found: true, foundHidden: true},
		"other length":     {repo: "u/m:Q8_0", content: text(90), manifest: "%s", foundHidden: true},
		"other checksum":   {repo: "u/m:Q8_0", content: text(100), manifest: "00%.62s", foundHidden: true},
		"other tag":        {repo: "u/m:Q2_K", content: text(100), manifest: "%s"},
	} {
		t.Run(title, func(t *testing.T) {
			s := newServer(t, name, text(100), "q/m-Q2_K.gguf", text(50))
			o, _ := s.options(t)
			flat := filepath.Join(o.CacheDir, "u_m_q_m-Q8_0.gguf")
			if err := os.WriteFile(flat, []byte(tc.content), 0o644); err != nil {
				t.Fatal(err)
			}
			if tc.manifest != "" {
				text := fmt.Sprintf(`{"ggufFile":{"rfilename":%q,"size":100,"lfs":{"sha256":%q}}}`, name, fmt.Sprintf(tc.manifest, s.oid(name)))
				if err := os.WriteFile(filepath.Join(o.CacheDir, "manifest=u=m=Q8_0.json"), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			off := o
			off.Offline = true
			if path, err := hub.Repo(t.Context(), tc.repo, tc.file, off); (path == flat) != tc.foundHidden {
				t.Errorf("offline: %s, %v", path, err)
			}
			path, err := hub.Repo(t.Context(), tc.repo, tc.file, o)
			if err != nil || (path == flat) != tc.found {
				t.Errorf("online: %s, %v", path, err)
			}
			if fetched := len(s.requests()) > 0; fetched == tc.found {
				t.Errorf("fetched: %v", fetched)
			}
		})
	}
}

// A manifest's word of the file goes before a choice by name.
func TestFlatManifest(t *testing.T) {
	s := newServer(t)
	o, _ := s.options(t)
	o.Offline = true
	for name, content := range map[string]string{
		"u_m_a.gguf": "a", "u_m_b.gguf": "b", "manifest=u=m=latest.json": `{"ggufFile":{"rfilename":"b.gguf"}}`, "manifest=u=m=bad.json": "{",
	} {
		if err := os.WriteFile(filepath.Join(o.CacheDir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if path, err := hub.Repo(t.Context(), "u/m", "", o); filepath.Base(path) != "u_m_b.gguf" {
		t.Errorf("%s, %v", path, err)
	}
}
