package valuehead

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The value of a candidate is the value of the response after it is pushed, whatever the
// others that are valued with it, and asking changes nothing.
func TestCandidates(t *testing.T) {
	for name, test := range map[string]struct {
		shape Shape
		more  []Block
	}{
		"mean":       {Shape{Embedding: 3}, nil},
		"atoms":      {Shape{Embedding: 3, Atoms: 7, Members: 2}, nil},
		"blind":      {Shape{Embedding: 3, Values: -1}, nil},
		"history":    {Shape{Embedding: 3, Scan: -1}, []Block{ScalarSum, ScalarMean, ScalarMin, ScalarMax}},
		"advantages": {Shape{Embedding: 3, Advantages: true}, nil},
		"stateless":  {Shape{Embedding: 3}, []Block{ScalarSum}},
	} {
		t.Run(name, func(t *testing.T) {
			features := CandidateFeatures(promptSchema)
			if features.Blocks = append(features.Blocks, test.more...); name == "stateless" {
				features.Blocks = test.more
			}
			d := copies(t, 20, features)
			h, _ := mustTrain(t, d, TrainOptions{Kind: Recall, Shape: test.shape, Epochs: 1, HeldOut: 0.5})
			rng := rand.New(rand.NewPCG(1, 1))
			random := func(n int) []float32 {
				x := make([]float32, n)
				normal(x, rng, 1)
				return x
			}
			var memories []*Memory
			for i := range 3 { // the first two prompts have two responses
				m, err := h.Begin(d.examples[i].Prompt)
				if err != nil {
					t.Fatal(err)
				}
				if memories = append(memories, m); i < 2 {
					memories = append(memories, m.Clone())
				}
			}
			score := func(memories []*Memory, tokens [][]int32, scalars [][]float32) [][]float32 {
				out := make([][]float32, len(memories))
				for i := range out {
					out[i] = make([]float32, len(tokens[i]))
				}
				if err := h.CandidatesOf(memories, tokens, scalars, Reading{}, out); err != nil {
					t.Fatal(err)
				}
				return out
			}
			for step := range 6 {
				tokens, scalars := make([][]int32, len(memories)), make([][]float32, len(memories))
				for i := range memories {
					for range (i + step) % 4 {
						tokens[i] = append(tokens[i], int32(rng.IntN(16)))
					}
					scalars[i] = random(2 * len(tokens[i]))
				}
				some := memories[:step] // of the rest, nothing is known before
				score(some, tokens[:step], scalars[:step])
				all := score(memories, tokens, scalars)
				for i, m := range memories {
					alone := score([]*Memory{m.Clone()}, tokens[i:i+1], scalars[i:i+1])
					if !slices.Equal(alone[0], all[i]) {
						t.Fatalf("step %d, response %d: values %v, alone %v", step, i, all[i], alone[0])
					}
					for j, token := range tokens[i] {
						after, v := m.Clone(), make([]float32, 1)
						after.seen = step%2 == 0 && after.seen // what was kept makes no difference
						if err := after.Push(token, random(6), scalars[i][2*j:2*j+2]); err != nil {
							t.Fatal(err)
						}
						if err := h.Values([]*Memory{after}, Reading{}, v); err != nil {
							t.Fatal(err)
						}
						if d := v[0] - all[i][j]; d > 1e-5 || d < -1e-5 {
							t.Fatalf("step %d, response %d, candidate %d: value %g, %g after it is pushed", step, i, j, all[i][j], v[0])
						}
					}
				}
				for i, m := range memories {
					if err := m.Push(int32(rng.IntN(16)), random(6), random(2)); err != nil {
						t.Fatal(i, err)
					}
				}
			}
		})
	}
}

func TestCandidatesRefuse(t *testing.T) {
	d := copies(t, 4, CandidateFeatures(promptSchema))
	h, _ := mustTrain(t, d, TrainOptions{Kind: Recall, Shape: Shape{Embedding: 2}, Epochs: 1, HeldOut: 0.5})
	m, err := h.Begin(d.examples[0].Prompt)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, 2)
	for name, err := range map[string]error{
		"scalars of one":  h.Candidates(m, []int32{1, 2}, make([]float32, 2), Reading{}, out),
		"room for two":    h.Candidates(m, []int32{1, 2, 3}, make([]float32, 6), Reading{}, out),
		"no responses":    h.CandidatesOf(nil, [][]int32{{1}}, nil, Reading{}, nil),
		"no distribution": h.Candidates(m, []int32{1}, make([]float32, 2), Reading{Beta: 1}, out),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := h.CandidatesOf(nil, nil, nil, Reading{}, nil); err != nil {
		t.Error(err)
	}
}
