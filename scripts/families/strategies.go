package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/internal/testfamily"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

const (
	answer      = 16 // tokens
	temperature = 0.9
)

var (
	beam  = decode.Beam{Beams: 3, Block: 4}
	guide = decode.Guide{TopK: 4, Beta: 2, Rest: decode.RestParent}
)

// strategies are all methods, one-pass in both forms, and searches from a proposal and by rollouts.
var strategies = []decode.Strategy{
	{Method: decode.MethodSample, N: 1, Beam: beam, Guide: guide},
	{Method: decode.MethodBestOfN, N: 4, Beam: beam, Guide: guide},
	{Method: decode.MethodTokenwise, N: 1, Beam: beam, Guide: guide},
	{Method: decode.MethodGreedy, N: 1, Beam: beam, Guide: guide},
	{Method: decode.MethodBlockSampling, N: 1, Beam: beam, Guide: guide},
	{Method: decode.MethodOnePass, N: 1, Beam: beam, Guide: guide},
	{Method: decode.MethodBlockBestOfK, N: 4, Beam: beam, Guide: guide},
	{Method: decode.MethodBlockBeam, N: 1, Beam: beam, Guide: guide},
	{Method: decode.MethodBlockBeam, N: 1, Beam: beam, Guide: guide, Proposal: 0.5},
	{Method: decode.MethodBlockBestOfK, N: 4, Beam: beam, Guide: guide, Rollouts: decode.Rollouts{N: 2}},
}

