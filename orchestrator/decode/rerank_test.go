package decode_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// rolling are the methods whose blocks rollouts value, small ones.
func rolling() (out []decode.Strategy) {
	for _, s := range strategies() {
		if s.Method == decode.MethodBlockBestOfK || s.Method == decode.MethodBlockBeam {
			s.Rollouts = decode.Rollouts{N: 2, Tokens: 3}
			out = append(out, s)
			s.Rollouts = decode.Rollouts{N: 1}
			out = append(out, s)
		}
	}
	return out
}

// words is a reward that likes a few letters.
func words(_ context.Context, texts []string) ([]float64, error) {
	out := make([]float64, len(texts))
	for i, text := range texts {
		out[i] = float64(strings.Count(text, "c")) - 0.3*float64(strings.Count(text, "a"))
	}
	return out, nil
}

// scores is a reward by a table, which notes what it was asked. A text that it was asked about before, or
// that is not there, is a mistake.
type scores struct {
	of    map[string]float64
	asked []string
}

func (s *scores) score(_ context.Context, texts []string) ([]float64, error) {
	out := make([]float64, len(texts))
	for i, text := range texts {
		if slices.Contains(s.asked, text) {
			return nil, fmt.Errorf("asked about %q again", text)
		}
		reward, ok := s.of[text]
		if !ok {
			return nil, fmt.Errorf("no reward of %q", text)
		}
		s.asked, out[i] = append(s.asked, text), reward
	}
	return out, nil
}

// What the reward chooses among, what it and the rollouts cost, worked out by hand. Each method draws so
// many blocks that every likely one is among them.
func TestTraceRerank(t *testing.T) {
	wide := toy(t, map[byte]map[byte]float64{
		'^': {'a': 0.5, 'b': 0.3, 'c': 0.2},
		'a': {'d': 0.6, 'e': 0.4},
		'b': {'d': 0.5, 'e': 0.5},
		'c': {'d': 0.5, '.': 0.5},
		'd': {'.': 1}, 'e': {'.': 1},
	})
	// Two ways, ad and bef.
	narrow := toy(t, map[byte]map[byte]float64{'^': {'a': 0.5, 'b': 0.5}, 'a': {'d': 1}, 'd': {'.': 1}, 'b': {'e': 1}, 'e': {'f': 1}, 'f': {'.': 1}})
	// Values prefer bd, then c; the reward prefers ae of all that is complete, then c.
	values := map[string]float64{"a": 0.6, "b": 0.5, "c": 0.7, "ad": 0.1, "ae": 0.2, "bd": 0.8, "be": 0.3, "cd": 0.4}
	rewards := map[string]float64{"c": 0.5, "ad": 0, "ae": 0.9, "bd": 0.1, "be": 0, "cd": 0}
	pairs, single := decode.Beam{Block: 2}, decode.Beam{Block: 1}
	for _, c := range []struct {
		name    string
		e       *engine.Engine
		s       decode.Strategy
		most    int
		values  map[string]float64
		rewards map[string]float64
		want    string
		asked   string // in any order, and with it the tokens decoded; "" where that depends on the draws
		decoded int
	}{
		{"best of n", wide, decode.Strategy{Method: decode.MethodBestOfN, N: 60}, 4, nil, rewards, "ae", "", 0},
		// All pairs are complete at two tokens, of which the second is not fed.
		{"the last block", wide, decode.Strategy{Method: decode.MethodBlockBestOfK, N: 60, Beam: pairs}, 2, values, rewards, "ae", "ad ae bd be c cd", len("abc")},
		// bd is followed by its end alone; c has ended in the block before.
		{"one way in the last block", wide, decode.Strategy{Method: decode.MethodBlockBestOfK, N: 60, Beam: pairs}, 4, values, rewards, "bd", "bd", len("abc") + len("deded")},
		// c competes, though there may have been no place for it among the beams.
		{"ended on the way", wide, decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 7, Block: 2}}, 4, values, rewards, "c", "", 0},
		// The last token of a rollout is not fed.
		{"rollouts of a token", narrow, decode.Strategy{Method: decode.MethodBlockBestOfK, N: 12, Beam: single, Rollouts: decode.Rollouts{N: 2, Tokens: 1}},
			2, nil, map[string]float64{"ad": 0.2, "be": 0.9}, "be", "ad be", len("ab")},
		// After a and b, rollouts feed d and ef, and after e once more f.
		{"rollouts to the end", narrow, decode.Strategy{Method: decode.MethodBlockBestOfK, N: 12, Beam: single, Rollouts: decode.Rollouts{N: 2, Tokens: 9}},
			5, nil, map[string]float64{"ad": 0.2, "bef": 0.9}, "bef", "ad bef", len("ab") + len("def") + len("e") + len("f") + len("f")},
		// By itself, a is better than b.
		{"no tokens more", narrow, decode.Strategy{Method: decode.MethodBlockBestOfK, N: 12, Beam: single, Rollouts: decode.Rollouts{N: 3}},
			5, nil, map[string]float64{"a": 0.5, "b": 0.4, "ad": 0.1}, "ad", "a ad b", len("ab") + len("d")},
		{"beams of rollouts", narrow, decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 5, Block: 2}, Rollouts: decode.Rollouts{N: 1, Tokens: 1}},
			5, nil, map[string]float64{"ad": 0.2, "bef": 0.9}, "bef", "ad bef", len("ab") + len("de") + len("f")},
	} {
		for key := range uint64(6) {
			s := &scores{of: c.rewards}
			req := decode.Request{Prompt: []int32{begin}, MaxTokens: c.most, Sampling: policy.Sampling{Temp: 1}, Key: key, Rerank: s.score}
			if c.values != nil {
				req.Value = table(c.values, 0)
			}
			var r decode.Response
			job, err := c.s.Job(c.e, req, func(got decode.Response) { r = got })
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			run(t, c.e, job)
			slices.Sort(s.asked)
			asked := strings.Join(s.asked, " ")
			if r.Text != c.want || r.RewardCalls != len(s.asked) || math.IsNaN(float64(r.Value)) != (c.values == nil) {
				t.Errorf("%s, key %d: %q of value %v after %d rewards, of %s; want %q", c.name, key, r.Text, r.Value, r.RewardCalls, asked, c.want)
			}
			if c.asked != "" && (asked != c.asked || r.Decoded != c.decoded) {
				t.Errorf("%s, key %d: asked about %s, decoded %d tokens; want %s, %d", c.name, key, asked, r.Decoded, c.asked, c.decoded)
			}
		}
	}
}

