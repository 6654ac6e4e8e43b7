package value_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	_ "github.com/ivo-decoding/ivo/orchestrator/value" // sets the product of the heads
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// headBench is n responses to one prompt on a model of width 768, two layers tapped, and
// what the next token of each brings.
type headBench struct {
	head       *valuehead.Head
	memories   []*valuehead.Memory
	tokens     []int32
	hidden     [][]float32
	scalars    [][]float32
	candidates [][]int32
	known      [][]float32
	out        [][]float32
}

func newHeadBench(b *testing.B, features func(states.Schema) valuehead.FeatureOptions, embedding, prompt, n int) *headBench {
	const width, vocabulary, k, scalars = 2 * 768, 32000, 20, 5
	schema := states.Schema{Backbone: "m", Layers: []int{4, 8}, Width: width, Scalars: []string{"logp", "entropy", "rank", "margin", "next-entropy"}, Prompts: true, PromptLayers: []int{4, 8}}
	f, err := valuehead.NewFeatures(schema, features(schema))
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		return x
	}
	ids := func(n int) []int32 {
		x := make([]int32, n)
		for i := range x {
			x[i] = int32(rng.IntN(vocabulary))
		}
		return x
	}
	d := valuehead.NewDataset(f)
	p := &states.Prompt{Tokens: ids(prompt), Hidden: random(prompt * width)}
	for i := range 4 {
		p := &states.Prompt{ID: fmt.Sprint(i), Tokens: ids(8), Hidden: random(8 * width)}
		tr := &states.Trajectory{Prompt: p.ID, Tokens: ids(8), Hidden: random(8 * width), Scalars: random(8 * scalars)}
		if err := d.AddExample(valuehead.Example{Trajectory: tr, Return: rng.Float32(), Prompt: p}); err != nil {
			b.Fatal(err)
		}
	}
	h := &headBench{}
	shape := valuehead.Shape{Atoms: 41, Embedding: embedding}
	if h.head, _, err = valuehead.Train(context.Background(), d, valuehead.TrainOptions{Kind: valuehead.Recall, Shape: shape, Epochs: 1, Workers: 1}); err != nil {
		b.Fatal(err)
	}
	m, err := h.head.Begin(p)
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		h.memories, h.hidden, h.scalars = append(h.memories, m.Clone()), append(h.hidden, random(width)), append(h.scalars, random(scalars))
		h.tokens = append(h.tokens, p.Tokens[i])
		h.candidates, h.known = append(h.candidates, append(ids(k-4), p.Tokens[:4]...)), append(h.known, random(k*scalars))
		h.out = append(h.out, make([]float32, k))
	}
	return h
}

func (h *headBench) push(b *testing.B) {
	if err := h.head.Push(h.memories, h.tokens, h.hidden, h.scalars); err != nil {
		b.Fatal(err)
	}
}

func (h *headBench) score(b *testing.B) {
	if err := h.head.CandidatesOf(h.memories, h.candidates, h.known, valuehead.Reading{}, h.out); err != nil {
		b.Fatal(err)
	}
}

func (h *headBench) values(b *testing.B) {
	if err := h.head.Values(h.memories, valuehead.Reading{}, h.out[0]); err != nil {
		b.Fatal(err)
	}
}

// What a head costs at every token: its memory and value, and the values of 20 candidates
// where one pass is all there is.
func BenchmarkHead(b *testing.B) {
	for _, prompt := range []int{64, 256, 1024} {
		for _, n := range []int{1, 8} {
			name := fmt.Sprintf("prompt=%d/n=%d/", prompt, n)
			full := newHeadBench(b, func(states.Schema) valuehead.FeatureOptions { return valuehead.FeaturesOf(valuehead.Recall) }, 0, prompt, n)
			ahead := newHeadBench(b, valuehead.CandidateFeatures, 32, prompt, n)
			for _, step := range []struct {
				name string
				run  func(b *testing.B)
			}{
				{"push", full.push},
				{"values", full.values},
				{"push-ahead", ahead.push},
				{"candidates", ahead.score},
				{"one-pass", func(b *testing.B) { ahead.score(b); ahead.push(b) }},
			} {
				b.Run(name+step.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						step.run(b)
					}
				})
			}
		}
	}
}
