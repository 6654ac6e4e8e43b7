package batch_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// taste likes texts for the letters of the prompt's field that they hold.
type taste struct {
	prefixes bool
	asked    *int
}

func (r taste) Info() reward.Info { return reward.Info{Name: "taste", Prefixes: r.prefixes} }

func (r taste) Close() error { return nil }

func (r taste) Score(_ context.Context, items []reward.Item) ([]reward.Score, error) {
	out := make([]reward.Score, len(items))
	for i, it := range items {
		if r.asked != nil {
			*r.asked++
		}
		out[i].Value = liking(it.Prompt, it.Response)
	}
	return out, nil
}

func liking(r prompt.Record, text string) float64 {
	return float64(strings.Count(text, string(r.Fields["letter"]))) / 2
}

// A reward in the place of the value function guides every strategy as the same function of texts does,
// and each response tells how many texts it was asked about.
func TestValueByReward(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	e, err := engine.New(m, engine.Params{Ctx: 1024, Sequences: 16, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	record := prompt.Record{ID: "a", Text: "i found red kettles.\nTL;DR:", Fields: map[string]json.RawMessage{"letter": []byte("e")}}
	tokens, err := m.Tokenize(record.Text, true, false)
	if err != nil {
		t.Fatal(err)
	}
	task := batch.Task{Encoded: prompt.Encoded{Record: record, Tokens: tokens}}
	for _, method := range decode.Methods {
		if method == decode.MethodSample {
			continue
		}
		p := batch.Policy{
			Strategy: decode.Strategy{
				Method: method, N: 3, Beam: decode.Beam{Beams: 2, Block: 2}, RawBeta: true,
				Guide: decode.Guide{TopK: 4, Beta: 2, Rest: decode.RestNone},
			},
			Sampling: policy.Sampling{Temp: 1}, MaxTokens: 10,
		}
		answer := func() (out decode.Response) {
			t.Helper()
			if err := p.Decode(t.Context(), e, []batch.Task{task}, func(_, _ int, r decode.Response) error {
				out = r
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return out
		}
		asked := 0
		p.ValueBy = taste{asked: &asked}
		got := answer()
		if got.RewardCalls != asked || asked == 0 {
			t.Errorf("%s: %d texts were scored, the response says %d", method, asked, got.RewardCalls)
		}
		p.ValueBy = nil
		p.Value = value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
			out := make([]float64, len(texts))
			for i, text := range texts {
				out[i] = liking(record, text)
			}
			return out, nil
		})
		if want := answer(); got.Text != want.Text || !cmp.Equal(got.Tokens, want.Tokens) {
			t.Errorf("%s: the reward guides to %q, the same function to %q", method, got.Text, want.Text)
		}
	}
}

// A learned reward that is followed gives equal lists of tasks equal answers and values to the bit, whoever of them asks
// first and whatever was asked before.
func TestValueByRewardRepeats(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	learned, err := reward.Open("head:../../testdata/lab/summarize-reward.gguf@../../testdata/lab/summarize-s.gguf", reward.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer learned.Close()
	e, err := engine.New(m, engine.Params{Ctx: 2048, Sequences: 24, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	answers := func(n int) (out []decode.Response) {
		t.Helper()
		out = make([]decode.Response, n)
		var tasks []batch.Task
		for i := range out {
			record := prompt.Record{ID: string(rune('a' + i)), Text: strings.Repeat("i found red kettles. ", 1+i%3) + "\nTL;DR:"}
			tokens, err := m.Tokenize(record.Text, true, false)
			if err != nil {
				t.Fatal(err)
			}
			tasks = append(tasks, batch.Task{Encoded: prompt.Encoded{Record: record, Tokens: tokens}})
		}
		p := batch.Policy{
			Strategy: decode.Strategy{Method: decode.MethodTokenwise, RawBeta: true, Guide: decode.Guide{TopK: 6, Beta: 3, Rest: decode.RestNone}},
			Sampling: policy.Sampling{Temp: 1}, MaxTokens: 12, ValueBy: learned, EachValue: true,
		}
		if err := p.Decode(t.Context(), e, tasks, func(task, _ int, r decode.Response) error {
			out[task] = r
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	want := answers(7)
	for again := range 4 {
		answers(1 + again)
		for i, got := range answers(7) {
			if d := cmp.Diff(want[i].Values, got.Values); d != "" || got.Text != want[i].Text {
				t.Fatalf("answer %d is %q, another time %q; values (-first +again):\n%s", i, want[i].Text, got.Text, d)
			}
		}
	}
}

// ARGS and the choice among finished samples take any reward, others one that is meant for prefixes.
func TestCheckGuidance(t *testing.T) {
	for _, method := range decode.Methods {
		for _, prefixes := range []bool{false, true} {
			p := batch.Policy{
				Strategy: decode.Strategy{Method: method, N: 2, Beam: decode.Beam{Beams: 2, Block: 2}, Guide: decode.Guide{TopK: 4, Rest: decode.RestNone}},
				ValueBy:  taste{prefixes: prefixes}, Sampling: policy.Sampling{Temp: 1},
			}
			want := prefixes || method == decode.MethodGreedy || method == decode.MethodBestOfN || method == decode.MethodSample
			if err := p.CheckGuidance(); (err == nil) != want {
				t.Errorf("%s by a reward whose Prefixes is %t: got error %v", method, prefixes, err)
			}
		}
	}
}

// What guides single tokens leaves nothing to choose at temperature 0, by whatever it is guided; what draws one sample does
// not choose.
func TestCheckGuidanceGreedy(t *testing.T) {
	for _, method := range decode.Methods {
		p := batch.Policy{
			Strategy: decode.Strategy{Method: method, N: 2, Beam: decode.Beam{Beams: 2, Block: 2}, Guide: decode.Guide{TopK: 4, Rest: decode.RestNone}},
			ValueBy:  taste{prefixes: true},
		}
		if err := p.CheckGuidance(); (err != nil) != (method != decode.MethodSample) {
			t.Errorf("%s at temperature 0: got error %v", method, err)
		}
	}
}
