package head_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// Whatever a file holds, it is refused with a word on what to do, or is a head that can be saved again.
func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	path, again := filepath.Join(dir, "head.gguf"), filepath.Join(dir, "again.gguf")
	if err := random().Save(path); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		h, err := head.Load(path)
		switch {
		case err != nil && (!strings.HasSuffix(err.Error(), ")") || !strings.Contains(err.Error(), path)):
			t.Errorf("it does not say which file, or what to do: %v", err)
		case err == nil:
			if err := h.Save(again); err != nil {
				t.Errorf("what was read cannot be written: %v", err)
			}
		}
	})
}
