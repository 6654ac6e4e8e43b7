package main

import (
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// There are as many prompts as are promised, no id or text stands twice, in one part or in two,
// and the same ones are made each time.
func TestSplits(t *testing.T) {
	for name, make := range map[string]func() split{"openings": openings, "instructions": instructions} {
		s, again := make(), make()
		ids, texts := map[string]bool{}, map[string]bool{}
		for _, part := range []struct {
			records, again []prompt.Record
			want           int
		}{{s.learn, again.learn, learnPrompts}, {s.choose, again.choose, choosePrompts}, {s.test, again.test, testPrompts}} {
			if len(part.records) != part.want {
				t.Errorf("%s: %d prompts, want %d", name, len(part.records), part.want)
			}
			for i, r := range part.records {
				text := r.Show()
				if ids[r.ID] || texts[text] {
					t.Errorf("%s: %s stands twice: %s", name, r.ID, text)
				}
				ids[r.ID], texts[text] = true, true
				if other := part.again[i]; other.ID != r.ID || other.Show() != text {
					t.Errorf("%s: %s is another prompt the second time", name, r.ID)
				}
			}
		}
	}
}

// The reward checks what the instructions ask for: an answer made to order gets all of it, one
// that breaks both nothing.
func TestInstructionsAreChecked(t *testing.T) {
	rm, err := reward.Open("checks", reward.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rm.Close()
	s := instructions()
	records := append(append(s.learn, s.choose...), s.test...)
	if err := rm.(reward.Checker).Check(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range s.test {
		text := r.Messages[0].Content
		if !strings.Contains(text, "lower case letters") || !strings.Contains(text, "any commas") {
			continue
		}
		seen++
		scores, err := rm.Score(t.Context(), []reward.Item{{Prompt: r, Response: "a museum is a house of things"}, {Prompt: r, Response: "A museum, Madam, is a House"}})
		if err != nil || scores[0].Value != 1 || scores[1].Value != 0 {
			t.Errorf("%s: %v, %v", text, scores, err)
		}
	}
	if seen == 0 {
		t.Error("no instruction asks for lower case without commas")
	}
}
