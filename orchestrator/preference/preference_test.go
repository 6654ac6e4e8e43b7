package preference_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

func read(text string, skip bool) ([]preference.Pair, []preference.Left, error) {
	return preference.Read("-", preference.Options{ReadOptions: prompt.ReadOptions{Stdin: strings.NewReader(text)}, Skip: skip})
}

// Each file of one pair is the same as this line.
var shapes = []struct{ name, file, want string }{
	{"texts", `{"id":"a","prompt":"p","chosen":"x","rejected":"y","k":1}`, `{"id":"a","prompt":"p","chosen":"x","k":1,"rejected":"y"}`},
	{"a margin", `{"prompt":"p","chosen":"x","rejected":"y","margin":1.5}`, `{"id":"1","prompt":"p","chosen":"x","margin":1.5,"rejected":"y"}`},
	{"a prompt of messages", `{"prompt":[{"role":"user","content":"p"}],"chosen":[{"role":"assistant","content":"x"}],"rejected":[{"role":"assistant","content":"y"}]}`,
		`{"id":"1","messages":[{"role":"user","content":"p"}],"chosen":"x","rejected":"y"}`},
	{"HH", `{"chosen":"\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: x","rejected":"\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: y"}`,
		`{"id":"1","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}],"chosen":"x","rejected":"y"}`},
	{"HH, taken apart", `{"prompt":"\n\nHuman: a\n\nAssistant:","chosen":" x","rejected":" y"}`, `{"id":"1","messages":[{"role":"user","content":"a"}],"chosen":"x","rejected":"y"}`},
	{"UltraFeedback, binarized", `{"prompt":"p","prompt_id":"h","chosen":[{"role":"user","content":"p"},{"role":"assistant","content":"x"}],"rejected":[{"role":"user","content":"p"},{"role":"assistant","content":"y"}],"messages":[{"role":"user","content":"p"},{"role":"assistant","content":"x"}],"score_chosen":8.5,"score_rejected":6}`,
		`{"id":"1","messages":[{"role":"user","content":"p"}],"answer":"x","chosen":"x","margin":2.5,"prompt":"p","prompt_id":"h","rejected":"y","score_chosen":8.5,"score_rejected":6}`},
	{"UltraFeedback, Argilla's", `{"instruction":"p","chosen_response":"x","rejected_response":"y","chosen_avg_rating":5,"rejected_avg_rating":3.5}`,
		`{"id":"1","prompt":"p","chosen":"x","chosen_avg_rating":5,"instruction":"p","margin":1.5,"rejected":"y","rejected_avg_rating":3.5}`},
	{"UltraFeedback", `{"instruction":"p","completions":[{"response":"m","overall_score":5},{"response":"x","overall_score":7.5},{"response":"y","overall_score":4}]}`,
		`{"id":"1","prompt":"p","chosen":"x","instruction":"p","margin":3.5,"rejected":"y"}`},
	{"a system prompt in the sides", `{"prompt":"p","chosen":[{"role":"system","content":"s"},{"role":"user","content":"p"},{"role":"assistant","content":"x"}],"rejected":[{"role":"system","content":"s"},{"role":"user","content":"p"},{"role":"assistant","content":"y"}]}`,
		`{"id":"1","messages":[{"role":"system","content":"s"},{"role":"user","content":"p"}],"chosen":"x","rejected":"y"}`},
	{"a plain prompt in the sides", `{"prompt":"p","chosen":[{"role":"user","content":"p"},{"role":"assistant","content":"x"}],"rejected":[{"role":"user","content":"p"},{"role":"assistant","content":"y"}]}`,
		`{"id":"1","prompt":"p","chosen":"x","rejected":"y"}`},
	{"texts that begin with the prompt", `{"prompt":"TL;DR:","chosen":"TL;DR: x","rejected":"TL;DR: y"}`, `{"id":"1","prompt":"TL;DR:","chosen":" x","rejected":" y"}`},
	{"a table", "question,chosen,rejected,margin\np,x,y,2\n", `{"id":"1","prompt":"p","chosen":"x","margin":2,"question":"p","rejected":"y"}`},
}

