package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// guided compares blockwise beam search on the random model with the bare C loop over the
// same tokens in the same batches.
func guided(ctx context.Context, b *bench) error {
	const prompt, response = 64, 64
	path, err := randomModel(b.cache)
	if err != nil {
		return err
	}
	search := decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 4, Block: 4}}
	return withModel(path, func(m *llama.Model) error {
		layers := loop.Defaults(m.Info().Layers).Layers
		head, err := untrained(ctx, m, layers, false)
		if err != nil {
			return err
		}
		p, err := newPaced(m, engine.Params{Ctx: search.Cells(prompt, response), Sequences: search.Sequences(), Threads: b.threads, Layers: layers}, b.clock())
		if err != nil {
			return err
		}
		defer p.Close()
		c, err := bareContext(m, p)
		if err != nil {
			return err
		}
		defer c.Close()
		var bare, whole, inGo []float64
		for round := range max(b.pairs/3, 1) + 1 {
			job, err := search.Job(p.Engine, decode.Request{
				Prompt: randomTokens(m, prompt, uint64(round)), MaxTokens: response, Sampling: policy.Sampling{Temp: 1}, Key: uint64(round),
				Value: value.Head(head, valuehead.Reading{}),
			}, func(decode.Response) {})
			if err != nil {
				return err
			}
			pairs, err := against(ctx, p, c, []engine.Job{job})
			if err != nil {
				return err
			}
			if round == 0 {
				continue // to warm up
			}
			for block := range slices.Chunk(pairs[1:], search.Beam.Block) { // after the prompt
				var all pair
				for _, s := range block {
					all.bare, all.engine, all.inGo = all.bare+s.bare, all.engine+s.engine, all.inGo+s.inGo
				}
				bare, whole, inGo = append(bare, all.bare), append(whole, all.engine), append(inGo, all.inGo)
			}
		}
		fmt.Printf("%-16s %-24s %9s %9s  %-22s %s\n", "model", "search", "a block", "bare", "of bare [95 %]", "Go")
		fmt.Printf("%-16s %-24s %6.1f ms %6.1f ms  %-22s %.2f ms\n", m.Info().Desc, fmt.Sprintf("beam, B=%d b=%d", search.Beam.Beams, search.Beam.Block),
			1e3*median(whole), 1e3*median(bare), share(bare, whole), 1e3*median(inGo))
		fmt.Printf("Blockwise beam search with %s head of %d atoms on layers %v against the bare C loop with the same forks, drops and tokens, step by step in turns; ratios of medians of %d blocks of %d steps of %d tokens. Go: sampling, head, beams and scheduling by the wall clock.\n",
			head.Kind(), head.Shape().Atoms, layers, len(bare), search.Beam.Block, search.Sequences())
		return nil
	})
}

// bareContext is one for the bare loop, of an engine's shape.
func bareContext(m *llama.Model, p *paced) (*llama.Context, error) {
	e := p.Params()
	return m.NewContext(llama.ContextParams{Ctx: e.Ctx, Batch: e.Batch, UBatch: e.UBatch, Sequences: e.Sequences, Threads: cmp.Or(e.Threads, engine.Threads(m))})
}
