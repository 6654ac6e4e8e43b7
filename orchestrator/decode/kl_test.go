package decode_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// The mean of log guided/base over responses is the mean of their KL.
func TestKLOfSamples(t *testing.T) {
	e := open(t)
	taste := value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
		out := make([]float64, len(texts))
		for i, text := range texts {
			out[i] = float64(crc32.ChecksumIEEE([]byte(text))) / math.MaxUint32
		}
		return out, nil
	})
	tilted := additive(someAdvantages(e))
	for _, c := range []struct {
		method   decode.Method
		rest     decode.Rest
		source   value.Source
		proposal float64
	}{
		{decode.MethodTokenwise, decode.RestParent, taste, 0}, {decode.MethodTokenwise, decode.RestNone, taste, 0},
		{decode.MethodBlockSampling, decode.RestParent, taste, 0}, {decode.MethodOnePass, decode.RestMean, taste, 0},
		{decode.MethodOnePass, decode.RestMean, tilted, 0}, {decode.MethodSample, decode.RestMean, tilted, 1},
	} {
		s := decode.Strategy{Method: c.method, Beam: decode.Beam{Block: 2}, Guide: decode.Guide{TopK: 3, Beta: 2, Rest: c.rest}, Proposal: c.proposal}
		const n = 200
		responses := make([]decode.Response, n)
		var jobs []engine.Job
		for i := range responses {
			req := request(t, e, uint64(i))
			req.Prompt, req.MaxTokens, req.Value = req.Prompt[:8], 8, c.source
			job, err := s.Job(e, req, func(r decode.Response) { responses[i] = r })
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, job)
		}
		run(t, e, jobs...)
		var sum, squares, kl float64
		for _, r := range responses {
			d := -r.KL
			for i := range r.Tokens {
				d += float64(r.GuidedLogProbs[i] - r.BaseLogProbs[i])
			}
			sum, squares, kl = sum+d/n, squares+d*d/n, kl+r.KL/n
		}
		if se := math.Sqrt((squares - sum*sum) / n); math.Abs(sum) > 4*se || kl < 0.1 {
			t.Errorf("%s, the rest %s: the log-ratio is %.4f +- %.4f more than the KL, %.4f", s.Method, c.rest, sum, se, kl)
		}
	}
}

// Block search gives no response with more than exp(its bound) times its probability under the
// base policy, and its mean bound is no less than the KL; responses end at different times.
func TestBoundOfBlocks(t *testing.T) {
	next := map[byte]map[byte]float64{}
	for _, l := range "^abc" {
		next[byte(l)] = map[byte]float64{'a': .1, 'b': .35, 'c': .35, '.': .2}
	}
	e := toy(t, next)
	likes := value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
		out := make([]float64, len(texts))
		for i, text := range texts {
			out[i] = float64(strings.Count(text, "a")) + 0.1*float64(strings.Count(text, "b"))
		}
		return out, nil
	})
	for _, s := range []decode.Strategy{
		{Method: decode.MethodBlockBestOfK, N: 4, Beam: decode.Beam{Block: 2}},
		{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 2}},
		{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 3, Block: 1}},
		{Method: decode.MethodBestOfN, N: 3, Proposal: 1.5, Beam: decode.Beam{Block: 5}},
		{Method: decode.MethodBlockBestOfK, N: 2, Beam: decode.Beam{Block: 2}, Proposal: 1.5},
		{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 2}, Proposal: 1.5},
		{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 3}, Proposal: -0.7},
		{Method: decode.MethodBlockBestOfK, N: 2, Beam: decode.Beam{Block: 3}, Proposal: 0.5, Rollouts: decode.Rollouts{N: 2, Tokens: 2}},
		{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 3}, Rollouts: decode.Rollouts{N: 1, Tokens: 1}},
	} {
		add := make([]float32, len(letters))
		if add[token('a')] = 1; s.Method != decode.MethodBestOfN { // whose bound is nearly reached where there are no ties
			add[token('b')] = 0.1
		}
		q := map[byte]float64{} // of every next letter
		z := 0.0
		for l, p := range next['a'] {
			q[l] = p * math.Exp(s.Proposal*float64(add[token(l)]))
			z += q[l]
		}
		const n = 2000
		responses := make([]decode.Response, n)
		var jobs []engine.Job
		for key := range uint64(n) {
			req := decode.Request{Prompt: []int32{begin}, MaxTokens: 5, Sampling: policy.Sampling{Temp: 1}, Key: key, Value: likes}
			if s.Proposal != 0 {
				req.Value = additive(add)
			}
			if s.Rollouts.N > 0 {
				req.Rerank = words
			}
			if s.Method == decode.MethodBestOfN {
				req.MaxTokens = 3 // few texts, for their frequencies to be near their probabilities
			}
			job, err := s.Job(e, req, func(r decode.Response) { responses[key] = r })
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, job)
		}
		run(t, e, jobs...)
		count, base := map[string]float64{}, map[string]float64{}
		bound := 0.0
		for _, r := range responses {
			id := fmt.Sprint(r.Tokens)
			count[id]++
			base[id] = 0
			for _, l := range r.BaseLogProbs {
				base[id] += float64(l)
			}
			bound += r.KL / n
			blocks := float64((len(r.Tokens) + s.Beam.Block - 1) / s.Beam.Block)
			want := (blocks + 1) * math.Log(float64(s.Beam.Beams))
			if s.Beam.Beams == 0 {
				n := float64(s.N)
				want = blocks * (math.Log(n) - (n-1)/n)
			}
			for _, id := range r.Tokens {
				l := letters[id]
				want += math.Log(q[l] / z / next['a'][l])
			}
			if math.Abs(r.KL-want) > 1e-5 || r.KLKind != decode.KLBound {
				t.Fatalf("%s: a bound of %v (%s), want %v", s.Method, r.KL, r.KLKind, want)
			}
		}
		kl := -float64(len(count)-1) / (2 * n) // what an estimate by frequencies is too high
		for id, c := range count {
			kl += c / n * (math.Log(c/n) - base[id])
		}
		if kl > bound {
			t.Errorf("%s: KL %.3f, bound %.3f", s.Method, kl, bound)
		}
		t.Logf("%s, proposal %v: KL %.3f, bound %.3f", s.Method, s.Proposal, kl, bound)
	}
}

// A block that no response fills is one block, however large it is.
func TestLargeBlocks(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': .5, 'b': .5}, 'a': {'a': .5, 'b': .5}, 'b': {'a': .5, 'b': .5}})
	likes := value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
		out := make([]float64, len(texts))
		for i, text := range texts {
			out[i] = float64(strings.Count(text, "a"))
		}
		return out, nil
	})
	for _, s := range []decode.Strategy{{Method: decode.MethodBlockBestOfK, N: 4}, {Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2}}} {
		want := decode.BestOfKL(4)
		if s.Method == decode.MethodBlockBeam {
			want = math.Log(2) + math.Log(2)
		}
		for _, block := range []int{5, 6, math.MaxInt} {
			s.Beam.Block = block
			var r decode.Response
			job, err := s.Job(e, decode.Request{Prompt: []int32{begin}, MaxTokens: 5, Sampling: policy.Sampling{Temp: 1}, Value: likes}, func(got decode.Response) { r = got })
			if err != nil {
				t.Fatal(err)
			}
			if run(t, e, job); math.Abs(r.KL-want) > 1e-9 {
				t.Errorf("%s, blocks of %d: a KL of at most %v, want %v", s.Method, block, r.KL, want)
			}
		}
	}
}
