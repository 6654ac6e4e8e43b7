//go:build !llama_system

package llama_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
)

// namesInSource are what a pattern's group finds in a file of the module's llama.cpp, sorted.
func namesInSource(t *testing.T, file, pattern string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(embeddedModule(t), "llama", "llama.cpp", "src", file))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// What is said to be known is what the module's source knows.
func TestKnownInSource(t *testing.T) {
	architectures := slices.DeleteFunc(namesInSource(t, "llama-arch.cpp", `\{ LLM_ARCH_\w+,\s*"([^"]+)"`), func(name string) bool { return name == "clip" || name == "(unknown)" })
	for what, lists := range map[string][2][]string{
		"architectures":  {architectures, llama.Architectures()},
		"tokenizers":     {namesInSource(t, "llama-vocab.cpp", `tokenizer_model == "([^"]+)"`), llama.Tokenizers()},
		"pre-tokenizers": {namesInSource(t, "llama-vocab.cpp", `tokenizer_pre == "([^"]+)"`), llama.Pretokenizers()},
	} {
		if d := cmp.Diff(lists[0], lists[1]); d != "" || len(lists[0]) < 7 {
			t.Errorf("%s (- the source's, + ours):\n%s", what, d)
		}
	}
}
