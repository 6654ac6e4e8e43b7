package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// contender is a strategy whose time is compared.
type contender struct {
	name string
	decode.Strategy
	value            value.Source
	layers           []int
	times            []float64 // seconds of every four tokens of each response
	decoded, emitted int       // tokens
}

// onePass compares the time of a token under the one-pass method with that of plain sampling,
// of one prompt and of several at once.
func onePass(ctx context.Context, b *bench) error {
	return b.eachParallel(func(m *llama.Model, layers []int, prompts int) error {
		head, err := untrained(ctx, m, layers, true)
		if err != nil {
			return err
		}
		cs := []*contender{
			{name: "plain sampling", Strategy: decode.Strategy{Method: decode.MethodSample}},
			{name: "plain, layers tapped", Strategy: decode.Strategy{Method: decode.MethodSample}, layers: layers},
			{name: "one-pass, k=20", Strategy: decode.Strategy{Method: decode.MethodOnePass, Guide: guide}, value: value.Head(head, valuehead.Reading{}), layers: layers},
		}
		return compete(ctx, b, m, cs, prompts, b.pairs)
	})
}

// relative compares the time of a token under the other guided strategies.
func relative(ctx context.Context, b *bench) error {
	err := b.eachParallel(func(m *llama.Model, layers []int, prompts int) error {
		head, err := untrained(ctx, m, layers, false)
		if err != nil {
			return err
		}
		cs := []*contender{
			{name: "plain sampling", Strategy: decode.Strategy{Method: decode.MethodSample}},
			{name: "tokenwise, k=20", Strategy: decode.Strategy{Method: decode.MethodTokenwise, Guide: guide}},
		}
		for _, block := range []int{2, 4} {
			cs = append(cs, &contender{name: fmt.Sprintf("block sampling, b=%d", block),
				Strategy: decode.Strategy{Method: decode.MethodBlockSampling, Guide: guide, Beam: decode.Beam{Block: block}}})
		}
		for _, beams := range []int{2, 4} {
			for _, block := range []int{2, 4} {
				cs = append(cs, &contender{name: fmt.Sprintf("block beam, B=%d b=%d", beams, block),
					Strategy: decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: beams, Block: block}}})
			}
		}
		for _, c := range cs[1:] {
			c.value, c.layers = value.Head(head, valuehead.Reading{}), layers
		}
		return compete(ctx, b, m, cs, prompts, max(b.pairs/5, 1))
	})
	fmt.Println("Block 4 = 1: the same relative to blocks of 4, for the tokenwise method those of guided sampling (Eq. 14) and of beam search with two and with four beams.")
	return err
}

var guide = decode.Guide{TopK: candidates, Beta: 1, Rest: decode.RestParent}

// eachParallel loads the random model and has one prompt decoded at a time, and several.
func (b *bench) eachParallel(use func(m *llama.Model, layers []int, prompts int) error) error {
	path, err := randomModel(b.cache)
	if err != nil {
		return err
	}
	return withModel(path, func(m *llama.Model) error {
		for _, prompts := range []int{1, 8} {
			if err := use(m, loop.Defaults(m.Info().Layers).Layers, prompts); err != nil {
				return err
			}
		}
		fmt.Println("Time of an emitted token relative to plain sampling, all taking their steps in turns, ratios of medians over pieces of four tokens of each prompt.")
		fmt.Println("Base policy: top-k 20 at temperature 1, so that no token outside the candidates is ever drawn and decoded.")
		return nil
	})
}

// compete has the contenders answer the same prompts in turns, and prints what they took.
func compete(ctx context.Context, b *bench, m *llama.Model, cs []*contender, prompts, rounds int) (err error) {
	const prompt, response = 64, 32
	var engines []*paced
	defer func() { err = errors.Join(err, closeAll(engines)) }()
	for _, c := range cs {
		p, err := newPaced(m, engine.Params{Ctx: prompts * c.Cells(prompt, response), Sequences: prompts * c.Sequences(), Threads: b.threads, Layers: c.layers}, b.clock())
		if err != nil {
			return err
		}
		engines = append(engines, p)
	}
	for round := range rounds {
		jobs, answers := make([][]engine.Job, len(cs)), make([][]decode.Response, len(cs))
		for i, c := range cs {
			answers[i] = make([]decode.Response, prompts)
			for k := range prompts {
				key := uint64(round*prompts + k)
				job, err := c.Job(engines[i].Engine, decode.Request{
					Prompt: randomTokens(m, prompt, key), MaxTokens: response, Sampling: policy.Sampling{Temp: 1, TopK: candidates}, Key: key, Value: c.value,
				}, func(r decode.Response) { answers[i][k] = r })
				if err != nil {
					return err
				}
				jobs[i] = append(jobs[i], job)
			}
		}
		times, err := inTurns(ctx, engines, jobs)
		if err != nil {
			return err
		}
		most := response
		for i, c := range cs {
			for _, r := range answers[i] {
				c.emitted, c.decoded = c.emitted+len(r.Tokens), c.decoded+r.Decoded
			}
			most = min(most, len(times[i])-1)
		}
		for i, c := range cs {
			steps := times[i][1:] // after the prompts; one is a token of each response
			for at := 0; at+4 <= most; at += 4 {
				c.times = append(c.times, sum(steps[at:at+4]))
			}
		}
	}
	printRelative(m, cs, prompts)
	return nil
}

func printRelative(m *llama.Model, cs []*contender, prompts int) {
	fmt.Printf("%-16s %7s  %-24s %9s %9s  %-24s %s\n", "model", "prompts", "method", "a token", "decoded", "of plain [95 %]", "block 4 = 1 [95 %]")
	base := cs[0].times
	for _, c := range cs {
		fmt.Printf("%-16s %7d  %-24s %6.1f ms %9.1f  %-24s", m.Info().Desc, prompts, c.name, 1e3*median(c.times)/4/float64(prompts), float64(c.decoded)/float64(c.emitted), share(c.times, base))
		for _, four := range cs {
			if four.Beam.Block == 4 && (four.Method == c.Method && four.Beam.Beams == c.Beam.Beams || c.Method == decode.MethodTokenwise) {
				fmt.Printf("  %s", share(c.times, four.times))
			}
		}
		fmt.Println()
	}
}

// randomTokens are a prompt that ends no text.
func randomTokens(m *llama.Model, n int, seed uint64) []int32 {
	const special = 300 // bytes and control tokens come first
	rng, tokens := rand.New(rand.NewPCG(seed, 1)), make([]int32, n)
	for i := range tokens {
		tokens[i] = special + rng.Int32N(int32(m.Info().Vocab)-special)
	}
	return tokens
}
