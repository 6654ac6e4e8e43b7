package valuehead

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// A token that the prompt has counts with the prompt's state at its last place, once; another one does not.
func TestMentions(t *testing.T) {
	f := mustFeatures(t, promptSchema, FeatureOptions{Layers: []int{promptSchema.PromptLayers[0]}, Scalars: []string{}, Blocks: []Block{Mentions}})
	rng := rand.New(rand.NewPCG(1, 0))
	p := &states.Prompt{ID: "p", Tokens: []int32{5, 7, 5, 9}, Hidden: make([]float32, 4*promptSchema.PromptWidth())}
	normal(p.Hidden, rng, 1)
	tr := randomTrajectory(rng, promptSchema, 5)
	tr.Prompt = p.ID
	copy(tr.Tokens, []int32{8, 7, 5, 5, 9})
	at := [][]int{{}, {1}, {1, 2}, {1, 2}, {1, 2, 3}} // of the prompt, after each token
	h := &Head{features: f, kind: Linear}
	got, err := h.rows(nil, f.NewAccumulator(), Example{Trajectory: tr, Prompt: p})
	if err != nil {
		t.Fatal(err)
	}
	w := f.promptWidth
	if w == 0 || len(got) != len(at)*w {
		t.Fatalf("%d numbers, of width %d", len(got), w)
	}
	all := f.appendPrompt(nil, p)
	for k, places := range at {
		for j := range w {
			want, mean := 0.0, 0.0
			for i := range p.Tokens {
				mean += float64(all[i*w+j]) / float64(len(p.Tokens))
			}
			for _, i := range places {
				want += float64(all[i*w+j]) - mean
			}
			if math.Abs(want-float64(got[k*w+j])) > 1e-5 {
				t.Errorf("after token %d, column %d is %v, want %v", k, j, got[k*w+j], want)
			}
		}
	}
}
