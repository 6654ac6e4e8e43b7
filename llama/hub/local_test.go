package hub_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama/hub"
)

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// layers is a manifest of Ollama's whose weights are a blob of n bytes.
func layers(digest string, n int) string {
	return fmt.Sprintf(`{"schemaVersion":2,"layers":[{"mediaType":"application/vnd.ollama.image.template","digest":"sha256:ff","size":1},`+
		`{"mediaType":"application/vnd.ollama.image.model","digest":%q,"size":%d}]}`, digest, n)
}

// machine is a home with models of all programs, and the environment that finds them.
func machine(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	for _, v := range []string{"LLAMA_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "IVO_CACHE"} {
		t.Setenv(v, "")
	}
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("OLLAMA_MODELS", filepath.Join(home, "ollama"))
	for name, text := range map[string]string{
		"ollama/manifests/registry.ollama.ai/library/llama3.2/latest":                                layers("sha256:"+digest, 4),
		"ollama/manifests/registry.ollama.ai/library/llama3.2/1b":                                    layers("sha256-"+digest, 4),
		"ollama/manifests/registry.ollama.ai/user/mine/q8":                                           layers("sha256:"+digest, 4),
		"ollama/manifests/hf.co/user/repo/Q4_K_M":                                                    layers("sha256:"+digest, 4),
		"ollama/manifests/registry.ollama.ai/library/cut/latest":                                     layers("sha256:"+digest, 9),
		"ollama/manifests/registry.ollama.ai/library/evil/latest":                                    layers("sha256:../../../etc/passwd", 4),
		"ollama/manifests/registry.ollama.ai/library/cloud/latest":                                   `{"layers":[]}`,
		"ollama/manifests/registry.ollama.ai/library/broken/latest":                                  `{`,
		"ollama/blobs/sha256-" + digest:                                                              "GGUF",
		".lmstudio/models/pub/repo-GGUF/m-Q4_K_M.gguf":                                               "GGUF4",
		".lmstudio/models/pub/repo-GGUF/m-Q8_0.gguf":                                                 "GGUF8",
		".lmstudio/models/pub/repo-GGUF/mmproj-m.gguf":                                               "GGUF",
		".cache/ivo/models/own.gguf":                                                                 "GGUF",
		".cache/llama.cpp/user_repo_old.gguf":                                                        "GGUF",
		".cache/huggingface/hub/models--user--repo/refs/main":                                        commit,
		".cache/huggingface/hub/models--user--repo/snapshots/" + commit + "/big-00001-of-00002.gguf": "GGUF1",
		".cache/huggingface/hub/models--user--repo/snapshots/" + commit + "/big-00002-of-00002.gguf": "GGUF2",
	} {
		p := filepath.Join(home, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

// Models of other programs are found by their names there, as those programs read them; what cannot
// be found says what there is.
func TestLocal(t *testing.T) {
	home := machine(t)
	blob := filepath.Join(home, "ollama", "blobs", "sha256-"+digest)
	studio := filepath.Join(home, ".lmstudio", "models", "pub", "repo-GGUF")
	for name, want := range map[string]string{
		"ollama:llama3.2": blob, "ollama:llama3.2:latest": blob, "ollama:llama3.2:1b": blob, "OLLAMA:library/llama3.2": blob,
		"ollama:user/mine:q8": blob, "ollama:hf.co/user/repo:Q4_K_M": blob,
		"lmstudio:pub/repo-GGUF": filepath.Join(studio, "m-Q4_K_M.gguf"), "lmstudio:Pub/Repo-gguf:q8_0": filepath.Join(studio, "m-Q8_0.gguf"),
		"lmstudio:pub/repo-GGUF/m-Q8_0.gguf": filepath.Join(studio, "m-Q8_0.gguf"),
		"model.gguf":                         "model.gguf",

		"ollama:llama4":              "no such GGUF model.*llama3.2:1b.*ollama pull llama4",
		"ollama:cut":                 "cut off.*pull it with Ollama again",
		"ollama:evil":                "names no file",
		"ollama:cloud":               "no weights",
		"ollama:broken":              "damaged",
		"ollama:../../x":             "not a name",
		"ollama:":                    "not a name",
		"lmstudio:pub/none":          "LM Studio has pub/repo-GGUF",
		"lmstudio:pub/repo-GGUF:F16": "Q4_K_M, Q8_0",
	} {
		got, err := hub.Source{Path: name}.Find(t.Context(), hub.Options{})
		said := ""
		if err != nil {
			said = err.Error()
		}
		for _, part := range strings.Split(want, ".*") {
			if got != want && !strings.Contains(said, part) || strings.HasPrefix(want, home) && err != nil {
				t.Errorf("%s: %q, %v, want %q", name, got, err, want)
			}
		}
	}
	t.Setenv("OLLAMA_MODELS", filepath.Join(home, "nowhere"))
	if _, err := (hub.Source{Path: "ollama:llama3.2"}).Find(t.Context(), hub.Options{}); err == nil || !strings.Contains(err.Error(), "OLLAMA_MODELS") {
		t.Error(err)
	}
}

// All models of the machine are listed, by the names under which they are found again.
func TestModels(t *testing.T) {
	home := machine(t)
	models, err := hub.Models(hub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range models {
		got = append(got, strings.ReplaceAll(fmt.Sprintf("%s: %s, %d bytes", m.From, m.Name, m.Bytes), home, "~"))
		p, err := m.Name.Find(t.Context(), hub.Options{Offline: true})
		if err != nil || p != m.Path {
			t.Errorf("%s is found at %q, %v, not at %s", m.Name, p, err, m.Path)
		}
	}
	want := []string{
		"ivo: ~/.cache/ivo/models/own.gguf, 4 bytes",
		"Hugging Face: user/repo big-00001-of-00002.gguf, 10 bytes",
		"llama.cpp: ~/.cache/llama.cpp/user_repo_old.gguf, 4 bytes",
		"Ollama: ollama:hf.co/user/repo:Q4_K_M, 4 bytes",
		"Ollama: ollama:llama3.2:1b, 4 bytes",
		"Ollama: ollama:llama3.2:latest, 4 bytes",
		"Ollama: ollama:user/mine:q8, 4 bytes",
		"LM Studio: lmstudio:pub/repo-GGUF/m-Q4_K_M.gguf, 5 bytes",
		"LM Studio: lmstudio:pub/repo-GGUF/m-Q8_0.gguf, 5 bytes",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(- want, + got)\n%s", d)
	}
}
