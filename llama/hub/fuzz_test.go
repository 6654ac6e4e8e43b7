package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
