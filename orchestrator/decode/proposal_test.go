package decode_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// additive is a value function that is the sum of what each token adds.
func additive(advantages []float32) value.Source { return sum{advantages} }

type sum struct{ a []float32 }

func (sum) Check(*engine.Engine) error { return nil }
func (sum) Ahead() bool                { return false }
func (sum) Advantages() bool           { return true }
func (sum) Unit() value.Unit           { return value.Unit{} }
func (sum) InTurn() bool               { return false }
func (sum) NeedsPrompt() bool          { return false }
func (s sum) Open(value.Request) (value.Valuer, error) {
	v := sumValuer{a: s.a}
	for _, a := range s.a {
		v.twice = append(v.twice, 2*a)
	}
	return v, nil
}

type sumValuer struct{ a, twice []float32 }

func (sumValuer) ReadsStates() bool                                         { return false }
func (sumValuer) Begin() (value.Memory, error)                              { return nil, nil }
func (sumValuer) Fork(m value.Memory) value.Memory                          { return m }
func (sumValuer) Drop(value.Memory)                                         {}
func (sumValuer) Push([]*value.Candidate) error                             { return nil }
func (sumValuer) Close()                                                    {}
func (v sumValuer) Advantages(*value.Candidate) ([]float32, float64, error) { return v.twice, 0.5, nil }
func (v sumValuer) Value(_ context.Context, cs []*value.Candidate, out []float32) error {
	for i, c := range cs {
		out[i] = 0
		for _, token := range c.Tokens() {
			out[i] += v.a[token]
		}
	}
	return nil
}

// someAdvantages are different ones of all tokens.
func someAdvantages(e *engine.Engine) []float32 {
	out := make([]float32, e.Model().Info().Vocab)
	for i := range out {
		out[i] = float32(math.Sin(float64(i)))
	}
	return out
}

// proposing are all methods that draw from a proposal, with one.
func proposing(beta float64) (out []decode.Strategy) {
	for _, s := range strategies() {
		if !s.Tokenwise() {
			s.Proposal = beta
			out = append(out, s)
		}
	}
	return out
}

