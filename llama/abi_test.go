package llama_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/internal/pinned"
)

// Our declarations of llama.cpp's API agree with the module's own headers in every
// size, offset, constant and function type.
func TestABI(t *testing.T) {
	module := embeddedModule(t)
	ours := probe(t, "-DIVO_ABI_OURS", "-I.")
	theirs := probe(t, "-I"+filepath.Join(module, "llama/llama.cpp/include"), "-I"+filepath.Join(module, "ml/backend/ggml/ggml/include"))
	if d := cmp.Diff(strings.Split(theirs, "\n"), strings.Split(ours, "\n")); d != "" {
		t.Errorf("llama/abi.h differs from the module's headers (- theirs, + ours):\n%s", d)
	}
	if n := strings.Count(ours, "\n"); n < 150 {
		t.Errorf("the probe printed %d lines only", n)
	}
}

// The headers of the release that ivo can be built with instead differ from ours in what
// testdata/abi_differences.txt says and no more: the shim is compiled against them, and compat.h
// chooses between the two where calls differ. The release's headers are there when it is linked
// (make LLAMA=TAG test).
func TestABIOfPinnedRelease(t *testing.T) {
	prefix := os.Getenv("IVO_LLAMA_CPP")
	if prefix == "" {
		t.Skip("the release is not there: make LLAMA=" + pinned.LlamaCpp.Tag + " test links with it")
	}
	if !strings.HasPrefix(filepath.Base(prefix), pinned.LlamaCpp.Tag+".") {
		t.Skip(prefix + " is another llama.cpp")
	}
	include := filepath.Join(prefix, "include")
	ours := strings.Split(probe(t, "-DIVO_ABI_OURS", "-I."), "\n")
	theirs := strings.Split(probe(t, append(absent(t, include), "-I"+include)...), "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "# Where llama/abi.h and the headers of llama.cpp %s differ. IVO_UPDATE=1 writes this anew.\n", pinned.LlamaCpp.Tag)
	for i := range max(len(ours), len(theirs)) {
		if o, n := at(ours, i), at(theirs, i); o != n {
			fmt.Fprintf(&b, "- %s\n+ %s\n", o, n)
		}
	}
	const golden = "testdata/abi_differences.txt"
	if os.Getenv("IVO_UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("the differences between the ABIs are not those of %s:\n%s", golden, d)
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// absent are the probe's switches for the names that headers do not have: it prints that they are
// not there.
func absent(t *testing.T, include string) (flags []string) {
	t.Helper()
	source, err := os.ReadFile("testdata/abi_probe.cpp")
	if err != nil {
		t.Fatal(err)
	}
	headers, err := filepath.Glob(filepath.Join(include, "*.h"))
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]bool{}
	for _, path := range headers {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range regexp.MustCompile(`\w+`).FindAllString(string(text), -1) {
			words[w] = true
		}
	}
	for _, m := range regexp.MustCompile(`(?:FUNCTION|VALUE)\((\w+)\)`).FindAllStringSubmatch(string(source), -1) {
		if !words[m[1]] {
			flags = append(flags, "-D"+m[1]+"=ivo_absent")
		}
	}
	return flags
}

// probe is what testdata/abi_probe.cpp says of the headers that the flags choose.
func probe(t *testing.T, flags ...string) string {
	t.Helper()
	cxx := os.Getenv("CXX")
	if cxx == "" {
		cxx = "g++"
	}
	bin := filepath.Join(t.TempDir(), "probe")
	args := append([]string{"-std=c++20", "-w", "-c", "-o", bin + ".o", "testdata/abi_probe.cpp"}, flags...)
	if out, err := exec.Command(cxx, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Nothing is called: the addresses are never taken at run time.
	if out, err := exec.Command(cxx, "-o", bin, bin+".o").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin).Output()
	if err != nil {
		t.Fatal(err)
	}
	// A pointer whose type we leave opaque.
	return strings.ReplaceAll(string(out), "const llama_model_tensor_buft_override *", "const void *")
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