// The mean of N rollouts of a is above that of b's as often as the binomial distribution says, under the
// base policy and under a proposal; what else is decoded makes no difference.
func TestRolloutDistribution(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': 0.5, 'b': 0.5}, 'a': {'c': 0.5, 'd': 0.5}, 'b': {'e': 1}})
	reward := func(_ context.Context, texts []string) ([]float64, error) {
		out := make([]float64, len(texts))
		for i, text := range texts {
			out[i] = map[string]float64{"ac": 1, "be": 0.6}[text]
		}
		return out, nil
	}
	add := make([]float32, len(letters))
	add[token('c')] = 1
	const n = 1000
	for _, c := range []struct {
		rollouts int
		proposal float64
		want     func(p float64) float64 // the probability that a wins, p being that of c
	}{
		{1, 0, func(p float64) float64 { return p }},
		{2, 0, func(p float64) float64 { return p * p }},
		{3, 0, func(p float64) float64 { return p*p*p + 3*p*p*(1-p) }},
		{2, 1, func(p float64) float64 { return p * p }},
	} {
		s := decode.Strategy{Method: decode.MethodBlockBestOfK, N: 16, Beam: decode.Beam{Block: 1}, Proposal: c.proposal, Rollouts: decode.Rollouts{N: c.rollouts, Tokens: 1}}
		responses := make([]decode.Response, n)
		job := func(key uint64, out *decode.Response) engine.Job {
			req := decode.Request{Prompt: []int32{begin}, MaxTokens: 2, Sampling: policy.Sampling{Temp: 1}, Key: key, Rerank: reward}
			if c.proposal != 0 {
				req.Value = additive(add)
			}
			job, err := s.Job(e, req, func(r decode.Response) { *out = r })
			if err != nil {
				t.Fatal(err)
			}
			return job
		}
		var jobs []engine.Job
		for key := range responses {
			jobs = append(jobs, job(uint64(key), &responses[key]))
		}
		run(t, e, jobs...)
		wins := 0.0
		for key, r := range responses {
			if r.Text[0] == 'a' {
				wins++
			}
			if key < 20 {
				var alone decode.Response
				run(t, e, job(uint64(key), &alone))
				if !slices.Equal(alone.Tokens, r.Tokens) {
					t.Errorf("key %d: %q among others, %q alone", key, r.Text, alone.Text)
				}
			}
		}
		p := math.Exp(c.proposal) / (1 + math.Exp(c.proposal))
		want := c.want(p)
		if sd := math.Sqrt(n * want * (1 - want)); math.Abs(wins-n*want) > 5*sd {
			t.Errorf("%d rollouts, proposal %v: a wins %.0f times, want %.0f +- %.0f", c.rollouts, c.proposal, wins, n*want, sd)
		}
	}
}

