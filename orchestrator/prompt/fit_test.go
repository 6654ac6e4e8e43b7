package prompt

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ivo-decoding/ivo/llama"
)

func TestFit(t *testing.T) {
	e, err := NewEncoder(tokenizer(t, "bytes", ""), Options{})
	if err != nil {
		t.Fatal(err)
	}
	records := []Record{{ID: "a", Text: "x"}, {ID: "b", Text: "xxxx"}, {ID: "c", Text: "xx"}}
	atMost := func(limit int) func(int) error {
		return func(n int) error {
			if n > limit {
				return fmt.Errorf("%d tokens, at most %d", n, limit)
			}
			return nil
		}
	}
	kept, left, err := Fit(e, records, atMost(3), false) // BOS is one
	if err != nil || len(kept) != 2 || kept[0].ID != "a" || kept[1].ID != "c" || len(kept[1].Tokens) != 3 {
		t.Errorf("kept %v, %v", kept, err)
	}
	if len(left) != 1 || left[0].ID != "b" || left[0].Tokens != 5 || left[0].Err == nil {
		t.Errorf("left out %v", left)
	}
	for _, tc := range []struct {
		limit  int
		strict bool
		want   string
	}{{3, true, "prompt b: 5 tokens, at most 3"}, {1, false, "none of 3 prompts fits, not even the shortest, prompt a: 2 tokens, at most 1"}} {
		if _, _, err := Fit(e, records, atMost(tc.limit), tc.strict); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
}

// Every prompt is on one side, no text is on both, the order of the file decides nothing, and as
// many are held out as were asked for, up to the copies of the last one.
func TestHoldOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var records []Record
		copies := map[string]int{}
		for i := range rapid.IntRange(1, 30).Draw(t, "prompts") {
			text := rapid.SampledFrom([]string{"a", "b", fmt.Sprint(i), fmt.Sprint(i)}).Draw(t, "text")
			copies[text]++
			r := Record{ID: fmt.Sprint("id/", i), Text: text, Messages: []llama.Message{{Role: "user", Content: text + strings.Repeat(" ", i%2)}}}
			records = append(records, r)
		}
		n := rapid.IntRange(0, 30).Draw(t, "n")
		train, held := HoldOut(records, n)
		if len(train)+len(held) != len(records) || len(train) == 0 {
			t.Fatalf("%d and %d of %d", len(train), len(held), len(records))
		}
		most := 0
		for _, r := range held {
			if most = max(most, copies[r.Text]); slices.ContainsFunc(train, func(o Record) bool { return o.Text == r.Text }) {
				t.Errorf("%q is on both sides", r.Text)
			}
		}
		if len(held) >= n+max(1, most) || len(copies) == len(records) && len(held) != min(n, len(records)-1) {
			t.Errorf("%d of %d are held out, %d were asked for", len(held), len(records), n)
		}
		slices.Reverse(records)
		_, again := HoldOut(records, n)
		slices.Reverse(again)
		if fmt.Sprint(ids(again)) != fmt.Sprint(ids(held)) {
			t.Errorf("in another order %v instead of %v", ids(again), ids(held))
		}
	})
}

func ids(records []Record) string {
	var out []string
	for _, r := range records {
		out = append(out, r.ID)
	}
	return strings.Join(out, " ")
}

func TestDisjoint(t *testing.T) {
	train := []Encoded{{Record: Record{ID: "a"}, Tokens: []int32{1, 2}}, {Record: Record{ID: "b"}, Tokens: []int32{12}}, {Record: Record{ID: "c"}, Tokens: []int32{3}}}
	if err := Disjoint(train, []Encoded{{Record: Record{ID: "a"}, Tokens: []int32{2, 1}}, {Record: Record{ID: "x"}, Tokens: []int32{1, 2, 3}}}); err != nil {
		t.Error(err)
	}
	if err := Disjoint(train, []Encoded{{Record: Record{ID: "x"}, Tokens: []int32{3}}}); err == nil || !strings.Contains(err.Error(), "prompt c is prompt x of the evaluation (") {
		t.Error(err)
	}
	if err := Disjoint(train, []Encoded{{Record: Record{ID: "x"}, Tokens: []int32{3}}, {Record: Record{ID: "y"}, Tokens: []int32{1, 2}}}); err == nil || !strings.Contains(err.Error(), "one of 2 that are in both") {
		t.Error(err)
	}
}
