package winrate

import (
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// Report is what verdicts come to. All rates are those of a, over prompts.
type Report struct {
	Judge    string `json:"judge"`
	Prompts  int    `json:"prompts"`
	Pairs    int    `json:"pairs"`
	Unjudged int    `json:"unjudged"` // pairs that are left out, for the judge has no verdict on them
	// A pair is won where the verdicts on it are for a, on balance: in both orders, or in one with a tie in
	// the other.
	Wins   int `json:"wins"`
	Ties   int `json:"ties"`
	Losses int `json:"losses"`

	WinRate eval.Interval `json:"win_rate"` // ties one half
	// Weighted is the mean of the judge's probability that a is better, where it tells one.
	Weighted *eval.Interval `json:"weighted,omitempty"`
	// LengthControlled is about Weighted where that is there, else about WinRate; nil where all answers are
	// equally longer.
	LengthControlled *LengthControlled `json:"length_controlled,omitempty"`
	Length           [2]float64        `json:"length"` // mean characters of the answers

	Position *Position `json:"position,omitempty"` // of judges that are shown two answers
}

// Position is how much the judge's verdict depends on the order in which it is shown answers.
type Position struct {
	// Bias is the share of verdicts for the first answer less that for the second. A judge who takes the first
	// whatever it says in a fifth of the cases, and is fair else, has .2.
	Bias eval.Interval `json:"bias"`
	// Agreement is the share of pairs on which both orders have the same verdict.
	Agreement eval.Interval `json:"agreement"`
}

// Report sums up verdicts on pairs, as Run returns them. Preferences of no more than margin are ties, as are differences
// of rewards that are rounding.
func (c Comparison) Report(pairs []Pair, verdicts []Verdict, margin float64, seed uint64) *Report {
	r := &Report{Judge: c.Judge.Info().Name, Pairs: len(pairs)}
	found := map[asked]Verdict{}
	largest, widest := 0.0, 0.0
	for _, v := range verdicts {
		found[v.asked()] = v
		widest = max(widest, math.Abs(v.Preference))
		if v.Rewards != nil {
			largest = max(largest, math.Abs(v.Rewards[0]), math.Abs(v.Rewards[1]))
		}
	}
	tie := max(margin, 1e-6*widest, 1e-12*largest) // see eval.WinRate
	outcome := func(v Verdict) float64 {
		switch {
		case v.Preference > tie:
			return 1
		case v.Preference < -tie:
			return 0
		}
		return 0.5
	}
	scale, orders := scaleOf(c.Judge), sides(c.Judge)
	var judged []Pair
	var rates, weighted, bias, agreement []float64 // of pairs
	for _, p := range pairs {
		var sum, odds float64
		var outcomes []float64
		for _, first := range orders {
			v, ok := found[asked{p.Prompt.ID, p.Sample, first}]
			if !ok {
				break
			}
			o := outcome(v)
			outcomes = append(outcomes, o)
			sum += o / float64(len(orders))
			odds += sigmoid(v.Preference) / float64(len(orders))
		}
		if len(outcomes) < len(orders) {
			r.Unjudged++
			continue
		}
		switch {
		case sum > 0.5:
			r.Wins++
		case sum < 0.5:
			r.Losses++
		default:
			r.Ties++
		}
		judged, rates, weighted = append(judged, p), append(rates, sum), append(weighted, odds)
		r.Length[0] += float64(utf8.RuneCountInString(p.A.Text))
		r.Length[1] += float64(utf8.RuneCountInString(p.B.Text))
		if len(outcomes) == 2 { // of a when it is first, and when it is second
			bias = append(bias, outcomes[0]-outcomes[1])
			same := 0.0
			if outcomes[0] == outcomes[1] {
				same = 1
			}
			agreement = append(agreement, same)
		}
	}
	of, prompts := byPrompt(judged)
	mean := func(ofPairs []float64) eval.Interval {
		sums, n := make([]float64, prompts), make([]float64, prompts)
		for i, k := range of {
			sums[k] += ofPairs[i]
			n[k]++
		}
		for k := range sums {
			sums[k] /= n[k]
		}
		return eval.Bootstrap(sums, seed)
	}
	r.Prompts, r.WinRate = prompts, mean(rates)
	for k := range r.Length {
		r.Length[k] /= float64(len(judged))
	}
	if scale == LogOdds {
		w := mean(weighted)
		r.Weighted, rates = &w, weighted
	}
	r.LengthControlled = control(judged, rates, seed)
	if len(bias) > 0 {
		r.Position = &Position{mean(bias), mean(agreement)}
	}
	return r
}

// Write prints the report for people; a and b are what the policies are called.
func (r *Report) Write(w io.Writer, a, b string) error {
	percent := func(i eval.Interval) string {
		return fmt.Sprintf("%.1f %% (95 %% interval %.1f to %.1f)", 100*i.Mean, 100*i.Lo, 100*i.Hi)
	}
	s := sheet.Sheet{{"judge", r.Judge}, {"a", a}, {"b", b}}
	compared := fmt.Sprintf("%d on %d prompts", r.Pairs-r.Unjudged, r.Prompts)
	if r.Position != nil {
		compared += ", each in both orders"
	}
	if r.Unjudged > 0 {
		compared += fmt.Sprintf("; %d have no verdict", r.Unjudged)
	}
	s = append(s, sheet.Property{"pairs", compared},
		sheet.Property{"a wins", fmt.Sprintf("%s: %d wins, %d ties, %d losses", percent(r.WinRate), r.Wins, r.Ties, r.Losses)})
	if r.Weighted != nil {
		s = append(s, sheet.Property{"weighted", percent(*r.Weighted) + ": by the judge's own probabilities"})
	}
	answers := fmt.Sprintf("answers of a have %.0f characters on average, those of b %.0f", r.Length[0], r.Length[1])
	if l := r.LengthControlled; l != nil {
		s = append(s, sheet.Property{"length-controlled", fmt.Sprintf("%s: %s, coefficient %.2f", percent(l.WinRate), answers, l.Coefficient)})
	} else {
		s = append(s, sheet.Property{"length-controlled", "not to be had: " + answers + ", and all pairs differ alike"})
	}
	if p := r.Position; p != nil {
		s = append(s, sheet.Property{"position bias", fmt.Sprintf("%+.3f (%+.3f to %+.3f): verdicts for the first answer less those for the second", p.Bias.Mean, p.Bias.Lo, p.Bias.Hi)},
			sheet.Property{"self-agreement", percent(p.Agreement) + ": pairs with one verdict in both orders"})
	}
	return s.Write(w)
}
