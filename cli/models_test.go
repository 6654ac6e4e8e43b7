package cli

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A model of Ollama's is listed, described and decoded with by its name there, and nothing of
// Ollama's is written.
func TestOllamaModel(t *testing.T) {
	f := lab(t)
	data, err := os.ReadFile(f.model)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv("OLLAMA_MODELS", dir)
	t.Setenv("LLAMA_CACHE", t.TempDir())
	digest := fmt.Sprintf("%x", sha256.Sum256(data))
	for name, text := range map[string]string{
		"blobs/sha256-" + digest:                             string(data),
		"manifests/registry.ollama.ai/library/lab/tiny":      fmt.Sprintf(`{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:%s","size":%d}]}`, digest, len(data)),
		"manifests/registry.ollama.ai/library/newer/of-2030": fmt.Sprintf(`{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:%s","size":4}]}`, strings.Repeat("a", 64)),
		"blobs/sha256-" + strings.Repeat("a", 64):            "junk",
	} {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	all := func() (paths []string) {
		filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error { paths = append(paths, p); return err })
		return paths
	}
	before := all()
	listed, _ := runIvo(t, "models")
	for _, want := range []string{"-m ollama:lab:tiny ", "  llama ", "  F32 ", "  yes ", "-m ollama:newer:of-2030 ", "no: ivo inspect says why"} {
		if !strings.Contains(listed, want) {
			t.Errorf("%q is not in:\n%s", want, listed)
		}
	}
	if got, _ := runIvo(t, "models", "--json"); !strings.Contains(got, `"name":"-m ollama:lab:tiny"`) {
		t.Error(got)
	}
	if got, _ := runIvo(t, "inspect", "ollama:lab:tiny"); !strings.Contains(got, "loads here") {
		t.Error(got)
	}
	generate := func(model string) string {
		out, _ := runIvo(t, "generate", "-m", model, "-p", "i found a red kettle.\\nTL;DR:", "-n", "8", "--temp", "0")
		return out
	}
	if got, want := generate("ollama:lab:tiny"), generate(f.model); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	// A recipe names it, and so do the specs of rewards.
	check := func(reward string) string {
		t.Helper()
		dir := t.TempDir()
		recipe, prompts := filepath.Join(dir, "recipe.yaml"), filepath.Join(dir, "prompts.jsonl")
		for file, text := range map[string]string{
			prompts: `{"prompt": "a kettle"}`,
			recipe:  fmt.Sprintf("model: ollama:lab:tiny\nprompts: {test: %s}\nreward: %s\nmethods: [{id: base, strategy: sample}]\n", prompts, reward),
		} {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var said bytes.Buffer
		Main([]string{"ivo", "eval", recipe, "--check"}, &said, &said)
		return said.String()
	}
	const head = "head:../testdata/lab/summarize-reward.gguf@ollama:lab:"
	if got := check(head + "tiny"); !strings.Contains(got, "nothing is wrong with it") {
		t.Error(got)
	}
	for _, spec := range []string{head + "huge", "judge:ollama:lab:huge", "cls:ollama:lab:huge"} {
		if got := check(spec); !strings.Contains(got, "find ollama:lab:huge: ") {
			t.Errorf("%s: %s", spec, got)
		}
	}
	if after := all(); len(after) != len(before) {
		t.Errorf("%q was written to the folder of %q", after, before)
	}
}