// Sampling from a proposal, one-pass by a table and the blocks and samples that others choose from
// follow pi_base(y) exp(beta a(y)) (chi-squared), and the KL and the log-probabilities that they
// report are those of this closed form; the mean of tables tilts as the table of their mean.
func TestProposalDistribution(t *testing.T) {
	base := map[byte]float64{'a': 0.35, 'b': 0.25, 'c': 0.2, 'd': 0.12, 'e': 0.08}
	e := toy(t, map[byte]map[byte]float64{'^': base})
	const temp, beta = 0.8, 1.3
	adds := map[byte]float64{'a': -0.4, 'b': 0.5, 'c': 1, 'd': 1.5, 'e': -2}
	table := func(weight, shift float64) value.Source {
		out := make([]float32, len(letters))
		for l, a := range adds {
			out[token(l)] = float32(weight*a + shift)
		}
		return additive(out)
	}
	for _, c := range []struct {
		name     string
		s        decode.Strategy
		source   value.Source
		sampling policy.Sampling
	}{
		{"sample", decode.Strategy{Method: decode.MethodSample, Proposal: beta}, table(1, 0), policy.Sampling{Temp: temp}},
		{"an advantage that all share", decode.Strategy{Method: decode.MethodSample, Proposal: beta}, table(1, 5), policy.Sampling{Temp: temp}},
		{"mean", decode.Strategy{Method: decode.MethodSample, Proposal: beta}, value.Mean(table(3, 0), table(-1, 2)), policy.Sampling{Temp: temp}},
		{"truncated", decode.Strategy{Method: decode.MethodSample, Proposal: beta}, table(1, 0), policy.Sampling{Temp: temp, TopK: 3}},
		{"one-pass", decode.Strategy{Method: decode.MethodOnePass, Guide: decode.Guide{TopK: 1, Beta: beta, Rest: decode.RestNone}}, table(1, 0), policy.Sampling{Temp: temp}},
		{"best of one", decode.Strategy{Method: decode.MethodBestOfN, N: 1, Proposal: beta}, table(1, 0), policy.Sampling{Temp: temp}},
		{"block of one", decode.Strategy{Method: decode.MethodBlockBestOfK, N: 1, Beam: decode.Beam{Block: 1}, Proposal: beta}, table(1, 0), policy.Sampling{Temp: temp}},
	} {
		pi, q := map[byte]float64{}, map[byte]float64{}
		z, zq := 0.0, 0.0
		for l, p := range base {
			if c.sampling.TopK == 0 || p >= base['c'] {
				pi[l] = math.Pow(p, 1/temp)
				q[l] = pi[l] * math.Exp(beta*adds[l])
				z, zq = z+pi[l], zq+q[l]
			}
		}
		kl := 0.0
		for l := range pi {
			pi[l], q[l] = pi[l]/z, q[l]/zq
			kl += q[l] * math.Log(q[l]/pi[l])
		}
		const n = 2000
		var jobs []engine.Job
		responses := make([]decode.Response, n)
		for key := range uint64(n) {
			req := decode.Request{Prompt: []int32{begin}, MaxTokens: 1, Sampling: c.sampling, Key: key, Value: c.source}
			job, err := c.s.Job(e, req, func(r decode.Response) { responses[key] = r })
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, job)
		}
		run(t, e, jobs...)
		count := map[byte]float64{}
		for _, r := range responses {
			l := r.Text[0]
			count[l]++
			want, kind := kl, decode.KLExact
			if c.s.Method == decode.MethodBestOfN || c.s.Method == decode.MethodBlockBestOfK {
				want, kind = math.Log(q[l]/pi[l]), decode.KLBound // of the best of one, whose own bound is 0
				if r.GuidedLogProbs != nil {
					t.Fatalf("%s: guided log-probabilities", c.name)
				}
			} else if got := math.Exp(float64(r.GuidedLogProbs[0])); math.Abs(got-q[l]) > 1e-5 {
				t.Fatalf("%s: guided probability of %c %v, want %v", c.name, l, got, q[l])
			}
			if math.Abs(r.KL-want) > 1e-5 || r.KLKind != kind {
				t.Fatalf("%s: KL %v (%s), want %v", c.name, r.KL, r.KLKind, want)
			}
			if got := math.Exp(float64(r.BaseLogProbs[0])); math.Abs(got-pi[l]) > 1e-5 {
				t.Fatalf("%s: base probability of %c %v, want %v", c.name, l, got, pi[l])
			}
		}
		chi2 := 0.0
		for l, p := range q {
			chi2 += (count[l] - n*p) * (count[l] - n*p) / (n * p)
		}
		if df := float64(len(q) - 1); chi2 > df+6*math.Sqrt(2*df)+6 {
			t.Errorf("%s: chi-squared %.1f: %v of %v", c.name, chi2, count, q)
		}
	}
}

