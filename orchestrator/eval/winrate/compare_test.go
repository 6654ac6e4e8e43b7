package winrate

import (
	"context"
	"encoding/json"
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

func (f fake) Close() error { return nil }

func (f fake) Compares() bool { return true }

func (f fake) Odds() bool { return f.odds }

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
