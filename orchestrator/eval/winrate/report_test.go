package winrate

import (
	"math"
	"strings"
	"testing"
)

// A report by hand: prompts count alike, whatever their number of samples.
func TestReport(t *testing.T) {
	pairs := pairsOf(3, func(i int) (a, b string) { return strings.Repeat("ä", i+1), "bb" })
	second := pairs[2]
	second.Sample = 1
	pairs = append(pairs, second)
	v := func(id string, sample int, first Side, preference float64) Verdict {
		return Verdict{ID: id, Sample: sample, First: first, Preference: preference}
	}
	r := Comparison{Judge: fake{}}.Report(pairs, []Verdict{
		v("0", 0, A, 1), v("0", 0, B, 1), // won in both orders
		v("1", 0, A, 1), v("1", 0, B, -1), // the first one, whatever it is
		v("2", 0, A, 0.05), v("2", 0, B, -1), // a tie by the margin, and a loss
		v("2", 1, A, -1), // and no more
	}, 0.1, 1)
	if r.Pairs != 4 || r.Unjudged != 1 || r.Prompts != 3 || r.Wins != 1 || r.Ties != 1 || r.Losses != 1 {
		t.Errorf("%+v", r)
	}
	for what, c := range map[string][2]float64{
		"win rate": {r.WinRate.Mean, (1 + 0.5 + 0.25) / 3}, "bias": {r.Position.Bias.Mean, (0 + 1 + 0.5) / 3}, "agreement": {r.Position.Agreement.Mean, 1. / 3},
		"length of a": {r.Length[0], 2}, "length of b": {r.Length[1], 2},
	} {
		if math.Abs(c[0]-c[1]) > 1e-12 {
			t.Errorf("%s %v, want %v", what, c[0], c[1])
		}
	}
	var b strings.Builder
	if err := r.Write(&b, "x.jsonl", "y.jsonl"); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"pairs              3 on 3 prompts, each in both orders; 1 have no verdict", "a wins             58.3 %", ": 1 wins, 1 ties, 1 losses", "position bias      +0.500", "self-agreement     33.3 %"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("%s lacks %q", b.String(), line)
		}
	}
}
