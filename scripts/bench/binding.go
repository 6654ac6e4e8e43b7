package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ivo-decoding/ivo/llama"
)

// variant is a way to decode the same tokens.
type variant struct {
	name   string
	params llama.ContextParams // what differs from the bare loop's
	times  []float64           // seconds, by round
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
		v.params.Ctx, v.params.Sequences, v.params.Threads = max(512, 2*prefix+sequences*(steps+1)), sequences, threads
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
		for k := range variants { // another order each round: no variant is always after the same one
			if err := ctx.Err(); err != nil {
				return err
			}
			i := (k + round) % len(variants)
			c := contexts[i]
			if err := shared(c, sequences, prefix); err != nil {
				return err
			}
			begin := time.Now()
			var err error
			if i == 0 {
				err = c.BareLoop(tokens, sequences, prefix)
			} else {
				err = throughBinding(c, tokens, sequences, prefix)
			}
			if err != nil {
				return err
			}
			if round > 0 { // the first warms up
				variants[i].times = append(variants[i].times, time.Since(begin).Seconds())
			}
		}
	}
	bare := variants[0].times
	for i, v := range variants[1:] {
		var ratios []float64
		for r, t := range v.times {
			ratios = append(ratios, bare[r]/t)
		}
		slices.Sort(ratios)
		fmt.Printf("%-28s %-26s %4d %9.3f  %-14s %7d\n", m.Info().Desc, v.name, sequences, ratios[len(ratios)/2],
			fmt.Sprintf("(%.2f..%.2f)", ratios[0], ratios[len(ratios)-1]), copied(contexts[i+1], sequences))
	}
	return nil
}

// shared makes all sequences share a prefix.
func shared(c *llama.Context, sequences, prefix int) error {
	if err := c.Clear(); err != nil {
		return err
	}
	for i := range prefix {
		if _, err := c.Add(1, int32(i), 0, i == prefix-1, 0); err != nil {
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

// throughBinding extends every sequence by a token a step, and looks at every row.
func throughBinding(c *llama.Context, tokens []int32, sequences, pos int) error {
	var sum float32
	for step := 0; step*sequences < len(tokens); step++ {
		for s := range sequences {
			if _, err := c.Add(tokens[step*sequences+s], int32(pos+step), int32(s), true, 0); err != nil {
				return err
			}
		}
		if err := c.Decode(); err != nil {
			return err
		}
		for s := range sequences {
			row, err := c.Row(s)
			if err != nil {
				return err
			}
			sum += row.Logits[s] - row.LSE
		}
	}
	if sum != sum {
		return fmt.Errorf("the log-probabilities are not finite")
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
