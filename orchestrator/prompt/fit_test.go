package prompt_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Every prompt is on one side, no text is on both, the order of the file decides nothing, and as
// many are held out as were asked for, up to the copies of the last one.
func TestHoldOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var records []prompt.Record
		copies := map[string]int{}
		for i := range rapid.IntRange(1, 30).Draw(t, "prompts") {
			text := rapid.SampledFrom([]string{"a", "b", fmt.Sprint(i), fmt.Sprint(i)}).Draw(t, "text")
			copies[text]++
			records = append(records, prompt.Record{ID: fmt.Sprint("id/", i), Text: text})
		}
		n := rapid.IntRange(0, 30).Draw(t, "n")
		train, held := prompt.HoldOut(records, n)
		if len(train)+len(held) != len(records) || len(train) == 0 {
			t.Fatalf("%d and %d of %d", len(train), len(held), len(records))
		}
		most := 0
		for _, r := range held {
			if most = max(most, copies[r.Text]); slices.ContainsFunc(train, func(o prompt.Record) bool { return o.Text == r.Text }) {
				t.Errorf("%q is on both sides", r.Text)
			}
		}
		if len(held) >= n+max(1, most) || len(copies) == len(records) && len(held) != min(n, len(records)-1) {
			t.Errorf("%d of %d are held out, %d were asked for", len(held), len(records), n)
		}
		slices.Reverse(records)
		_, again := prompt.HoldOut(records, n)
		slices.Reverse(again)
		if fmt.Sprint(ids(again)) != fmt.Sprint(ids(held)) {
			t.Errorf("in another order %v instead of %v", ids(again), ids(held))
		}
	})
}

func ids(records []prompt.Record) string {
	var out []string
	for _, r := range records {
		out = append(out, r.ID)
	}
	return strings.Join(out, " ")
}
