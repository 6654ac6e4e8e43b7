package think_test

import (
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/think"
)

// Whatever a model says, thought and answer are told once, and what is told of it at once is told in two parts too.
func FuzzReader(f *testing.F) {
	for _, text := range []string{"<think>a</think>b", "a</think>\n\nb<think>c", "<|channel|>analysis<|message|>x<|end|>", "<thi<think>", "\n <think>\n"} {
		f.Add(text)
	}
	v := vocabularyOf("<|start|>", "<|end|>", "<|channel|>", "<|message|>")
	formats := []think.Format{think.Tags("<think>", "</think>")}
	if format, ok := think.Find("<|channel|>analysis<|message|>", v.specials); ok {
		formats = append(formats, format)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, format := range formats {
			r := v.compile(format).Begin(nil)
			said := 0
			for _, token := range v.tokens(text) {
				thought, answer := r.Push(token)
				said += len(thought) + len(answer)
			}
			thought, answer := r.End()
			if said += len(thought) + len(answer); said > len(text) {
				t.Errorf("%q is told as %d bytes", text, said)
			}
			format.Split(text)
		}
	})
}
