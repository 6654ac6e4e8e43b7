package pairwise

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/reward/judge"
	"github.com/ivo-decoding/ivo/orchestrator/reward/program"
)

// fake is a judge whose verdict is a function of what it is shown.
type fake struct {
	verdict func(p judge.Pair) judge.Verdict
	odds    bool
	name    string
	asked   *int
}

func (f fake) Info() reward.Info {
	return reward.Info{Name: "fake" + f.name, Fingerprint: "fake 1 " + f.name, Lo: -1, Hi: 1}
}
func (f fake) Score(context.Context, []reward.Item) ([]reward.Score, error) { panic("it compares") }
func (f fake) Close() error                                                 { return nil }
func (f fake) Compares() bool                                               { return true }
func (f fake) Odds() bool                                                   { return f.odds }

func (f fake) Compare(ctx context.Context, pairs []judge.Pair) (out []judge.Verdict, err error) {
	for _, p := range pairs {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if f.asked != nil {
			*f.asked++
		}
		out = append(out, f.verdict(p))
	}
	return out, nil
}

// pairsOf are n pairs whose answers are made by a function.
func pairsOf(n int, make func(i int) (a, b string)) (pairs []Pair) {
	for i := range n {
		a, b := make(i)
		pairs = append(pairs, Pair{Prompt: prompt.Record{ID: fmt.Sprint(i), Text: fmt.Sprint("prompt ", i)}, A: Answer{Text: a}, B: Answer{Text: b}})
	}
	return pairs
}

// compared is the report on pairs by a judge.
func compared(t *testing.T, m reward.Model, pairs []Pair, margin float64) *Report {
	t.Helper()
	file, err := Open("", m, pairs)
	if err != nil {
		t.Fatal(err)
	}
	c := Comparison{Judge: m}
	verdicts, err := c.Run(t.Context(), pairs, file)
	if err != nil {
		t.Fatal(err)
	}
	return c.Report(pairs, verdicts, margin, 1)
}

// A judge that takes the first answer in a fifth of the cases and tells which is better else: the bias is
// .2, the win rate that of the better answers but for what the bias makes ties of, and the orders agree unless
// the biased verdict fell on the worse answer: 1 - .2.
func TestPositionBias(t *testing.T) {
	const n, bias = 1000, 0.2
	rng := rand.New(rand.NewPCG(1, 2))
	good := 0
	pairs := pairsOf(n, func(int) (a, b string) {
		if rng.Float64() < 0.7 {
			good++
			return "good", "bad"
		}
		return "bad", "good"
	})
	r := compared(t, fake{verdict: func(p judge.Pair) judge.Verdict {
		if rng.Float64() < bias || p.A == "good" {
			return judge.Verdict{Value: 1}
		}
		return judge.Verdict{Value: -1}
	}}, pairs, 0)
	within := func(what string, mean, lo, hi, want float64) {
		t.Helper()
		if math.Abs(mean-want) > 0.04 || lo > want || hi < want || hi-lo > 0.1 {
			t.Errorf("%s is %.3f (%.3f to %.3f), not %.3f", what, mean, lo, hi, want)
		}
	}
	p := r.Position
	within("the bias", p.Bias.Mean, p.Bias.Lo, p.Bias.Hi, bias)
	within("the agreement", p.Agreement.Mean, p.Agreement.Lo, p.Agreement.Hi, 1-bias)
	share := float64(good) / n
	within("the win rate", r.WinRate.Mean, r.WinRate.Lo, r.WinRate.Hi, share*(1-bias/2)+(1-share)*bias/2)
	if r.Wins+r.Ties+r.Losses != n || r.Weighted != nil {
		t.Errorf("%+v", r)
	}
}