func TestRead(t *testing.T) {
	for _, tc := range shapes {
		pairs, left, err := read(tc.file, false)
		if err != nil || len(pairs) != 1 || left != nil {
			t.Errorf("%s: %v %v %v", tc.name, pairs, left, err)
			continue
		}
		got, err := json.Marshal(pairs[0])
		if diff := cmp.Diff(tc.want, string(got)); diff != "" || err != nil {
			t.Errorf("%s: %v %s", tc.name, err, diff)
		}
		again, _, err := read(string(got), false)
		if err != nil || len(again) != 1 || again[0].Chosen != pairs[0].Chosen || again[0].Margin != pairs[0].Margin || again[0].Prompt.Content() != pairs[0].Prompt.Content() {
			t.Errorf("%s: written and read: %v %v", tc.name, again, err)
		}
	}
}

func TestPairsThatSayNothing(t *testing.T) {
	file := `{"prompt":"p","chosen":"x","rejected":"y"}
{"prompt":"p","chosen":"x","rejected":"x "}
{"prompt":"p","chosen":"x","rejected":""}
{"prompt":"p","chosen":"z","rejected":"z"}
{"prompt":"p","chosen":"x","rejected":"y","score_chosen":1,"score_rejected":2}
{"chosen":"Human: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: x","rejected":"Human: a\n\nAssistant: d\n\nHuman: c\n\nAssistant: y"}
`
	const want = "5 of 6 pairs say nothing: both sides are equal on lines 2 and 4; a side is empty on line 3; the margin is below zero on line 5; the sides part before their last answers on line 6"
	if _, _, err := read(file, false); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, not %s", err, want)
	}
	pairs, left, err := read(file, true)
	if err != nil || len(pairs) != 1 || len(left) != 5 {
		t.Errorf("got %v %v %v", pairs, left, err)
	}
	for _, tc := range []struct{ file, want string }{
		{`{"prompt":"p","chosen":"x","rejected":"x"}`, "1 of 1 pairs say nothing"},
		{`{"prompt":"p","chosen":"x"}`, ":1: two sides are missing"},
		{`{"prompt":"p","chosen":"x","rejected":"y","margin":"big"}`, `:1: margin: big is no finite number`},
		{`{"prompt":"p","chosen":"x","rejected":3}`, ":1: rejected: a number, not a text"},
		{`{"prompt":"p","chosen":"x","rejected":[{"role":"assistant","content":"y"}]}`, ":1: one side is a conversation"},
	} {
		if _, _, err := read(tc.file, true); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, not %s", tc.file, err, tc.want)
		}
	}
}

// What a file holds out depends on its prompts alone, and no question is on both sides.
func TestSplit(t *testing.T) {
	var file bytes.Buffer
	for i := range 400 { // four pairs a question, at two turns
		fmt.Fprintf(&file, `{"chosen":"Human: q%d\n\nAssistant: x%d","rejected":"Human: q%d\n\nAssistant: y"}`+"\n", i/4, i, i/4)
		if i%2 == 0 {
			fmt.Fprintf(&file, `{"chosen":"Human: q%d\n\nAssistant: a\n\nHuman: b\n\nAssistant: x","rejected":"Human: q%d\n\nAssistant: a\n\nHuman: b\n\nAssistant: y"}`+"\n", i/4, i/4)
		}
	}
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	pairs, _, err := preference.Read(path, preference.Options{})
	if err != nil {
		t.Fatal(err)
	}
	groups := func(pairs []preference.Pair) []string {
		var names []string
		for _, p := range pairs {
			names = append(names, p.Group())
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	train, held, err := preference.Split(pairs, 0.2)
	if err != nil || len(train)+len(held) != len(pairs) {
		t.Fatal(len(train), len(held), err)
	}
	in := groups(held)
	for _, g := range groups(train) {
		if slices.Contains(in, g) {
			t.Errorf("%s is on both sides", g)
		}
	}
	if len(in) < 8 || len(in) > 35 {
		t.Errorf("%d of 100 questions are held out", len(in))
	}
	slices.Reverse(pairs)
	if _, again, err := preference.Split(pairs, 0.2); err != nil || !slices.Equal(groups(again), in) {
		t.Errorf("another order holds out other prompts: %v", err)
	}
}
