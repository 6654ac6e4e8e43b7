package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		axis axis
		want string
	}{
		{axis{lo: 0, hi: 1}, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{axis{lo: -0.07, hi: 0.16}, "−0.05 0.00 0.05 0.10 0.15"},
		{axis{lo: -35, hi: 120}, "0 50 100"},
		{axis{lo: 0.8, hi: 21, log: true}, "1 2 5 10 20"},
		{axis{lo: 0.3, hi: 1.3, log: true}, "0.5 1"},
		{axis{lo: -0.5, hi: 1.5, names: []string{"a", "b"}}, "a b"},
	} {
		var labels []string
		for _, tick := range c.axis.ticks(0, 100) {
			if tick.At < 0 || tick.At > 100 {
				t.Errorf("%v: tick %s lies outside, at %v", c.axis, tick.Label, tick.At)
			}
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("%v: %s, not %s", c.axis, got, c.want)
		}
	}
}

func TestLabelsKeepApart(t *testing.T) {
	var ms []method
	for i := range 4 { // two methods at each end of the axis, all of nearly the same reward
		r := eval.Interval{Mean: 2 + 0.01*float64(i), Lo: 1, Hi: 3}
		ms = append(ms, method{eval.Result{Method: fmt.Sprint("a-long-method-", i), Reward: r, DecodedPerEmitted: 1 + 15*float64(i/2)}, alone, ""})
	}
	marks := compute(ms).Marks
	for i, a := range marks {
		for _, b := range marks[:i] {
			if a.LabelX == b.LabelX && a.LabelY-b.LabelY < 15 {
				t.Errorf("%s at %v overlaps %s at %v", a.Label, a.LabelY, b.Label, b.LabelY)
			}
		}
	}
	if compute([]method{{}}).Marks != nil {
		t.Error("a method without a token has a place on the log scale")
	}
}