// Of two groups of pairs the regression is the one line through their log-odds, and its value at no difference
// is half-way between them.
func TestFitClosedForm(t *testing.T) {
	logit := func(p float64) float64 { return math.Log(p / (1 - p)) }
	for _, c := range []struct{ x, p1, p2 float64 }{{0.5, 0.3, 0.8}, {0.9, 0.6, 0.6}, {0.2, 0.55, 0.45}} {
		const many = 1e5 // pairs in each, so many that the prior weighs nothing
		r := new(regression).fit([]float64{-c.x, c.x}, []float64{c.p1, c.p2}, []float64{many, many})
		better, length := (logit(c.p1)+logit(c.p2))/2, (logit(c.p2)-logit(c.p1))/(2*c.x)
		if math.Abs(r.better-better) > 1e-4 || math.Abs(r.length-length) > 1e-4 {
			t.Errorf("%+v: %+v, want %v and %v", c, r, better, length)
		}
	}
}

// A second implementation solves the two score equations by bisection, one inside of the other.
func TestFitSecondImplementation(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	root := func(f func(float64) float64) float64 { // of an increasing function
		lo, hi := -100.0, 100.0
		for range 80 {
			if mid := (lo + hi) / 2; f(mid) < 0 {
				lo = mid
			} else {
				hi = mid
			}
		}
		return (lo + hi) / 2
	}
	for range 20 {
		n := 2 + rng.IntN(40)
		xs, ys, ws := make([]float64, n), make([]float64, n), make([]float64, n)
		for i := range xs {
			xs[i], ys[i], ws[i] = math.Tanh(2*rng.NormFloat64()), float64(rng.IntN(5))/4, float64(rng.IntN(3))
		}
		score := func(better, length float64, with func(x float64) float64) (sum float64) {
			for i, x := range xs {
				sum += ws[i] * (1/(1+math.Exp(-better-length*x)) - ys[i]) * with(x)
			}
			return sum
		}
		best := func(length float64) float64 {
			return root(func(better float64) float64 {
				return 0.01*better + score(better, length, func(float64) float64 { return 1 })
			})
		}
		length := root(func(length float64) float64 {
			return 0.01*length + score(best(length), length, func(x float64) float64 { return x })
		})
		if r := new(regression).fit(xs, ys, ws); math.Abs(r.better-best(length)) > 1e-6 || math.Abs(r.length-length) > 1e-6 {
			t.Errorf("%+v, want %v and %v", r, best(length), length)
		}
	}
}

