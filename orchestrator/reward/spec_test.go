package reward

import (
	"context"
	"errors"
	"fmt"
	"math"
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
		"lower": {combine: lower}, "min": {combine: least},
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
		{"word", []term{{1, "word", "", nil}}, "word"},
		{" word: a b ", []term{{1, "word", "a b", nil}}, "word:a b"},
		{"0.7*word + 0.3*table:60", []term{{.7, "word", "", nil}, {.3, "table", "60", nil}}, "0.7*word + 0.3*table:60"},
		{"word+table:1", []term{{1, "word", "", nil}, {1, "table", "1", nil}}, "word + table:1"},
		{"1 * word + -2e-1* word", []term{{1, "word", "", nil}, {-.2, "word", "", nil}}, "word + -0.2*word"},
		{"-word - 2*table:a\n+ word", []term{{-1, "word", "", nil}, {-2, "table", "a", nil}, {1, "word", "", nil}}, "-1*word + -2*table:a + word"},
		{"table:a + b - word2 + word", []term{{1, "table", "a + b - word2", nil}, {1, "word", "", nil}}, "table:a + b - word2 + word"},
		{"table:a+word", []term{{1, "table", "a+word", nil}}, "table:a+word"},
		{"table://h:1/s?q=a+b*c + .5*word", []term{{1, "table", "//h:1/s?q=a+b*c", nil}, {.5, "word", "", nil}}, "table://h:1/s?q=a+b*c + 0.5*word"},
		{"table:'a + word' + word", []term{{1, "table", "a + word", nil}, {1, "word", "", nil}}, "table:'a + word' + word"},
		{`table:"say \"a\" \d + word"`, []term{{1, "table", `say "a" \d + word`, nil}}, `table:'say "a" \d + word'`},
		{`table:it's + word`, []term{{1, "table", "it's", nil}, {1, "word", "", nil}}, `table:"it's" + word`},
		{`table:'til + word`, []term{{1, "table", "'til", nil}, {1, "word", "", nil}}, `table:"'til" + word`},
		{`table:' a'`, []term{{1, "table", " a", nil}}, `table:' a'`},
		{`line:'a b' -c "x + word" + word`, []term{{1, "line", `'a b' -c "x + word"`, nil}, {1, "word", "", nil}}, `line:'a b' -c "x + word" + word`},
		{"0*word", []term{{0, "word", "", nil}}, "0*word"},

		{"lower(word, table:1)", []term{{1, "lower", "", [][]term{{{1, "word", "", nil}}, {{1, "table", "1", nil}}}}}, "lower(word, table:1)"},
		{"-2*lower: 1.5 ( word - 0.5*table:a (b, c) d , word:'x, word' ) + word", []term{
			{-2, "lower", "1.5", [][]term{{{1, "word", "", nil}, {-.5, "table", "a (b, c) d", nil}}, {{1, "word", "x, word", nil}}}}, {1, "word", "", nil},
		}, "-2*lower:1.5(word + -0.5*table:a (b, c) d, word:'x, word') + word"},
		{"min(lower(word,word),line:f(x) ')' ,table)", []term{{1, "min", "", [][]term{
			{{1, "lower", "", [][]term{{{1, "word", "", nil}}, {{1, "word", "", nil}}}}}, {{1, "line", "f(x) ')'", nil}}, {{1, "table", "", nil}},
		}}}, "min(lower(word, word), line:f(x) ')', table)"},
		{"table:a, word) + min(word, word)", []term{{1, "table", "a, word)", nil}, {1, "min", "", [][]term{{{1, "word", "", nil}}, {{1, "word", "", nil}}}}}, "table:a, word) + min(word, word)"},

		{"", nil, `"", character 1: a kind of reward is missing (choose one of: line, lower, min, never, table, word)`},
		{"word + ", nil, `"word + ", character 8: a kind of reward is missing`},
		{"wörd", nil, `character 1: no kind of reward is called "w"`},
		{"word + 2*sing:1", nil, `character 10: no kind of reward is called "sing"`},
		{"lower", nil, `character 6: lower has no members (give lower as`},
		{"lower(word, table", nil, "character 18: the parenthesis of lower is not closed"},
		{"lower(word, )", nil, "character 13: a kind of reward is missing"},
		{"min(word word)", nil, `character 9: unexpected "word)" after word`},
		{"lower(word, word) word", nil, `unexpected "word" after lower`},
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
		if got := spell(terms, false); got != tc.text {
			t.Errorf("%q: is spelt %q, want %q", tc.spec, got, tc.text)
		}
	}
}

