package lint

import (
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exampleless are packages that nobody imports to build on: programs, with what they are made of,
// and a yardstick that needs a library of the machine's.
var exampleless = []string{"cli", "scripts", "internal", "llama/blas/openblas"}

// TestEveryPackageHasAnExample holds that every other package shows, in a function that go test
// compiles and compares with the output that it states, what it is for.
func TestEveryPackageHasAnExample(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if slices.ContainsFunc(exampleless, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }) {
			continue
		}
		if !hasExample(t, filepath.Join("../..", filepath.FromSlash(path))) {
			t.Errorf("%s has no Example with its output", path)
		}
	}
}

// hasExample says whether a test file of a package has an example that is run.
func hasExample(t *testing.T, dir string) bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(doc.Examples(file), func(e *doc.Example) bool { return e.Output != "" }) {
			return true
		}
	}
	return false
}