// The answers of a are longer. A judge that loves length sees them win, however it does so; with the length taken out
// the win rate is what the quality is worth.
func TestLengthControlled(t *testing.T) {
	const n = 300
	rng := rand.New(rand.NewPCG(3, 4))
	pairs := pairsOf(n, func(int) (a, b string) {
		return strings.Repeat("a", 100+rng.IntN(120)), strings.Repeat("b", 80+rng.IntN(120))
	})
	xs, ok := lengths(pairs)
	if !ok {
		t.Fatal("no lengths")
	}
	feature := map[string]float64{}
	for i, p := range pairs {
		feature[p.Prompt.ID] = xs[i]
	}
	quality := func(better, length float64) *Report {
		return compared(t, fake{odds: true, verdict: func(p judge.Pair) judge.Verdict {
			x := feature[p.Prompt.ID]
			if i := p.Prompt.ID; p.A != pairs[atoi(t, i)].A.Text {
				return judge.Verdict{Value: -(better + length*x)}
			}
			return judge.Verdict{Value: better + length*x}
		}}, pairs, 0)
	}
	for _, c := range []struct{ better, length float64 }{{0, 2}, {0.5, 1.5}, {-0.7, 3}, {0.4, 0}} {
		r := quality(c.better, c.length)
		l, want := r.LengthControlled, sigmoid(c.better)
		if math.Abs(l.WinRate.Mean-want) > 2e-3 || math.Abs(l.Coefficient-c.length) > 5e-2 {
			t.Errorf("%+v: %+v, want %.3f", c, l, want)
		}
		if raw := r.Weighted.Mean; c.length > 0 && raw < want+0.03 || c.length == 0 && math.Abs(raw-want) > 1e-9 {
			t.Errorf("%+v: the raw rate is %.3f", c, raw)
		}
	}
	// One that takes the longer answer, always, and a coin's word where they are equal.
	blind := compared(t, fake{verdict: func(p judge.Pair) judge.Verdict {
		return judge.Verdict{Value: float64(len(p.A) - len(p.B))}
	}}, pairs, 0)
	if l := blind.LengthControlled; blind.WinRate.Mean < 0.6 || l.WinRate.Mean < 0.4 || l.WinRate.Mean > 0.6 || l.WinRate.Lo > 0.5 || l.WinRate.Hi < 0.5 {
		t.Errorf("the longer answer wins %.3f, and with length controlled %+v", blind.WinRate.Mean, l)
	}
	// One that knows no length, by verdicts: the interval holds the truth.
	fair := compared(t, fake{verdict: func(p judge.Pair) judge.Verdict {
		if rng.Float64() < 0.5 {
			return judge.Verdict{Value: 1}
		}
		return judge.Verdict{Value: -1}
	}}, pairs, 0)
	if l := fair.LengthControlled.WinRate; l.Lo > 0.5 || l.Hi < 0.5 || l.Hi-l.Lo > 0.2 {
		t.Errorf("%+v", l)
	}
	// All wins stay all but all wins, and no difference in length is none to control.
	if all := compared(t, fake{odds: false, verdict: func(p judge.Pair) judge.Verdict {
		return judge.Verdict{Value: map[bool]float64{true: 1, false: -1}[p.A == pairs[atoi(t, p.Prompt.ID)].A.Text]}
	}}, pairs, 0); all.WinRate.Mean != 1 || all.LengthControlled.WinRate.Mean < 0.99 {
		t.Errorf("%+v, %+v", all.WinRate, all.LengthControlled)
	}
	if same := compared(t, fake{verdict: func(judge.Pair) judge.Verdict { return judge.Verdict{} }}, pairsOf(9, func(int) (a, b string) { return "aaa", "b" }), 0); same.LengthControlled != nil || same.Ties != 9 {
		t.Errorf("%+v", same)
	}
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

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

// Any reward is a judge: the larger one wins, rounding is a tie, and nothing is asked twice.
func TestReward(t *testing.T) {
	m, err := reward.Open("0.1*length:10c + 0.2*length:10c", reward.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	r := compared(t, m, pairsOf(4, func(i int) (a, b string) {
		return strings.Repeat("a", 7+i), strings.Repeat("b", 9)
	}), 0) // 7, 8, 9 and 10 characters against 9
	if r.Wins != 1 || r.Ties != 1 || r.Losses != 2 || r.Position != nil || r.Weighted != nil || r.WinRate.Mean != 0.375 {
		t.Errorf("%+v", r)
	}
	if r := compared(t, m, pairsOf(2, func(i int) (a, b string) { return strings.Repeat("a", 8+i), strings.Repeat("b", 10) }), 0.04); r.Ties != 1 || r.Losses != 1 {
		t.Errorf("with a margin: %+v", r)
	}
}

// The gold rule is a judge, and finds what it needs in the records.
func TestGold(t *testing.T) {
	records, err := prompt.Read("../../../testdata/lab/summarize-test.jsonl", prompt.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a := write(t, "a.jsonl", fmt.Sprintf(`{"id": %q, "text": " so basically: got red bell"}`, records[0].ID))
	b := write(t, "b.jsonl", fmt.Sprintf(`{"id": %q, "text": " so basically: hid leather sofa"}`, records[0].ID))
	pairs, _, err := Read(a, b, records)
	if err != nil {
		t.Fatal(err)
	}
	m, err := reward.Open("gold", reward.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r := compared(t, m, pairs, 0); r.Wins != 1 {
		t.Errorf("%+v", r)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// A comparison that is stopped, wherever that is, goes on without asking anything again, and ends as one that was
// not stopped.
func TestResume(t *testing.T) {
	pairs := pairsOf(10, func(i int) (a, b string) { return strings.Repeat("a", i%4), strings.Repeat("b", i%3) })
	verdict := func(p judge.Pair) judge.Verdict {
		return judge.Verdict{Value: float64(len(p.A)-len(p.B)) + 0.1, Said: "<&>"}
	}
	run := func(path string, limit int, asked *int) ([]Verdict, error) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		m := fake{odds: true, asked: asked, verdict: func(p judge.Pair) judge.Verdict {
			if *asked == limit {
				cancel(errors.New("enough"))
			}
			return verdict(p)
		}}
		file, err := Open(path, m, pairs)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return Comparison{Judge: m, Together: 2}.Run(ctx, pairs, file)
	}
	var asked int
	whole := filepath.Join(t.TempDir(), "whole.jsonl")
	want, err := run(whole, -1, &asked)
	if err != nil || asked != 20 || len(want) != 20 {
		t.Fatalf("%d asked, %d verdicts, %v", asked, len(want), err)
	}
	text, err := os.ReadFile(whole)
	if err != nil || !bytes.Contains(text, []byte(`"said":"<&>"`)) {
		t.Fatalf("%s, %v", text, err)
	}
	for cut := 0; cut <= len(text); cut += 137 { // killed while this was on the disk
		path := filepath.Join(t.TempDir(), "cut.jsonl")
		if err := os.WriteFile(path, text[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		asked = 0
		got, err := run(path, -1, &asked)
		if err != nil || cmp.Diff(want, got) != "" {
			t.Fatalf("cut at %d: %v\n%s", cut, err, cmp.Diff(want, got))
		}
		if kept := bytes.Count(text[:cut], []byte("\n")); asked != 20-max(0, kept-1) {
			t.Errorf("cut at %d: %d questions for %d lines", cut, asked, kept)
		}
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, text) {
			t.Errorf("cut at %d: the file is another, %v", cut, err)
		}
	}
	path := filepath.Join(t.TempDir(), "stopped.jsonl")
	asked = 0
	if _, err := run(path, 9, &asked); err == nil || err.Error() != "enough" {
		t.Fatalf("got %v", err)
	}
	if got, err := run(path, -1, &asked); err != nil || cmp.Diff(want, got) != "" || asked > 20+4 {
		t.Errorf("%d asked, %v\n%s", asked, err, cmp.Diff(want, got))
	}
}

// What has no verdict is an error, unless it is left out, and is asked for again.
func TestUnscored(t *testing.T) {
	pairs := pairsOf(3, func(i int) (a, b string) { return fmt.Sprint("a", i), fmt.Sprint("b", i) })
	ill, asked := true, 0
	m := fake{asked: &asked, verdict: func(p judge.Pair) judge.Verdict {
		if ill && p.Prompt.ID == "1" && p.A == "b1" {
			return judge.Verdict{Err: errors.New("it hums")}
		}
		return judge.Verdict{Value: 1}
	}}
	file, err := Open(filepath.Join(t.TempDir(), "v.jsonl"), m, pairs)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := (Comparison{Judge: m}).Run(t.Context(), pairs, file); err == nil || !strings.Contains(err.Error(), `1 of 6 verdicts are missing; prompt "1": it hums (run the same command again`) {
		t.Errorf("got %v", err)
	}
	c := Comparison{Judge: m, SkipUnscored: true}
	got, err := c.Run(t.Context(), pairs, file)
	if r := c.Report(pairs, got, 0, 1); err != nil || r.Unjudged != 1 || r.Prompts != 2 || asked != 7 {
		t.Errorf("%+v, %v, %d asked", r, err, asked)
	}
	ill = false
	if got, err := (Comparison{Judge: m}).Run(t.Context(), pairs, file); err != nil || len(got) != 6 || asked != 8 {
		t.Errorf("%v, %v, %d asked", got, err, asked)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "v.jsonl")
	pairs := pairsOf(2, func(i int) (a, b string) { return "a", "b" })
	m := fake{verdict: func(judge.Pair) judge.Verdict { return judge.Verdict{Value: 1} }}
	file, err := Open(path, m, pairs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, m, pairs); err == nil || !strings.Contains(err.Error(), "is being written by another ivo") {
		t.Errorf("got %v", err)
	}
	if _, err := (Comparison{Judge: m}).Run(t.Context(), pairs, file); err != nil {
		t.Fatal(err)
	}
	file.Close()
	other := pairsOf(2, func(i int) (a, b string) { return "a", "other" })
	more := pairsOf(3, func(i int) (a, b string) { return "a", "b" })
	for name, c := range map[string]struct {
		path  string
		m     reward.Model
		pairs []Pair
		want  string
	}{
		"another judge":  {path, fake{name: "2"}, pairs, "the verdicts of another judge, fake"},
		"another scale":  {path, fake{odds: true}, pairs, "the verdicts of another judge"},
		"other answers":  {path, m, other, `other answers to prompt "0"`},
		"no verdicts":    {write(t, "x", "hello\n"), m, pairs, "holds no verdicts"},
		"another format": {write(t, "x", `{"format": "ivo verdicts 0"}`+"\n"), m, pairs, "holds no verdicts"},
		"a line":         {write(t, "x", string(firstLine(t, path))+"{}\n"), m, pairs, "line 2 is no verdict"},
		"no folder":      {filepath.Join(dir, "x", "y"), m, pairs, "is no folder"},
		"a folder":       {dir, m, pairs, "is no regular file"},
		"more pairs":     {path, m, more, ""},
	} {
		f, err := Open(c.path, c.m, c.pairs)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err == nil {
			f.Close()
		}
	}
}

func firstLine(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text[:bytes.IndexByte(text, '\n')+1]
}

func TestRead(t *testing.T) {
	records := []prompt.Record{{ID: "7", Text: "p7", Fields: map[string]json.RawMessage{"gold": json.RawMessage("1")}}, {ID: "x", Text: "px"}}
	for name, c := range map[string]struct {
		a, b    string
		records []prompt.Record
		want    string // the pairs in short, or the error
		left    int
	}{
		"two samples": {
			a:    `{"id": "7", "sample": 1, "prompt": "p", "text": "a1", "finish": "stop"} {"id": 7, "prompt": "p", "text": "a0"}`,
			b:    `{"id": "7", "prompt": "p", "text": "b0"} {"id": "7", "sample": 1, "prompt": "p", "response": "b1"} {"id": "z", "text": "c"}`,
			want: "7.1 p: a1|b1; 7.0 p: a0|b0", left: 1,
		},
		"unnumbered":        {a: `{"id": "7", "text": "a"} {"id": "7", "text": "a2"}`, b: `{"id": "7", "text": "b"} {"id": "7", "text": "b2"}`, want: "7.0 : a|b; 7.1 : a2|b2"},
		"records":           {a: `{"id": "7", "text": "a"} {"id": "y", "text": "a"}`, b: `{"id": "7", "text": "b"} {"id": "y", "text": "b"}`, records: records, want: "7.0 p7: a|b", left: 2},
		"a run's files":     {a: `{"key": "k", "sum": "s"} {"prompt_id": "x", "sample": 0, "response": "a"}`, b: `{"key": "k", "sum": "s"} {"prompt_id": "x", "sample": 0, "response": "b"}`, records: records, want: "x.0 px: a|b"},
		"conversations":     {a: `{"id": "1", "messages": [{"role": "user", "content": "Hi"}], "text": "a"}`, b: `{"id": "1", "messages": [{"role": "user", "content": "Hi"}], "text": "b"}`, want: "1.0 user: Hi: a|b"},
		"nothing in common": {a: `{"id": "1", "text": "a"}`, b: `{"id": "2", "text": "b"}`, want: "! no prompt is answered in both"},
		"other prompts":     {a: `{"id": "1", "prompt": "p", "text": "a"}`, b: `{"id": "1", "prompt": "q", "text": "b"}`, want: `! answer different prompts under the id "1"`},
		"twice":             {a: `{"id": "1", "sample": 0, "text": "a"} {"id": "1", "sample": 0, "text": "a"}`, b: ``, want: `! record 2: it is another answer 0 to "1"`},
		"no text":           {a: `{"id": "1"}`, b: ``, want: `! record 1: it has no "id" or no "text"`},
		"no JSON":           {a: `hello`, b: ``, want: "! record 1: invalid"},
		"empty":             {a: ``, b: ``, want: "! no prompt is answered in both"},
	} {
		pairs, left, err := Read(write(t, "a", c.a), write(t, "b", c.b), c.records)
		var parts []string
		for _, p := range pairs {
			parts = append(parts, fmt.Sprintf("%s.%d %s: %s|%s", p.Prompt.ID, p.Sample, p.Prompt.Show(), p.A.Text, p.B.Text))
		}
		got := strings.Join(parts, "; ")
		if text, isErr := strings.CutPrefix(c.want, "! "); isErr && (err == nil || !strings.Contains(err.Error(), text)) || !isErr && (err != nil || got != c.want || left != c.left) {
			t.Errorf("%s: got %q, %d left, %v; want %q, %d left", name, got, left, err, c.want, c.left)
		}
		if c.records != nil && err == nil && pairs[0].Prompt.ID == "7" && string(pairs[0].Prompt.Fields["gold"]) != "1" {
			t.Errorf("%s: fields %v", name, pairs[0].Prompt.Fields)
		}
	}
	if _, _, err := Read("none", "none", nil); err == nil || !strings.Contains(err.Error(), "check the path") {
		t.Error(err)
	}
}

// A server's model, asked by its address: it likes the longer answer and, a little, the first one. A
// failure in between costs nothing, and the key goes nowhere but to the server.
func TestEndpoint(t *testing.T) {
	const secret = "sk-s3cret"
	t.Setenv(program.ChatKeyVariable, secret)
	var mu sync.Mutex
	requests, bad := 0, 0
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests++
		n := requests
		if r.Header.Get("Authorization") != "Bearer "+secret {
			bad++
		}
		mu.Unlock()
		if n == 3 {
			http.Error(w, "with "+secret, http.StatusBadRequest)
			return
		}
		var in struct{ Messages []struct{ Content string } }
		json.NewDecoder(r.Body).Decode(&in)
		asked := in.Messages[0].Content
		between := func(open, end string) int {
			_, rest, _ := strings.Cut(asked, open)
			inside, _, _ := strings.Cut(rest, end)
			return len(inside)
		}
		odds := float64(between("<answer A>\n", "\n</answer A>")-between("<answer B>\n", "\n</answer B>")) + 0.5
		json.NewEncoder(w).Encode(map[string]any{"choices": []any{map[string]any{
			"message":  map[string]any{"content": "A"},
			"logprobs": map[string]any{"content": []any{map[string]any{"top_logprobs": []any{map[string]any{"token": "A", "logprob": odds / 2}, map[string]any{"token": "B", "logprob": -odds / 2}}}}},
		}}})
	}))
	defer site.Close()
	m, err := reward.Open("judge:"+site.URL, reward.Options{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	pairs := pairsOf(6, func(i int) (a, b string) { return strings.Repeat("a", 3+i%3), strings.Repeat("b", 4) })
	path := filepath.Join(t.TempDir(), "v.jsonl")
	file, err := Open(path, m, pairs)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c := Comparison{Judge: m}
	_, err = c.Run(t.Context(), pairs, file)
	if err == nil || !strings.Contains(err.Error(), "1 of 12 verdicts are missing") || strings.Contains(err.Error(), "s3cret") {
		t.Fatalf("got %v", err)
	}
	verdicts, err := c.Run(t.Context(), pairs, file)
	if err != nil || requests != 13 || bad > 0 {
		t.Fatalf("%d requests, %d without the key, %v", requests, bad, err)
	}
	r := c.Report(pairs, verdicts, 0, 1)
	want := (sigmoid(-1+0.5) + 1 - sigmoid(1+0.5) + sigmoid(0.5) + 1 - sigmoid(0.5) + sigmoid(1+0.5) + 1 - sigmoid(-1+0.5)) / 6
	if math.Abs(r.Weighted.Mean-want) > 1e-9 || math.Abs(r.Position.Bias.Mean-1./3) > 1e-12 || r.Wins != 2 || r.Ties != 2 || r.Losses != 2 {
		t.Errorf("%+v, weighted %v, want %v, position %+v", r, r.Weighted, want, r.Position)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), "s3cret") || strings.Contains(fmt.Sprint(r, m.Info()), "s3cret") {
		t.Errorf("the key is kept: %s, %v", text, err)
	}
}
