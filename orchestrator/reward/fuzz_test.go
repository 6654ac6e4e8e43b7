package reward

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Whatever is given for a spec is refused with a word on what to do, or is a sum of kinds that there are.
func FuzzSpec(f *testing.F) {
	for _, spec := range []string{
		"sentiment", "0.7*sentiment + 0.3*length:60", "-distinct", "min(sentiment, -2*length:5)", "cmd:python3 'a b.py' - x", "regex:(a|b)\\) + c", "mean(min(gold, gold), judge:http://a/v1?b=c)",
		"1e999*gold", "gold:\xff", "((((", "nan*gold",
	} {
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		terms, err := parse(spec)
		switch {
		case err != nil && err.Error()[len(err.Error())-1] != ')':
			t.Errorf("nothing to do about it: %v", err)
		case err == nil && len(terms) == 0:
			t.Error("a sum of nothing")
		}
		for _, term := range terms {
			if _, ok := kinds[term.kind]; !ok || math.IsNaN(term.weight) || math.IsInf(term.weight, 0) {
				t.Errorf("%+v", term)
			}
		}
	})
}

// Whatever a record has as its gold, it is refused with a word on what to do before anything is decoded, or a finite score of every
// response.
func FuzzGold(f *testing.F) {
	for _, gold := range []string{
		`{"task":"summarize","facts":["bought|got red bike"],"distractors":["lost hat"]}`, `{"task":"dialogue","list":["red lamp"],"off":["blue lamp"]}`,
		`{"task":"instruct","words":3,"open":"a","end":"b","use":["c"],"avoid":["d"]}`, `{"task":"safety","harmful":true,"steps":["heavy bucket in garden"],"offers":["red lamp of boss"]}`,
		`{"task":"summarize","facts":[""]}`, `{"task":"instruct","words":-1}`, `{"task":"safety","steps":null}`, `{"task":1}`, `{}`, `null`, `[`, "",
	} {
		f.Add("a red lamp: bought a red bike, and c b. sorry", []byte(gold))
	}
	models := []Gold{{}, {"summarize"}, {"dialogue"}, {"instruct"}, {"safety"}, {"safe"}}
	f.Fuzz(func(t *testing.T, response string, gold []byte) {
		record := prompt.Record{ID: "f", Fields: map[string]json.RawMessage{"gold": gold}}
		for _, m := range models {
			err := m.Check(t.Context(), []prompt.Record{record})
			scores, failed := m.Score(t.Context(), []Item{{Prompt: record, Response: response}})
			switch {
			case failed != nil:
				t.Fatal(failed)
			case (err == nil) != (scores[0].Err == nil):
				t.Errorf("%s: %v beforehand, and %v", m.Info().Name, err, scores[0].Err)
			case err != nil && !strings.HasSuffix(err.Error(), ")"):
				t.Errorf("nothing to do about it: %v", err)
			case err == nil && (math.IsNaN(scores[0].Value) || math.IsInf(scores[0].Value, 0)):
				t.Errorf("%s: %v", m.Info().Name, scores[0].Value)
			}
		}
	})
}