// What an additive head's table says a token adds is what the value rises by when the token is taken, under
// its proposal and by one-pass; a head of another kind that carries a table tilts by the same one.
func TestProposalOfHeads(t *testing.T) {
	e := open(t)
	embeddings, err := e.Model().Embeddings()
	if err != nil {
		t.Fatal(err)
	}
	defer embeddings.Close()
	options := valuehead.TrainOptions{Epochs: 2, Batch: 64, HeldOut: 0.2, Seed: 1, Embeddings: embeddings}
	options.Kind = valuehead.Additive
	head := trained(t, e, valuehead.FeaturesOf(valuehead.Additive), options)
	options.Kind = valuehead.Linear
	other := trained(t, e, valuehead.FeaturesOf(valuehead.Linear), options)
	for _, s := range append(proposing(1), decode.Strategy{Method: decode.MethodOnePass, Guide: decode.Guide{TopK: 1, Beta: 1, Rest: decode.RestNone}}) {
		var texts []string
		for i, h := range []*valuehead.Head{head, other} {
			req := request(t, e, 3)
			req.Value, req.EachValue, req.RecordPrompt = value.Head(h, valuehead.Reading{}), true, true
			var r decode.Response
			job, err := s.Job(e, req, func(got decode.Response) { r = got })
			if err != nil {
				t.Fatal(err)
			}
			run(t, e, job)
			if r.KLKind == decode.KLExact && !(r.KL > 0) {
				t.Errorf("%s: KL %v", s.Method, r.KL)
			}
			if texts = append(texts, r.Text); i > 0 {
				continue
			}
			table := h.Advantages().Of(r.Prompt)
			for k := 1; k < len(r.Tokens); k++ {
				adds := table[r.Tokens[k]]
				if h.Advantages().Once() && slices.Contains(r.Tokens[:k], r.Tokens[k]) {
					adds = 0
				}
				if rise := r.Values[k] - r.Values[k-1]; math.Abs(float64(rise-adds)) > 1e-3 {
					t.Errorf("%s: the value rises by %v, the table says %v", s.Method, rise, adds)
				}
			}
		}
		if (s.Method == decode.MethodSample || s.Method == decode.MethodOnePass) && texts[0] != texts[1] {
			t.Errorf("%s: %q by an additive head, %q by a linear one with the same table", s.Method, texts[0], texts[1])
		}
	}
}

// A proposal is refused where there is nothing to make it of, or nobody to draw from it.
func TestProposalErrors(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': 1}, 'a': {'.': 1}})
	sound := additive(make([]float32, len(letters)))
	nans := make([]float32, len(letters))
	nans[3] = nan
	guide := decode.Guide{TopK: 1, Beta: 1, Rest: decode.RestNone}
	var bad *fault.Error
	for _, c := range []struct {
		name   string
		s      decode.Strategy
		source value.Source
		temp   float64
		want   fault.Field
	}{
		{"no value function", decode.Strategy{Method: decode.MethodSample, Proposal: 1}, nil, 1, "value_head"},
		{"no advantages", decode.Strategy{Method: decode.MethodSample, Proposal: 1}, short, 1, "value_head"},
		{"no advantages of one of two", decode.Strategy{Method: decode.MethodBestOfN, N: 2, Proposal: 1}, value.Mean(sound, short), 1, "value_head"},
		{"no tokens ahead", decode.Strategy{Method: decode.MethodOnePass, Guide: guide}, value.Mean(sound, short), 1, "value_head"},
		{"who proposes nothing", decode.Strategy{Method: decode.MethodTokenwise, Guide: guide, Proposal: 1}, sound, 1, "proposal"},
		{"nothing to choose", decode.Strategy{Method: decode.MethodSample, Proposal: 1}, sound, 0, "temp"},
		{"nothing to choose", decode.Strategy{Method: decode.MethodOnePass, Guide: guide}, sound, 0, "temp"},
		{"no number", decode.Strategy{Method: decode.MethodBlockBestOfK, N: 2, Beam: decode.Beam{Block: 2}, Proposal: math.NaN()}, sound, 1, "proposal_beta"},
		{"a table of another model", decode.Strategy{Method: decode.MethodSample, Proposal: 1}, additive(make([]float32, 5)), 1, "value_head"},
		{"a table of no numbers", decode.Strategy{Method: decode.MethodSample, Proposal: 1}, additive(nans), 1, "value_head"},
	} {
		req := decode.Request{Prompt: []int32{begin}, MaxTokens: 4, Sampling: policy.Sampling{Temp: c.temp}, Value: c.source}
		job, err := c.s.Job(e, req, func(decode.Response) {})
		if err == nil {
			err = e.Run(t.Context(), []engine.Job{job})
		}
		if !errors.As(err, &bad) || bad.Field != c.want || bad.Hint == "" {
			t.Errorf("%s, %s: got %v, want an error about %s", c.name, c.s.Method, err, c.want)
		}
	}
}

var nan = float32(math.NaN())
