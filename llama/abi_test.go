//go:build !llama_system

package llama_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
)

// Our declarations of llama.cpp's API agree with the module's own headers in every
// size, offset, constant and function type.
func TestABI(t *testing.T) {
	module := embeddedModule(t)
	cxx := os.Getenv("CXX")
	if cxx == "" {
		cxx = "g++"
	}
	probe := func(name string, flags ...string) string {
		t.Helper()
		bin := filepath.Join(t.TempDir(), name)
		args := append([]string{"-std=c++17", "-w", "-c", "-o", bin + ".o", "testdata/abi_probe.cpp"}, flags...)
		if out, err := exec.Command(cxx, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		// Nothing is called: the addresses are never taken at run time.
		if out, err := exec.Command(cxx, "-o", bin, bin+".o").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		out, err := exec.Command(bin).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return string(out)
	}
	ours := probe("ours", "-DIVO_ABI_OURS", "-I.")
	theirs := probe("theirs", "-I"+filepath.Join(module, "llama/llama.cpp/include"), "-I"+filepath.Join(module, "ml/backend/ggml/ggml/include"))
	// Two pointers whose types we leave opaque.
	theirs = strings.NewReplacer("const llama_model_tensor_buft_override *", "const void *").Replace(theirs)
	if d := cmp.Diff(strings.Split(theirs, "\n"), strings.Split(ours, "\n")); d != "" {
		t.Errorf("llama/abi.h differs from the module's headers (- theirs, + ours):\n%s", d)
	}
	if n := strings.Count(ours, "\n"); n < 150 {
		t.Errorf("the probe printed %d lines only", n)
	}
}

// embeddedModule is the folder of the module that llama.cpp is embedded from.
func embeddedModule(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/ollama/ollama").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// The pre-tokenizers that are said to be known are those of the module's source.
func TestPretokenizersOfSource(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(embeddedModule(t), "llama", "llama.cpp", "src", "llama-vocab.cpp"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`tokenizer_pre == "([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	if d := cmp.Diff(slices.Compact(names), llama.Pretokenizers()); d != "" || len(names) < 50 {
		t.Errorf("(- the source's, + ours):\n%s", d)
	}
}
