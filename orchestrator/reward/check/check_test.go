package check_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/reward/check"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ id, kwargs, want string }{
		{"punctuation:no_comma", `{}`, ""},
		{"punctuation:no_comma", `null`, ""},
		{"punctuation:no_comma", `{"num_words": null, "keywords": null}`, ""},
		{"length_constraints:number_words", `{"num_words": 3.0, "relation": "at least", "letter": null}`, ""},
		{"length_constraints:number_words", `{"num_words": 0, "relation": "less than"}`, ""},
		{"length_constraints:number_words", `{"num_words": 3.5, "relation": "at least"}`, "whole number"},
		{"length_constraints:number_words", `{"num_words": -1, "relation": "at least"}`, "whole number"},
		{"length_constraints:number_words", `{"num_words": "3", "relation": "at least"}`, `"num_words" is "3"`},
		{"length_constraints:number_words", `{"num_words": 3}`, `"relation" is missing`},
		{"length_constraints:number_words", `{"num_words": null, "relation": "at least"}`, `"num_words" is missing`},
		{"length_constraints:number_words", `{"num_words": 3, "relation": "at most"}`, "at least"},
		{"length_constraints:number_words", `[]`, "JSON object"},
		{"length_constraints:nth_paragraph_first_word", `{"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"}`, "2 paragraphs"},
		{"length_constraints:nth_paragraph_first_word", `{"num_paragraphs": 2, "nth_paragraph": 0, "first_word": "a"}`, "2 paragraphs"},
		{"keywords:existence", `{"keywords": []}`, "empty"},
		{"keywords:existence", `{"keywords": "a"}`, "list of texts"},
		{"keywords:letter_frequency", `{"letter": "ab", "let_frequency": 1, "let_relation": "at least"}`, "one letter"},
		{"startend:end_checker", `{"end_phrase": " "}`, "empty"},
		{"language:response_language", `{"language": "xx"}`, "sw, "},
		{"words:start_verb", `{}`, `kind "words:start_verb" (known are words:alphabet,`},
		{"no_comma", `{}`, `kind "no_comma" (known are change_case:`},
		{"count:words_japanese", `{"N": 0}`, `"N" is 0`},
		{"ratio:overlap", `{"percentage": 12.5, "reference_text": "abc"}`, ""},
		{"ratio:overlap", `{"percentage": 12.5}`, `"reference_text" is missing`},
	} {
		_, err := check.Parse([]string{tc.id}, []json.RawMessage{json.RawMessage(tc.kwargs)})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %s: got error %v, want %q", tc.id, tc.kwargs, err, tc.want)
		}
	}
	if _, err := check.Parse([]string{"punctuation:no_comma", "startend:quotation"}, nil); err != nil {
		t.Errorf("without arguments: %v", err)
	}
	if _, err := check.Parse([]string{"punctuation:no_comma"}, make([]json.RawMessage, 2)); err == nil {
		t.Error("two objects for one instruction")
	}
}

func BenchmarkChecks(b *testing.B) {
	responses := verdicts(b, "ifeval")[:1000]
	for b.Loop() {
		for _, r := range responses {
			for _, j := range r.Checks {
				is, err := check.Parse([]string{j.kind}, []json.RawMessage{j.kwargs})
				if err != nil {
					b.Fatal(err)
				}
				is[0].MetLoosely(r.Response)
			}
		}
	}
}
