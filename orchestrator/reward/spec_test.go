package reward

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// table is a reward that gives the scores of its argument, such as "1 x 3": x is an error.
type table struct {
	argument string
	lo, hi   float64
	closed   *int
}

func (m table) Info() Info {
	return Info{Name: "table:" + m.argument, Fingerprint: m.argument, Lo: m.lo, Hi: m.hi}
}

func (m table) Score(_ context.Context, items []Item) (scores []Score, err error) {
	for _, word := range strings.Fields(m.argument) {
		var s Score
		if _, err := fmt.Sscan(word, &s.Value); err != nil {
			s.Err = errors.New("no score")
		}
		scores = append(scores, s)
	}
	return scores, nil
}

func (m table) Check(_ context.Context, records []prompt.Record) error {
	if m.argument == "bad" {
		return fmt.Errorf("%d prompts", len(records))
	}
	return nil
}

func (m table) Close() error {
	*m.closed++
	return nil
}

// withKinds adds kinds for the time of a test: "table", of range -1 to 2, "word", "line" with a
// command line, and "never", which cannot be opened.
func withKinds(t *testing.T) (closed *int) {
	old := kinds
	t.Cleanup(func() { kinds = old })
	closed = new(int)
	open := func(argument string, _ Options) (Model, error) { return table{argument, -1, 2, closed}, nil }
	kinds = map[string]kind{
		"table": {open: open}, "word": {open: open}, "line": {open: open, quotes: true},
		"never": {open: func(string, Options) (Model, error) { return nil, errors.New("it is out of order") }},
	}
	return closed
}

func TestParse(t *testing.T) {
	withKinds(t)
	for _, tc := range []struct {
		spec string
		want []term // nil for an error
		text string // the spec in one spelling, or the error
	}{
		{"word", []term{{1, "word", ""}}, "word"},
		{" word: a b ", []term{{1, "word", "a b"}}, "word:a b"},
		{"0.7*word + 0.3*table:60", []term{{.7, "word", ""}, {.3, "table", "60"}}, "0.7*word + 0.3*table:60"},
		{"word+table:1", []term{{1, "word", ""}, {1, "table", "1"}}, "word + table:1"},
		{"1 * word + -2e-1* word", []term{{1, "word", ""}, {-.2, "word", ""}}, "word + -0.2*word"},
		{"-word - 2*table:a\n+ word", []term{{-1, "word", ""}, {-2, "table", "a"}, {1, "word", ""}}, "-1*word + -2*table:a + word"},
		{"table:a + b - word2 + word", []term{{1, "table", "a + b - word2"}, {1, "word", ""}}, "table:a + b - word2 + word"},
		{"table:a+word", []term{{1, "table", "a+word"}}, "table:a+word"},
		{"table://h:1/s?q=a+b*c + .5*word", []term{{1, "table", "//h:1/s?q=a+b*c"}, {.5, "word", ""}}, "table://h:1/s?q=a+b*c + 0.5*word"},
		{"table:'a + word' + word", []term{{1, "table", "a + word"}, {1, "word", ""}}, "table:'a + word' + word"},
		{`table:"say \"a\" \d + word"`, []term{{1, "table", `say "a" \d + word`}}, `table:'say "a" \d + word'`},
		{`table:it's + word`, []term{{1, "table", "it's"}, {1, "word", ""}}, `table:"it's" + word`},
		{`table:'til + word`, []term{{1, "table", "'til"}, {1, "word", ""}}, `table:"'til" + word`},
		{`table:' a'`, []term{{1, "table", " a"}}, `table:' a'`},
		{`line:'a b' -c "x + word" + word`, []term{{1, "line", `'a b' -c "x + word"`}, {1, "word", ""}}, `line:'a b' -c "x + word" + word`},
		{"0*word", []term{{0, "word", ""}}, "0*word"},

		{"", nil, `"", character 1: a kind of reward is missing (choose one of: line, never, table, word)`},
		{"word + ", nil, `"word + ", character 8: a kind of reward is missing`},
		{"wörd", nil, `character 1: no kind of reward is called "w"`},
		{"word + 2*sing:1", nil, `character 10: no kind of reward is called "sing"`},
		{"word table", nil, `character 5: unexpected "table" after word`},
		{"é*word", nil, `character 1: "é" is no weight`},
		{"NaN*word", nil, `character 1: "NaN" is no weight`},
		{"word + 1e999*word", nil, `character 8: "1e999" is no weight`},
	} {
		terms, err := parse(tc.spec)
		if tc.want == nil {
			if err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%q: got %v, %v; want error %q", tc.spec, terms, err, tc.text)
			}
			continue
		}
		if diff := cmp.Diff(tc.want, terms, cmp.AllowUnexported(term{})); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", tc.spec, err, diff)
			continue
		}
		if got := join(terms); got != tc.text {
			t.Errorf("%q: is spelt %q, want %q", tc.spec, got, tc.text)
		}
	}
}