// A reward that cannot be used ends the run with what to do about it, and so do settings that need
// another.
func TestRerankErrors(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': 0.5, 'b': 0.5}, 'a': {'.': 1}, 'b': {'.': 1}})
	always := func(scores []float64, err error) func(context.Context, []string) ([]float64, error) {
		return func(context.Context, []string) ([]float64, error) { return scores, err }
	}
	lost := errors.New("the server is gone")
	best := decode.Strategy{Method: decode.MethodBestOfN, N: 1}
	beam := decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 2}}
	with := func(s decode.Strategy, n, tokens int) decode.Strategy {
		s.Rollouts = decode.Rollouts{N: n, Tokens: tokens}
		return s
	}
	var bad *fault.Error
	for _, c := range []struct {
		name   string
		s      decode.Strategy
		rerank func(context.Context, []string) ([]float64, error)
		want   fault.Field
	}{
		{"too few", best, always(nil, nil), "rerank"},
		{"no number", best, always([]float64{math.NaN()}, nil), "rerank"},
		{"infinite", best, always([]float64{math.Inf(1)}, nil), "rerank"},
		{"failed", best, always(nil, lost), ""},
		{"no choice", decode.Strategy{Method: decode.MethodSample}, words, "rerank"},
		{"no choice", decode.Strategy{Method: decode.MethodTokenwise, Guide: decode.Guide{TopK: 2, Rest: decode.RestNone}}, words, "rerank"},
		{"no value function", beam, words, "value_head"},
		{"no blocks and no value function", with(decode.Strategy{Method: decode.MethodOnePass}, 2, 2), words, "rerank"},
		{"no reward", with(beam, 2, 2), nil, "rerank"},
		{"no blocks", with(best, 2, 2), words, "rollouts"},
		{"negative", with(beam, -1, 2), words, "rollouts"},
		{"negative", with(beam, 1, -2), words, "rollouts"},
		{"too many", with(beam, 20, 2), words, "parallel"},
	} {
		req := decode.Request{Prompt: []int32{begin}, MaxTokens: 4, Sampling: policy.Sampling{Temp: 1}, Rerank: c.rerank}
		if c.want != "value_head" && c.s.Method != decode.MethodBestOfN {
			req.Value = short
		}
		job, err := c.s.Job(e, req, func(decode.Response) {})
		if err == nil {
			err = e.Run(t.Context(), []engine.Job{job})
		}
		if c.want == "" {
			if !errors.Is(err, lost) {
				t.Errorf("%s: got %v", c.name, err)
			}
		} else if !errors.As(err, &bad) || bad.Field != c.want || bad.Hint == "" {
			t.Errorf("%s, %s: got %v, want an error about %s", c.name, c.s.Method, err, c.want)
		}
	}
}
