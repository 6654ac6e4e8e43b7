package reward

import (
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

func TestChecks(t *testing.T) {
	p := record(t, `{"instruction_id_list": ["punctuation:no_comma", "startend:quotation", "length_constraints:number_words", "detectable_format:title"],
		"kwargs": [{}, {"num_words": null}, {"num_words": 3, "relation": "at least"}, {}]}`)
	for _, tc := range []struct {
		response                 string
		strict, loose, allStrict float64
	}{
		{"", 0, 0, 0},
		{"one, two", 0, 0, 0},
		{"one two", 0.25, 0.25, 0},
		{"\"one two three\"", 0.75, 0.75, 0},
		{"\"<<one>> two three\"", 1, 1, 1},
		{"Sure, here:\n\"<<one>> two three\"", 0.5, 1, 0},
	} {
		for spec, want := range map[string]float64{"checks": tc.strict, "checks:loose": tc.loose, "checks:all": tc.allStrict, "checks:loose:all": float64(int(tc.loose))} {
			scores, err := open(t, spec).Score(t.Context(), []Item{{Prompt: p, Response: tc.response}})
			if err != nil || scores[0].Err != nil || scores[0].Value != want {
				t.Errorf("%s of %q: got %v %v, want %v", spec, tc.response, scores, err, want)
			}
		}
	}
	if _, err := Open("checks:lose", Options{}); err == nil || !strings.Contains(err.Error(), "checks:loose") {
		t.Errorf("unknown way: %v", err)
	}
}

// What a record lacks is found in advance, and is the error of that item alone.
func TestChecksOfBadRecords(t *testing.T) {
	good := record(t, `{"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}`)
	for fields, want := range map[string]string{
		"":                            "no instructions",
		`{"instruction_id_list": []}`: "no instructions",
		`{"instruction_id_list": null, "kwargs": null}`:                                   "no instructions",
		`{"instruction_id_list": "punctuation:no_comma"}`:                                 `field "instruction_id_list"`,
		`{"instruction_id_list": ["punctuation:no_comma"], "kwargs": {}}`:                 `field "kwargs"`,
		`{"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}, {}]}`:           "2 objects",
		`{"instruction_id_list": ["words:start_verb"], "kwargs": [{}]}`:                   `"words:start_verb"`,
		`{"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": null}]}`: `"keywords" is missing`,
		`{"instruction_id_list": ["keywords:existence"]}`:                                 `"keywords" is missing`,
	} {
		m := open(t, "checks")
		bad := record(t, fields)
		scores, err := m.Score(t.Context(), []Item{{Prompt: bad, Response: "a"}, {Prompt: good, Response: "a"}})
		if err != nil || scores[1].Err != nil || scores[1].Value != 1 || scores[0].Err == nil || !strings.Contains(scores[0].Err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %q", fields, scores, err, want)
		}
		if err := m.(Checker).Check(t.Context(), []prompt.Record{good, bad}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"p7"`) {
			t.Errorf("%s: Check says %v, want %q", fields, err, want)
		}
	}
}
