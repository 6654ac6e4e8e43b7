package check_test

import (
	"encoding/json"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/reward/check"
)

// Whatever arguments an instruction has, they are refused, or it can be held against any response.
func FuzzParse(f *testing.F) {
	for _, tc := range [][3]string{
		{"length_constraints:number_words", `{"num_words": 100, "relation": "at least"}`, "a few words"},
		{"keywords:frequency", `{"keyword": "a(b", "frequency": -1, "relation": "less than"}`, "a a"},
		{"detectable_format:number_bullet_lists", `{"num_bullets": 3}`, "* a\n* b"},
		{"language:response_language", `{"language": "de"}`, "das ist ein Satz"},
		{"length_constraints:nth_paragraph_first_word", `{"nth_paragraph": 99999999999, "num_paragraphs": 2, "first_word": "x"}`, "a\n\nb"},
		{"combination:repeat_prompt", `{"prompt_to_repeat": ""}`, "\xff"},
	} {
		f.Add(tc[0], []byte(tc[1]), tc[2])
	}
	f.Fuzz(func(t *testing.T, id string, kwargs []byte, response string) {
		list, err := check.Parse([]string{id}, []json.RawMessage{kwargs})
		if err != nil {
			return
		}
		for _, i := range list {
			if i.Met("") {
				t.Error("an empty response meets it")
			}
			i.Met(response)
		}
	})
}
