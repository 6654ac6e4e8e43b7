package check

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Sentences are the text in parts: nothing but white space is lost between them.
func TestSentencesAreTheText(t *testing.T) {
	bare := func(s string) string { return strings.Join(strings.FieldsFunc(s, isSpace), "") }
	pieces := rapid.SampledFrom(strings.Split(`a|I|He|Mr|U.S|e.g|3.5|No|.|!|?|...|. . .|"|'|)|(|”|“|*|--|,|:|;| |  |`+"\n|\u00a0|é|日本", "|"))
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(pieces).Draw(t, "text"), "")
		sentences := english().split(text)
		if got := strings.Join(sentences, ""); bare(got) != bare(text) {
			t.Fatalf("got %q", sentences)
		}
		for _, s := range sentences {
			if s == "" {
				t.Fatalf("got %q", sentences)
			}
		}
	})
}
