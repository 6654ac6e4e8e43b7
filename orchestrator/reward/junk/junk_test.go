package junk

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// words is a reward that likes words, unless they are too many.
type words struct{ seen *[]reward.Item }

func (words) Info() reward.Info { return reward.Info{Name: "words"} }

func (m words) Score(_ context.Context, items []reward.Item) (scores []reward.Score, err error) {
	*m.seen = append(*m.seen, items...)
	for _, it := range items {
		s := reward.Score{Value: float64(len(strings.Fields(it.Response)))}
		if s.Value > 9 {
			s = reward.Score{Err: errors.New("too long")}
		}
		scores = append(scores, s)
	}
	return scores, nil
}

func (words) Close() error { return nil }

var records = []prompt.Record{
	{ID: "7", Text: "one two three four five"},
	{ID: "b", Messages: []llama.Message{{Role: "system", Content: "be brief"}, {Role: "user", Content: "who?"}}},
	{ID: "c", Text: "lonely"},
}

const answers = `{"id": 7, "text": "a dog, a Barking dog: barking!", "finish": "stop"}
{"id": "b", "sample": 0, "response": "I"}

{"prompt_id": "7", "text": ""}
{"id": "z", "text": "another prompt's"}
{"id": "b", "text": "1 2 3 4 5 6 7 8 9 10"}
`

func TestJunk(t *testing.T) {
	answered, left, err := Read(strings.NewReader(answers), "f", records)
	if err != nil || left != 1 {
		t.Fatalf("%d left, %v", left, err)
	}
	var seen []reward.Item
	got, err := Test(t.Context(), words{&seen}, answered, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Prompt 7 has answers of 6 words and none, median 3; b one of 1 word and one unscored.
	want := &Report{
		Reward: "words", Prompts: 2,
		Base: Row{Name: "base policy", Scored: 3, Unscored: 1, Error: "too long", Scores: &Scores{7. / 3, 1, 0, 6}, Compared: 3, Above: 1},
		Junk: []Row{
			{Name: "empty answer", Scored: 2, Scores: &Scores{0, 0, 0, 0}, Compared: 2},
			{Name: "the prompt itself", Scored: 2, Scores: &Scores{3, 3, 1, 5}, Compared: 2, Above: 1, Where: []string{"7"}},
			{Name: "one word repeated", Scored: 2, Scores: &Scores{3.5, 3.5, 1, 6}, Compared: 2, Above: 1, Where: []string{"7"}},
			{Name: "shuffled answer", Scored: 2, Scores: &Scores{3.5, 3.5, 1, 6}, Compared: 2, Above: 1, Where: []string{"7"}},
			{Name: "answer cut in half", Scored: 2, Scores: &Scores{2, 2, 0, 4}, Compared: 2, Above: 1, Where: []string{"7"}},
		},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return a-b < 1e-12 && b-a < 1e-12 })); diff != "" {
		t.Error(diff)
	}
	texts := []string{"a dog, a Barking dog: barking!", "", "I", "1 2 3 4 5 6 7 8 9 10", "", "", "one two three four five", "who?", strings.Repeat("barking ", 5) + "barking", "good", "", "I", "a dog, a Barkin", ""}
	for i, it := range seen {
		if i == 10 {
			if a, b := strings.Fields(it.Response), strings.Fields(texts[0]); len(a) != len(b) || it.Response == texts[0] {
				t.Errorf("shuffled: %q", it.Response)
			}
		} else if it.Response != texts[i] {
			t.Errorf("text %d: got %q, want %q", i, it.Response, texts[i])
		}
	}
	again, err := Test(t.Context(), words{&seen}, answered, 1)
	if diff := cmp.Diff(got, again); err != nil || diff != "" || cmp.Diff(seen[:len(texts)], seen[len(texts):]) != "" {
		t.Errorf("another time: %v %s", err, diff)
	}
	var b strings.Builder
	if err := got.Write(&b); err != nil {
		t.Fatal(err)
	}
	const table = `                      scored  mean  median  least  most  above the median answer
         base policy  3 of 4  2.33       1      0     6                     33 %
        empty answer  2 of 2     0       0      0     0                      0 %
   the prompt itself  2 of 2     3       3      1     5                     50 %
   one word repeated  2 of 2   3.5     3.5      1     6                     50 %
     shuffled answer  2 of 2   3.5     3.5      1     6                     50 %
  answer cut in half  2 of 2     2       2      0     4                     50 %
the prompt itself: above the median answer to 1 of 2 prompts (7)
one word repeated: above the median answer to 1 of 2 prompts (7)
shuffled answer: above the median answer to 1 of 2 prompts (7)
answer cut in half: above the median answer to 1 of 2 prompts (7)
1 answers of the base policy have no score; the first: too long
`
	if diff := cmp.Diff(table, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestUselessReward(t *testing.T) {
	r := Report{Base: Row{Scored: 3, Scores: &Scores{1, 1, 1, 1}}}
	if got := strings.Join(r.Findings(), "; "); got != "no junk scores above the median answer; all answers of the base policy score 1: there is nothing to learn from this reward" {
		t.Error(got)
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "answers none of the 3 prompts",
		`{"id": "z", "text": "a"}`: "answers none of the 3 prompts",
		`{"id": "7"}`:              `record 1: it has no "id" or no "text"`,
		"{\"id\": \"7\", \"text\": \"a\"}\n{\"text\": \"a\"}": "record 2",
		"hello": "record 1: invalid",
	} {
		if got, _, err := Read(strings.NewReader(text), "f", records); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want %q", text, got, err, want)
		}
	}
}