// guided decodes by all strategies at once, in one context, and compares every row that any candidate of any of them
// comes to with what the model says of its tokens alone. The answers of block beam search are those of a plain one.
func guided(f testfamily.Family, m *llama.Model) (err error) {
	e, o, err := openEngine(m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	var jobs []engine.Job
	var checks []func() error
	for i, s := range strategies {
		for _, advantages := range []bool{false, true} {
			if advantages != (s.Proposal > 0) && s.Method != decode.MethodOnePass {
				continue
			}
			job, check, err := o.job(e, s, text(24, 9), uint64(i), advantages)
			if err != nil {
				return err
			}
			jobs, checks = append(jobs, job), append(checks, check)
		}
	}
	if err := e.Run(context.Background(), jobs); err != nil {
		return err
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// converses answers prompts that begin alike one after another, so that what is kept of those before is gone on from: longer
// ones, the same again, one that parts from the others in the middle.
func converses(f testfamily.Family, m *llama.Model) (err error) {
	e, o, err := openEngine(m)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	first := text(30, 9)
	longer := slices.Concat(first, text(12, 10)[1:])
	for i, prompt := range [][]int32{first, longer, longer, slices.Concat(longer[:20], text(12, 11)[1:]), first} {
		job, check, err := o.job(e, decode.Strategy{Method: decode.MethodBlockBeam, N: 1, Beam: decode.Beam{Beams: 2, Block: 3}, Guide: guide}, prompt, uint64(i), false)
		if err != nil {
			return err
		}
		if err := e.Do(context.Background(), job); err != nil {
			return err
		}
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// openEngine makes an engine that taps two layers, and the oracle of its rows.
func openEngine(m *llama.Model) (*engine.Engine, *oracle, error) {
	layers := []int{1, 0}
	e, err := engine.New(m, engine.Params{Ctx: 2048, Sequences: 40, Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Layers: layers})
	return e, &oracle{m: m, layers: layers}, err
}

// job answers a prompt by a strategy; check, after it, compares the answer with the oracle.
func (o *oracle) job(e *engine.Engine, s decode.Strategy, prompt []int32, key uint64, advantages bool) (job engine.Job, check func() error, err error) {
	req := decode.Request{
		Prompt: prompt, MaxTokens: answer, Sampling: policy.Sampling{Temp: temperature}, Key: key,
		Value: &checked{o, advantages}, Record: true, RecordPrompt: true,
	}
	if s.Rollouts.N > 0 {
		req.Rerank = func(_ context.Context, texts []string) ([]float64, error) {
			out := make([]float64, len(texts))
			for i, text := range texts {
				out[i] = float64(len(text) % 7)
			}
			return out, nil
		}
	}
	var r decode.Response
	if job, err = s.Job(e, req, func(got decode.Response) { r = got }); err != nil {
		return job, nil, fmt.Errorf("%s: %w", s.Method, err)
	}
	return job, func() error {
		if err := o.checkResponse(s.Method, prompt, r); err != nil || s.Method != decode.MethodBlockBeam || s.Proposal != 0 {
			return err
		}
		return o.checkBeams(req, s.Beam, r)
	}, nil
}

// checked is a value function that reads the states of the last token, and compares every row that it is shown with the
// oracle's.
type checked struct {
	o          *oracle
	advantages bool
}

func (*checked) Check(*engine.Engine) error { return nil }
func (v *checked) Ahead() bool              { return true }
func (v *checked) Advantages() bool         { return v.advantages }
func (*checked) Unit() value.Unit           { return value.Unit{} }
func (*checked) InTurn() bool               { return false }
func (*checked) NeedsPrompt() bool          { return true }
func (v *checked) Open(r value.Request) (value.Valuer, error) {
	want, err := rows(v.o.m, v.o.layers, r.Prompt)
	if err != nil {
		return nil, err
	}
	width := len(want[0].states)
	for i, w := range want {
		if err := compare(fmt.Sprintf("states of the prompt after %d tokens", i+1), r.States.Hidden[i*width:(i+1)*width], w.states); err != nil {
			return nil, err
		}
	}
	return &checking{checked: v, prompt: r.Prompt}, nil
}

type checking struct {
	*checked
	prompt []int32
	table  []float32
}

var _ interface {
	value.Tilter
	value.Scorer
} = (*checking)(nil)

// worth is the value of a state.
func worth(states []float32) float32 {
	v := 0.0
	for i, x := range states {
		v += math.Cos(float64(3*i)) * float64(x)
	}
	return float32(v / math.Sqrt(float64(len(states))))
}

func (*checking) ReadsStates() bool                { return true }
func (*checking) Begin() (value.Memory, error)     { return float32(0), nil }
func (*checking) Fork(m value.Memory) value.Memory { return m }
func (*checking) Drop(value.Memory)                {}
func (*checking) Close()                           {}
func (v *checking) Push(cs []*value.Candidate) error {
	for _, c := range cs {
		tokens := slices.Concat(v.prompt, c.Tokens())
		want, err := v.o.row(tokens)
		if err != nil {
			return err
		}
		if err := want.compare(fmt.Sprintf("candidate after %d tokens", c.Length), c.Row.Logits, c.Row.States); err != nil {
			return err
		}
		c.Memory = worth(c.Row.States)
	}
	return nil
}

func (v *checking) Value(_ context.Context, cs []*value.Candidate, out []float32) error {
	for i, c := range cs {
		out[i] = c.Memory.(float32)
	}
	return nil
}

func (v *checking) Score(_ context.Context, c *value.Candidate, tokens []int32, out []float32) error {
	for i, token := range tokens {
		out[i] = c.Memory.(float32) + float32(math.Sin(float64(token)))
	}
	return nil
}

func (v *checking) Advantages(c *value.Candidate) (_ []float32, slope float64, _ error) {
	v.table = v.table[:0]
	for token := range c.Row.Logits {
		v.table = append(v.table, float32(math.Sin(float64(token))))
	}
	return v.table, 1, nil
}

// checkResponse compares what is recorded of an answer with the oracle.
func (o *oracle) checkResponse(method decode.Method, prompt []int32, r decode.Response) error {
	width := len(r.States) / len(r.Tokens)
	for i := range r.Tokens {
		before, err := o.row(slices.Concat(prompt, r.Tokens[:i]))
		if err != nil {
			return err
		}
		now, err := o.row(slices.Concat(prompt, r.Tokens[:i+1]))
		if err != nil {
			return err
		}
		lse := 0.0
		for _, l := range before.logits {
			lse += math.Exp(float64(l))
		}
		what := fmt.Sprintf("%s: token %d", method, i)
		if err := compare(what+": log-probability", r.LogProbs[i:i+1], []float32{before.logits[r.Tokens[i]] - float32(math.Log(lse))}); err != nil {
			return err
		}
		if err := compare(what+": recorded states", r.States[i*width:(i+1)*width], now.states); err != nil {
			return err
		}
	}
	return nil
}

// plain is a beam of the plain search.
type plain struct {
	tokens []int32
	value  float32
	ended  bool
}

// checkBeams searches by blocks as the paper says (arXiv 2503.02368), each of the beams' samples by itself and in a fresh
// context for every token, and wants the same answer.
func (o *oracle) checkBeams(req decode.Request, beam decode.Beam, r decode.Response) error {
	sampler := policy.Sampler{Sampling: req.Sampling}
	beams := []plain{{}}
	grows := func(p plain) bool { return !p.ended }
	for block := uint64(0); slices.ContainsFunc(beams, grows); block++ {
		var pool []plain
		number := uint64(0)
		for _, b := range beams {
			if b.ended {
				pool = append(pool, b)
				number++
				continue
			}
			samples := beam.Beams
			if block == 0 {
				samples *= beam.Beams
			}
			for range samples {
				rng := policy.Stream(req.Key, block, number)
				number++
				sample := plain{tokens: slices.Clone(b.tokens)}
				for n := 0; n < beam.Block && !sample.ended; n++ {
					err := after(o.m, o.layers, slices.Concat(req.Prompt, sample.tokens), temperature, func(row llama.Row) error {
						sampler.At(&row, nil)
						token := sampler.Draw(rng)
						sample.tokens = append(sample.tokens, token)
						sample.ended = o.m.IsEOG(token) || len(sample.tokens) == req.MaxTokens
						return nil
					})
					if err != nil {
						return err
					}
				}
				err := after(o.m, o.layers, slices.Concat(req.Prompt, sample.tokens), 1, func(row llama.Row) error {
					sample.value = worth(row.States)
					return nil
				})
				if err != nil {
					return err
				}
				pool = append(pool, sample)
			}
		}
		slices.SortStableFunc(pool, func(a, b plain) int { return cmp.Compare(b.value, a.value) })
		beams = pool[:beam.Beams]
	}
	if !slices.Equal(beams[0].tokens, r.Tokens) {
		return fmt.Errorf("%w: block beam search answers %v, a plain one %v", errDiffers, r.Tokens, beams[0].tokens)
	}
	return compare("value of block beam search", []float32{r.Value}, []float32{beams[0].value})
}