func join(terms []term) string {
	var out []string
	for _, t := range terms {
		out = append(out, t.String())
	}
	return strings.Join(out, " + ")
}

// What terms are spelt like reads back as the same terms, whatever the arguments hold.
func TestSpellingReadsBack(t *testing.T) {
	withKinds(t)
	argument := rapid.StringOfN(rapid.SampledFrom([]rune(`ab 1'"\+-*:é`+"\n")), 0, 12, -1)
	tricky := rapid.SampledFrom([]string{"a + word", "'", `"`, `a \`, "x + 2*y", `'a' + word:"`, " ", "- word"})
	rapid.Check(t, func(t *rapid.T) {
		terms := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) term {
			return term{rapid.Float64Range(-3, 3).Draw(t, "weight"), rapid.SampledFrom([]string{"word", "table"}).Draw(t, "kind"), rapid.OneOf(argument, tricky).Draw(t, "argument")}
		}), 1, 4).Draw(t, "terms")
		got, err := parse(join(terms))
		if err != nil || !slices.Equal(got, terms) {
			t.Fatalf("%s\ngot  %q, %v\nwant %q", join(terms), got, err, terms)
		}
	})
}

func TestSum(t *testing.T) {
	closed := withKinds(t)
	m, err := Open("2*table:1 x 3 1e308 + -1*table:'0.5 1 y 1' - 1*table:1 1 1 NaN", Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := Info{Name: "2*table:1 x 3 1e308 + -1*table:0.5 1 y 1 + -1*table:1 1 1 NaN", Lo: -2 - 2 - 2, Hi: 4 + 1 + 1}
	got := m.Info()
	want.Fingerprint = got.Fingerprint
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	scores, err := m.Score(t.Context(), make([]Item, 4))
	if err != nil || len(scores) != 4 || scores[0] != (Score{Value: .5}) {
		t.Fatalf("got %v, %v", scores, err)
	}
	for i, want := range []string{1: "table:1 x 3 1e308: no score", 2: "table:0.5 1 y 1: no score", 3: "table:1 1 1 NaN: the score is NaN"} {
		if err := scores[i].Err; want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("item %d: got %v, want %q", i, err, want)
		}
	}
	if scores, err = m.Score(t.Context(), make([]Item, 3)); err == nil || !strings.Contains(err.Error(), "4 scores for 3 responses") {
		t.Errorf("got %v, %v", scores, err)
	}
	if m.Close(); *closed != 3 {
		t.Errorf("%d of 3 parts closed", *closed)
	}
	if m, err = Open("word + 1e308*table:1e10", Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Score(t.Context(), make([]Item, 1)); err == nil {
		t.Error("a part without scores passed")
	}
	*closed = 0
	if _, err := Open("word + table + never:3", Options{}); err == nil || err.Error() != "reward never:3: it is out of order" || *closed != 2 {
		t.Errorf("got %v, %d closed", err, *closed)
	}
}

func TestSumChecks(t *testing.T) {
	withKinds(t)
	m, err := Open("table:good + 0.1*table:bad", Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = m.(Checker).Check(t.Context(), make([]prompt.Record, 2))
	if err == nil || err.Error() != "table:bad: 2 prompts" {
		t.Errorf("got %v", err)
	}
}

// Equal fingerprints mean equal scores: weights, parts and their order show.
func TestFingerprints(t *testing.T) {
	withKinds(t)
	seen := map[string]string{}
	for _, spec := range []string{"table:1", "2*table:1", "table:2", "table:1 + table:2", "table:2 + table:1", "table:1 - table:2", "0.5*table:1 + table:2"} {
		m, err := Open(spec, Options{})
		if err != nil {
			t.Fatal(err)
		}
		key := m.Info().Fingerprint
		if seen[key] != "" {
			t.Errorf("%s and %s have the fingerprint %s", spec, seen[key], key)
		}
		seen[key] = spec
	}
	infinite := newSum([]part{{"a", 0, table{lo: math.Inf(-1), hi: math.Inf(1)}}, {"b", -1, table{hi: math.Inf(1)}}})
	if info := infinite.Info(); info.Hi != 0 || !math.IsInf(info.Lo, -1) {
		t.Errorf("got the range %v to %v", info.Lo, info.Hi)
	}
}
