package llama_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

// A BPE vocabulary whose pre-tokenizer is missing or unknown is refused, unless the caller
// says what to take instead; one that is known stays as it is.
func TestPretokenizer(t *testing.T) {
	const text = "a12b" // qwen2 cuts between any two digits, default between words and numbers
	model := func(base, pre string) string {
		f := rawBase(base)
		if f.drop("tokenizer.ggml.pre"); pre != "" {
			f.set("tokenizer.ggml.pre", pre)
		}
		if base == "bpe" {
			tokens := slices.Clone(f.tokens())
			tokens[slices.Index(tokens, "ab")] = "12"
			f.set("tokenizer.ggml.tokens", tokens)
			f.set("tokenizer.ggml.merges", []string{"1 2"})
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := os.WriteFile(path, f.bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tokens := func(m *llama.Model) []int32 {
		t.Helper()
		got, err := m.Tokenize(text, false, false)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	ref := map[string][]int32{}
	for _, pre := range []string{"default", "qwen2"} {
		ref[pre] = tokens(load(t, model("bpe", pre)))
	}
	if slices.Equal(ref["default"], ref["qwen2"]) {
		t.Fatalf("the text %q does not tell the rules apart: %v", text, ref)
	}
	for name, tc := range map[string]struct{ base, pre, other, want string }{
		"known":                {"bpe", "qwen2", "", "qwen2"},
		"known, with another":  {"bpe", "qwen2", "default", "qwen2"},
		"unknown":              {"bpe", "qwen35-of-tomorrow", "", ""},
		"unknown, as another":  {"bpe", "qwen35-of-tomorrow", "qwen2", "qwen2"},
		"unknown, as default":  {"bpe", "qwen35-of-tomorrow", "default", "default"},
		"missing":              {"bpe", "", "", ""},
		"missing, as another":  {"bpe", "", "qwen2", "qwen2"},
		"another vocabulary":   {"llama", "nonsense", "", "any"},
		"another, with a rule": {"llama", "", "qwen2", "any"},
	} {
		m, err := llama.Load(model(tc.base, tc.pre), llama.ModelParams{Pretokenizer: tc.other})
		var e *llama.Error
		switch {
		case tc.want == "":
			if !errors.As(err, &e) || !strings.Contains(e.Hint, "{override}") || !strings.Contains(err.Error(), tc.pre) || e.Path == "" {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.want != "any" && !slices.Equal(tokens(m), ref[tc.want]):
			t.Errorf("%s: %v, want %v", name, tokens(m), ref[tc.want])
		}
		if m != nil {
			m.Close()
		}
	}
	for _, other := range []string{"nonsense", "a\x00", strings.Repeat("x", 200)} {
		if m, err := llama.Load(model("bpe", ""), llama.ModelParams{Pretokenizer: other}); err == nil {
			m.Close()
			t.Errorf("%.20q was taken", other)
		}
	}
}
