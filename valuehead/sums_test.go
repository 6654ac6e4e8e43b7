package valuehead

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A head of sums and of the prompt's states, trained or fitted, says while decoding what it said
// in training, and its file keeps it.
func TestSumsAndPrompts(t *testing.T) {
	e := randomTable(30, 4)
	world, _ := additiveWorld(t, 40, e, false, 0.5)
	for name, o := range map[string]TrainOptions{
		"ridge":  {Kind: Linear, Ridge: true},
		"tokens": {Kind: Linear, Ridge: true, Embeddings: e},
		"mlp":    {Kind: MLP, Hidden: 3, Epochs: 1},
		"recall": {Kind: Recall, Epochs: 1, Shape: Shape{Project: 2, Channels: 2, Hidden: 2, Keys: 2, Values: 2, Products: 2, Scan: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			d := NewDataset(mustFeatures(t, promptSchema, FeatureOptions{Blocks: []Block{Hidden, HiddenSum, HiddenDecay, Scalar, PromptMean, PromptLast, Mentions}}))
			for _, ex := range world.examples {
				if err := d.AddExample(ex); err != nil {
					t.Fatal(err)
				}
			}
			h, _ := mustTrain(t, d, o)
			path := filepath.Join(t.TempDir(), "head.gguf")
			if err := h.Save(path); err != nil {
				t.Fatal(err)
			}
			loaded, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if !loaded.NeedsPrompt() || len(loaded.features.centre) != 6 || loaded.Unit() != h.Unit() {
				t.Fatalf("the file lost the prompt, the centre %v or the unit", loaded.features.centre)
			}
			if len(loaded.tokens) > 0 != (name == "tokens") {
				t.Errorf("%d tokens", len(loaded.tokens))
			}
			if _, err := loaded.Begin(nil); err == nil {
				t.Error("a memory began without the prompt's states")
			}
			all := entries(t, d)[:8]
			var trained [][]float32
			err = h.each(t.Context(), d, all, 1, func(_ Example, out []float32) {
				var values []float32
				for _, v := range slices.Clone(out) {
					values = append(values, h.rewardMean+h.rewardScale*v)
				}
				trained = append(trained, values)
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, entry := range all {
				ex := d.examples[entry.index]
				m, err := loaded.Begin(ex.Prompt)
				if err != nil {
					t.Fatal(err)
				}
				var got []float32
				for k, y := range ex.Trajectory.Tokens {
					if err := m.Push(y, ex.Trajectory.Hidden[k*6:k*6+6], ex.Trajectory.Scalars[k*2:k*2+2]); err != nil {
						t.Fatal(err)
					}
					m = m.Clone()
					var v [1]float32
					if err := loaded.Values([]*Memory{m}, Reading{}, v[:]); err != nil {
						t.Fatal(err)
					}
					got = append(got, v[0])
				}
				near := cmp.Comparer(func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-4 })
				if diff := cmp.Diff(trained[i], got, near); diff != "" {
					t.Fatalf("response %d (- training, + decoding):\n%s", i, diff)
				}
			}
		})
	}
}
