package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// variant is a way to decode the same tokens.
type variant struct {
	name   string
	params llama.ContextParams // what differs from the bare loop's
	times  []float64           // seconds a step
}

// bindings times steps of sequences through package llama.
func bindings(ctx context.Context, b *bench) error {
	fmt.Printf("%-28s %-26s %4s %9s  %-14s %7s\n", "model", "steps of sequences through", "seq.", "of bare", "[95 %]", "copied")
	err := b.eachModel(func(m *llama.Model) error {
		for _, sequences := range []int{1, 8, 32} {
			if err := binding(ctx, m, cmp.Or(b.threads, engine.Threads(m)), sequences, b.pairs); err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Println("of bare: speed as a share of the bare C loop over the same tokens, step by step in turns, ratio of medians; copied: bytes a step beside llama.cpp's own.")
	return err
}

// binding times steps of sequences through package llama against the bare C loop, and
// prints speeds as shares of the bare loop's, with the bytes that a step copies.
func binding(ctx context.Context, m *llama.Model, threads, sequences, rounds int) error {
	const prefix = 32
	steps := 24
	if m.Info().Params < 8<<20 {
		steps = 192
	} else if sequences > 8 {
		steps = 12
	}
	n := m.Info().Layers
	variants := []*variant{
		{name: "bare C loop"},
		{name: "binding"},
		{name: "binding, 64 candidates", params: llama.ContextParams{Top: 64}},
		{name: "binding, last layer", params: llama.ContextParams{Embeddings: true}},
		{name: "binding, two inner layers", params: llama.ContextParams{Layers: []int{n / 2, n - 2}}},
	}
	contexts := make([]*llama.Context, len(variants))
	for i, v := range variants {
		v.params.Ctx, v.params.Sequences, v.params.Threads = max(512, prefix+sequences*(steps+1)), sequences, threads
		c, err := m.NewContext(v.params)
		if err != nil {
			return err
		}
		defer c.Close()
		contexts[i] = c
	}
	tokens := make([]int32, sequences*steps)
	for i := range tokens {
		tokens[i] = int32(300 + i*37%500)
	}
	for round := range rounds + 1 {
		for _, c := range contexts {
			if err := shared(c, sequences, slices.Repeat([]int32{1}, prefix)); err != nil {
				return err
			}
		}
		for step := range steps {
			if err := ctx.Err(); err != nil {
				return err
			}
			now := tokens[step*sequences : (step+1)*sequences]
			for k := range variants { // another order each step: no variant is always after the same one
				i := (k + step + round) % len(variants)
				begin := time.Now()
				var err error
				if i == 0 {
					err = contexts[i].BareLoop(now, sequences, prefix+step)
				} else {
					err = throughBinding(contexts[i], now, prefix+step)
				}
				if err != nil {
					return err
				}
				if round > 0 { // the first warms up
					variants[i].times = append(variants[i].times, time.Since(begin).Seconds())
				}
			}
		}
	}
	bare := median(variants[0].times)
	for i, v := range variants[1:] {
		lo, hi := interval(variants[0].times, v.times)
		fmt.Printf("%-28s %-26s %4d %9.3f  %-14s %7d\n", m.Info().Desc, v.name, sequences, bare/median(v.times), fmt.Sprintf("[%.3f, %.3f]", lo, hi),
			copied(contexts[i+1], sequences))
	}
	return nil
}

// shared makes all sequences share a prefix.
func shared(c *llama.Context, sequences int, prefix []int32) error {
	if err := c.Clear(); err != nil {
		return err
	}
	for i, t := range prefix {
		if _, err := c.Add(t, int32(i), 0, i == len(prefix)-1, 0); err != nil {
			return err
		}
	}
	if err := c.Decode(); err != nil {
		return err
	}
	for s := 1; s < sequences; s++ {
		if err := c.Fork(0, int32(s)); err != nil {
			return err
		}
	}
	return nil
}

// throughBinding extends every sequence by its token, and looks at every row.
func throughBinding(c *llama.Context, tokens []int32, pos int) error {
	for s, token := range tokens {
		if _, err := c.Add(token, int32(pos), int32(s), true, 0); err != nil {
			return err
		}
	}
	if err := c.Decode(); err != nil {
		return err
	}
	for s := range tokens {
		row, err := c.Row(s)
		if err != nil {
			return err
		}
		if logp := row.Logits[s] - row.LSE; logp != logp {
			return fmt.Errorf("a log-probability is not a number")
		}
	}
	return nil
}

// copied is the number of bytes that a step copies between llama.cpp, C and Go beside
// what llama.cpp does itself: the batch, the rows' statistics and candidates, and the
// states of tapped layers. Logits and hidden rows are views.
func copied(c *llama.Context, sequences int) int {
	const batch, stats, candidate = 4 + 4 + 4 + 1 + 4, 3 * 4, 4 + 4
	p := c.Params()
	return sequences * (batch + stats + p.Top*candidate + len(p.Layers)*c.Model().Info().Width*4)
}
