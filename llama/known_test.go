package llama_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/pinned"
	"github.com/ivo-decoding/ivo/llama"
)

// A model whose architecture or tokenizer the linked llama.cpp does not know is refused by an error
// that names both, the copy that is linked in, and what helps. Loadable says so without loading.
func TestUnknown(t *testing.T) {
	for name, tc := range map[string]struct {
		arch, tokenizer string
		want            string
	}{
		"an architecture": {"perceptron", "llama", "no such architecture"},
		"a tokenizer":     {"llama", "magic", "no such tokenizer"},
		"both":            {"perceptron", "magic", ""}, // a system's llama.cpp tells of the architecture alone
		"neither":         {"llama", "llama", "-"},
	} {
		f := rawBase("llama")
		f.set("general.architecture", tc.arch)
		f.set("tokenizer.ggml.model", tc.tokenizer)
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := os.WriteFile(path, f.bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := llama.Load(path, llama.ModelParams{})
		if tc.want == "-" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				m.Close()
			}
			continue
		}
		var e *llama.Error
		if !errors.As(err, &e) || e.Path != path {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range []string{tc.arch, tc.tokenizer, llama.Build(), tc.want, "make LLAMA=", "the list of architectures"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in: %v", name, want, err)
			}
		}
		head, err := gguf.ReadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		if ahead := llama.Loadable(head); strings.HasPrefix(llama.Build(), "embedded") && (ahead == nil || ahead.Error() != e.Error()) {
			t.Errorf("%s: Loadable says %v, Load %v", name, ahead, e)
		}
	}
}

// The list of architectures has old ones and what only newer copies know, as the linked one is.
func TestKnownArchitectures(t *testing.T) {
	names := llama.Architectures()
	if names == nil && !strings.HasPrefix(llama.Build(), "embedded") {
		t.Skip("this llama.cpp does not tell")
	}
	if len(names) < 100 || !slices.IsSorted(names) || !slices.Contains(names, "llama") || slices.Contains(names, "perceptron") {
		t.Errorf("%q", names)
	}
	newer := strings.Contains(llama.Build(), pinned.LlamaCpp.Tag)
	for _, arch := range []string{"qwen35", "gemma4"} {
		if old := strings.HasPrefix(llama.Build(), "embedded"); (newer || old) && slices.Contains(names, arch) == old {
			t.Errorf("%s in the list: %t, of %s", arch, old, llama.Build())
		}
	}
}
