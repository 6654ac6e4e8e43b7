package prompt

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// texts are texts in which special tokens, parts of them and white space come together.
func texts() *rapid.Generator[string] {
	pieces := slices.Concat(controlTexts, addedTexts, []string{"<s>", "</s>", "<unk>", " ", "  ", "\n", "\t", "<", "<|", "|>", "im_end|>", "hi", "the hat", " be", ".", "é", "😀", "[", "]"})
	return rapid.Map(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12), func(s []string) string { return strings.Join(s, "") })
}

// Where nothing has to stay text, the pieces between the special tokens give what llama.cpp
// gives for the whole.
func TestSplitAsLlama(t *testing.T) {
	for name := range vocabularies {
		t.Run(name, func(t *testing.T) {
			m := tokenizer(t, name, "")
			e, err := NewEncoder(m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, func(t *rapid.T) {
				text := texts().Draw(t, "text")
				want, err := m.Tokenize(text, true, true)
				if err != nil {
					t.Fatal(err)
				}
				got, err := e.join(text, nil)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q: got %v, want %v", text, got, want)
				}
			})
		})
	}
}

// What stays text gives no special token but those that are text everywhere, and the text is
// what it was.
func TestLiteral(t *testing.T) {
	for name := range vocabularies {
		t.Run(name, func(t *testing.T) {
			m := tokenizer(t, name, "")
			e, err := NewEncoder(m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			rapid.Check(t, func(t *rapid.T) {
				text := texts().Draw(t, "text")
				got, err := e.tokenize(text, []span{{0, len(text)}})
				if err != nil {
					t.Fatal(err)
				}
				want, err := m.Tokenize(text, true, false)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q: got %v, without parsing %v", text, got, want)
				}
			})
		})
	}
}
