package reward

import (
	"math"
	"testing"
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
