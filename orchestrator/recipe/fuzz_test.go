package recipe_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/recipe"
)

// Whatever a recipe holds, it is read, or its problems are told with what to do about each.
func FuzzRead(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.yaml")
	bad, _ := filepath.Glob("testdata/bad/*.yaml")
	for _, path := range append(paths, bad...) {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("a: &a [*a, *a]\n"))
	f.Add([]byte("- &b {<<: *b}\n"))
	path := filepath.Join(f.TempDir(), "recipe.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := recipe.Read(path); err != nil && !strings.HasSuffix(err.Error(), ")") {
			t.Errorf("nothing to do about it: %v", err)
		}
	})
}
