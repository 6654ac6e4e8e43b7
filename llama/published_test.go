package llama_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/pinned"
	"github.com/ivo-decoding/ivo/llama"
)

// Of all vocabularies that llama.cpp's pinned release carries, the published texts give the published
// tokens. Those that the linked copy does not know are refused, and with the pinned release there is
// none. They are there when it is linked (make LLAMA=TAG test), or IVO_VOCABULARIES names their folder.
func TestPublishedVocabularies(t *testing.T) {
	dir := os.Getenv("IVO_VOCABULARIES")
	newer := strings.Contains(llama.Build(), pinned.LlamaCpp.Tag)
	if dir == "" && newer {
		dir = filepath.Join(os.Getenv("IVO_LLAMA_CPP"), "share", "models")
	}
	if dir == "" {
		t.Skip("the vocabularies are not there: make LLAMA=" + pinned.LlamaCpp.Tag + " test brings them")
	}
	paths, err := filepath.Glob(filepath.Join(dir, "ggml-vocab-*.gguf"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vocabularies in %s: %v", dir, err)
	}
	const separator = "\n__ggml_vocab_test__\n" // behind every text
	var vocabularies, texts, differ, without int
	for _, path := range paths {
		name := filepath.Base(path)
		inputs, err := os.ReadFile(path + ".inp")
		if os.IsNotExist(err) {
			without++
			continue
		}
		outputs, err2 := os.ReadFile(path + ".out")
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		m, err := llama.Load(path, llama.ModelParams{VocabOnly: true})
		if err != nil {
			head, bad := gguf.ReadModel(path)
			if newer || bad != nil || llama.Loadable(head) == nil {
				t.Errorf("%s: %v", name, err)
			} else {
				t.Logf("%s: %v", name, err)
			}
			continue
		}
		vocabularies++
		in := strings.Split(strings.TrimSuffix(string(inputs), separator), separator)
		out := strings.Split(strings.TrimSuffix(string(outputs), "\n"), "\n")
		if len(in) != len(out) {
			t.Fatalf("%s: %d texts, %d lists of tokens", name, len(in), len(out))
		}
		for i, text := range in {
			var want []int32
			for _, field := range strings.Fields(out[i]) {
				token, err := strconv.Atoi(field)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, int32(token))
			}
			got, err := m.Tokenize(text, false, false)
			if texts++; err != nil || !slices.Equal(got, want) {
				differ++
				t.Errorf("%s, %q: %v (- published, + ours)\n%s", name, text, err, cmp.Diff(want, got))
			}
		}
		m.Close()
	}
	t.Logf("%d vocabularies, %d texts: %d differ; %d vocabularies have no published texts", vocabularies, texts, differ, without)
}
