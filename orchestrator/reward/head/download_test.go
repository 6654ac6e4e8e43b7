package head_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama/hub"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// serve is a hub whose repository u/m holds the files of a folder; it tells which were asked for.
func serve(t *testing.T, folder string) (o hub.Options, asked func() []string) {
	t.Helper()
	for _, name := range []string{"LLAMA_ARG_OFFLINE", "LLAMA_OFFLINE", "HF_TOKEN", "LLAMA_CACHE"} {
		t.Setenv(name, "")
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	type m = map[string]any
	var names []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/models/u/m/refs":
			json.NewEncoder(w).Encode(m{"branches": []m{{"name": "main", "targetCommit": commit}}})
		case "/api/models/u/m/tree/" + commit:
			list := []m{}
			entries, _ := os.ReadDir(folder)
			for _, e := range entries {
				data, _ := os.ReadFile(filepath.Join(folder, e.Name()))
				list = append(list, m{"type": "file", "path": e.Name(), "lfs": m{"oid": fmt.Sprintf("%x", sha256.Sum256(data)), "size": len(data)}})
			}
			json.NewEncoder(w).Encode(list)
		default:
			name := strings.TrimPrefix(r.URL.Path, "/u/m/resolve/"+commit+"/")
			names = append(names, name)
			http.ServeFile(w, r, filepath.Join(folder, name))
		}
	}))
	t.Cleanup(s.Close)
	return hub.Options{Endpoint: s.URL, CacheDir: t.TempDir()}, func() []string {
		out := names
		names = nil
		slices.Sort(out)
		return slices.Compact(out)
	}
}

// Of a repository come the files alone that the head needs; what is imported is what the folder gives.
func TestDownload(t *testing.T) {
	m := load(t, lab)
	for shards, want := range map[int][]string{
		1: {"config.json", "model.safetensors", "tokenizer_config.json"},
		// The head's tensor and the final norm lie in two of three.
		3: {"config.json", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors", "model.safetensors.index.json", "tokenizer_config.json"},
	} {
		folder := t.TempDir()
		layouts["llama"].checkpoint(t, folder, m, "BF16", shards)
		if err := os.WriteFile(filepath.Join(folder, "tokenizer_config.json"), []byte(`{"chat_template": "{{ messages }}"}`), 0o644); err != nil {
			t.Fatal(err)
		}
		o, asked := serve(t, folder)
		got, err := head.Download(t.Context(), "u/m", o)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, asked()); d != "" {
			t.Errorf("%d files: asked for\n%s", shards, d)
		}
		there, err := head.Import(got)
		if err != nil {
			t.Fatal(err)
		}
		here, err := head.Import(folder)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(here, there); d != "" || there.Trunk.Template == "" {
			t.Errorf("%d files: %s", shards, d)
		}
		// The second time nothing is asked for, and without the hub it is there.
		o.Offline = true
		if again, err := head.Download(t.Context(), "u/m", o); err != nil || again != got || len(asked()) != 0 {
			t.Errorf("got %s, %v", again, err)
		}
	}
}

func TestDownloadRefuses(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no config":        {"model.safetensors": "x"},
		"only pickles":     {"config.json": "{}", "pytorch_model.bin": "x"},
		"several, no map":  {"config.json": "{}", "a.safetensors": "x", "b.safetensors": "x"},
		"a bad index":      {"config.json": "{}", "model.safetensors.index.json": "x"},
		"a file is absent": {"config.json": "{}", "model.safetensors.index.json": `{"weight_map": {"score.weight": "model-00001-of-00002.safetensors"}}`},
	} {
		folder := t.TempDir()
		for file, content := range files {
			if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		o, _ := serve(t, folder)
		if _, err := head.Download(t.Context(), "u/m", o); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}
