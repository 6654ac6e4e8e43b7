package value

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// A step of guided decoding - forks, drops, tokens pushed and candidates valued - allocates nothing once
// its scratch space is there. (Heads of kind MLP allocate the slices of their weights.)
func TestGuidingAllocatesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		return x
	}
	for _, kind := range []valuehead.Kind{valuehead.Linear, valuehead.Recall} {
		schema := states.Schema{Backbone: "m", Layers: []int{1, 2}, Width: 8, Scalars: Scalars, Top: 64, Prompts: true, PromptLayers: []int{1, 2}}
		f, err := valuehead.NewFeatures(schema, valuehead.FeaturesOf(kind))
		if err != nil {
			t.Fatal(err)
		}
		data := valuehead.NewDataset(f)
		for i := range 8 {
			p := &states.Prompt{ID: fmt.Sprint(i), Tokens: []int32{1, 2, 3}, Hidden: random(3 * 8)}
			tr := &states.Trajectory{Prompt: fmt.Sprint(i), Tokens: []int32{1, 2}, Hidden: random(16), Scalars: random(2 * len(Scalars))}
			if err := data.AddExample(valuehead.Example{Return: float32(i % 2), Trajectory: tr, Prompt: p}); err != nil {
				t.Fatal(err)
			}
		}
		h, _, err := valuehead.Train(t.Context(), data, valuehead.TrainOptions{Kind: kind, Shape: valuehead.Shape{Atoms: 11}, Epochs: 1, Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		v, err := Head(h, valuehead.Reading{}).Open(Request{States: &states.Prompt{Tokens: []int32{1, 2, 3}, Hidden: random(3 * 8)}})
		if err != nil {
			t.Fatal(err)
		}
		root, err := v.Begin()
		if err != nil {
			t.Fatal(err)
		}
		cs := make([]*Candidate, 4)
		for i := range cs {
			cs[i] = &Candidate{Memory: v.Fork(root), Last: &Step{Token: int32(i), Scalars: [NumScalars]float32(random(NumScalars))}, Row: &llama.Row{States: random(8)}}
		}
		out := make([]float32, len(cs))
		n := testing.AllocsPerRun(200, func() {
			for _, c := range cs[1:] {
				v.Drop(c.Memory)
				c.Memory = v.Fork(cs[0].Memory)
			}
			if err := v.Push(cs); err != nil {
				t.Fatal(err)
			}
			if err := v.Value(t.Context(), cs, out); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations a step", kind, n)
		}
	}
}