// What terms are spelt like reads back as the same terms, whatever the arguments hold.
func TestSpellingReadsBack(t *testing.T) {
	withKinds(t)
	argument := rapid.StringOfN(rapid.SampledFrom([]rune(`ab 1'"\+-*:é,()`+"\n")), 0, 12, -1)
	tricky := rapid.SampledFrom([]string{"a + word", "'", `"`, `a \`, "x + 2*y", `'a' + word:"`, " ", "- word", "a, word", "a) + word", "(", ", b", "lower(word, a)"})
	rapid.Check(t, func(t *rapid.T) {
		var sums func(depth int) *rapid.Generator[[]term]
		sums = func(depth int) *rapid.Generator[[]term] {
			return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) term {
				weight := rapid.Float64Range(-3, 3).Draw(t, "weight")
				if depth > 0 && rapid.IntRange(0, 2).Draw(t, "ensemble") == 0 {
					return term{weight, "lower", rapid.SampledFrom([]string{"", "0.5", "x"}).Draw(t, "k"), rapid.SliceOfN(sums(depth-1), 1, 3).Draw(t, "of")}
				}
				return term{weight, rapid.SampledFrom([]string{"word", "table"}).Draw(t, "kind"), rapid.OneOf(argument, tricky).Draw(t, "argument"), nil}
			}), 1, 3)
		}
		terms := sums(2).Draw(t, "terms")
		got, err := parse(spell(terms, false))
		if err != nil || !cmp.Equal(got, terms, cmp.AllowUnexported(term{})) {
			t.Fatalf("%s\ngot  %q, %v\nwant %q", spell(terms, false), got, err, terms)
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

// The least, and the mean less some standard deviations, by hand: of 1, 2, 6 the mean is 3, s^2 = (4+1+9)/2.
func TestEnsembles(t *testing.T) {
	withKinds(t)
	for spec, want := range map[string]struct {
		score  float64
		lo, hi float64
	}{
		"min(table:1, table:2, table:6)":           {1, -1, 2},
		"lower(table:1, table:2, table:6)":         {3 - math.Sqrt(7), -1 - 1.5*math.Sqrt(1.5), 2},
		"lower:0(table:1, table:2, table:6)":       {3, -1, 2},
		"lower:2(table:3, 3*table:1)":              {3, -2 - 2*(9./2)*math.Sqrt2, 4},
		"2*min(table:1 + -1*table:3, table:2)":     {-4, 2 * -3, 2 * 2},
		"min(table:5, lower(table:4, table:4))":    {4, -1 - 1.5*math.Sqrt2, 2},
		"table:1 + lower:0.5(table:4, table:4)":    {5, -2 - .5*1.5*math.Sqrt2, 4},
		"lower(min(table:1, table:3), -1*table:1)": {-math.Sqrt2, -1.5 - 2*math.Sqrt2, 1.5},
	} {
		m, err := Open(spec, Options{})
		if err != nil {
			t.Fatal(spec, err)
		}
		got, err := m.Score(t.Context(), make([]Item, 1))
		if err != nil || got[0].Err != nil || math.Abs(got[0].Value-want.score) > 1e-9 {
			t.Errorf("%s: got %v, %v; want %v", spec, got, err, want.score)
		}
		info := m.Info()
		if math.Abs(info.Lo-want.lo) > 1e-9 || math.Abs(info.Hi-want.hi) > 1e-9 || info.Name != spec {
			t.Errorf("%s: got %q of %v to %v, want %v to %v", spec, info.Name, info.Lo, info.Hi, want.lo, want.hi)
		}
		again, err := Open(info.Name, Options{})
		if err != nil || again.Info() != info {
			t.Errorf("%s opens as %+v, %v", info.Name, again.Info(), err)
		}
	}
	m, err := Open("min(table:1 x 3, table:2 2 NaN)", Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Score(t.Context(), make([]Item, 3))
	if err != nil || got[0].Value != 1 || got[1].Err == nil || !strings.HasPrefix(got[1].Err.Error(), "table:1 x 3: no score") || got[2].Err == nil {
		t.Errorf("got %v, %v", got, err)
	}
	for _, spec := range []string{"min(word)", "lower:x(word, word)", "lower:-1(word, word)", "min:2(word, word)", "min(word, never)"} {
		if m, err := Open(spec, Options{}); err == nil {
			t.Errorf("%s opens as %+v", spec, m.Info())
		}
	}
}

// Members are closed where one of them cannot be opened, and by the ensemble.
func TestEnsembleCloses(t *testing.T) {
	closed := withKinds(t)
	if _, err := Open("word + lower(table, table + never, table)", Options{}); err == nil || *closed != 3 {
		t.Errorf("got %v, %d closed", err, *closed)
	}
	*closed = 0
	m, err := Open("word + lower(table, table + word)", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Close(); *closed != 4 {
		t.Errorf("%d of 4 parts closed", *closed)
	}
}

// Ensembles hold one another as deep as anybody writes them, and not as deep as a stack.
func TestEnsemblesInOneAnother(t *testing.T) {
	for _, levels := range []int{2, deepest, deepest + 1, 100_000} {
		_, err := parse(strings.Repeat("min(gold, ", levels) + "gold" + strings.Repeat(")", levels))
		if refused := err != nil; refused != (levels > deepest) {
			t.Errorf("%d levels: %.200v", levels, err)
		}
	}
}
