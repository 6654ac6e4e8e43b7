package report

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

func TestFrontierPage(t *testing.T) {
	around := func(v float64) eval.Interval { return eval.Interval{Mean: v, Lo: v - 0.1, Hi: v + 0.1} }
	row := func(name string, reward, kl, decoded float64, kind decode.KLKind) FrontierRow {
		return FrontierRow{Result: eval.Result{Method: name, N: 300, Reward: around(reward), KL: around(kl), KLKind: kind, WinRate: 0.5, DecodedPerEmitted: decoded}, Family: name[:1]}
	}
	f := Frontier{Reward: "gold", Model: "m.gguf", Temp: 0.7, Seeds: 5, Rows: []FrontierRow{
		row("base", 0.1, 0, 1, decode.KLExact), row("t0.5", 0.2, 0.4, 1, decode.KLExact), row("t0.1", -0.2, 5, 1, decode.KLExact), row("block-beam", 3, 9, 16, decode.KLBound),
	}}
	path := filepath.Join(t.TempDir(), "page.html")
	if err := WriteFrontier(path, f); err != nil {
		t.Fatal(err)
	}
	d := parsePage(t, path)
	d.wants(t, "m.gguf", "300 prompts, 5 answers each", "at temperature 0.7")
	if got := fmt.Sprint(d.rows["methods"][4]); got != "[block-beam 3.00 [2.90,\u00a03.10] 50\u00a0% at most 9.00 16.0]" {
		t.Errorf("last row: %s", got)
	}
	// A bound has no place on the axis of the KL.
	if marks := divergence(&f).Marks; len(marks) != 3 {
		t.Errorf("%d marks on the plot of the KL, want 3", len(marks))
	}
	labels := 0
	for _, m := range price(&f).Marks {
		if m.Label != "" {
			labels++
		}
	}
	if labels != 1 {
		t.Errorf("%d labels on the plot of the price, want the best one's", labels)
	}
}
