package valuehead

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// promptSchema is testSchema with prompts, whose states have one of the two layers.
var promptSchema = states.Schema{Backbone: "model-a", Layers: []int{2, 4}, Width: 6, Scalars: []string{"logp", "entropy"}, Prompts: true, PromptLayers: []int{4}}

// randomExample is a prompt and a response to it, of few different tokens.
func randomExample(rng *rand.Rand, s states.Schema) (*states.Prompt, *states.Trajectory) {
	p := &states.Prompt{Tokens: make([]int32, 8), Hidden: make([]float32, 8*s.PromptWidth())}
	normal(p.Hidden, rng, 1)
	t := randomTrajectory(rng, s, 6)
	for _, x := range [][]int32{p.Tokens, t.Tokens} {
		for i := range x {
			x[i] = int32(rng.IntN(5))
		}
	}
	return p, t
}

// copies makes responses whose reward only a look at the prompt can tell: the sum, over
// the tokens that the prompt contains, of the first float of the state there. Every
// token of the prompt is another one.
func copies(t testing.TB, n int, o FeatureOptions) *Dataset {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	d := NewDataset(mustFeatures(t, promptSchema, o))
	w := promptSchema.PromptWidth()
	for i := range n {
		p, tr := randomExample(rng, promptSchema)
		p.ID = fmt.Sprint("prompt ", i)
		tr.Prompt = p.ID
		var ret float32
		for j, k := range rng.Perm(16)[:len(p.Tokens)] {
			p.Tokens[j] = int32(k)
		}
		for k := range tr.Tokens {
			tr.Tokens[k] = int32(rng.IntN(16))
			if j := slices.Index(p.Tokens, tr.Tokens[k]); j >= 0 {
				ret += p.Hidden[j*w]
			}
		}
		if err := d.AddExample(Example{Trajectory: tr, Return: ret, Prompt: p}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// Attention that starts out as a search finds in the prompt what decides the reward, and
// the memory adds it up.
func TestRecallLooksBack(t *testing.T) {
	o := TrainOptions{Kind: Recall, Hidden: 24, Epochs: 12, Rate: 0.01, HeldOut: 0.2, Dropout: -1, Shape: Shape{Project: 8, Channels: 8, Keys: 4, Values: 6, Products: 2, Scan: -1}}
	_, r := mustTrain(t, copies(t, 1500, FeaturesOf(Recall)), o)
	if r.HeldOut.Last.R2 < 0.9 || r.HeldOut.Fifths[0].R2 > 0.4 {
		t.Errorf("last state %+v, fifths %+v, want nearly all explained at the end alone", r.HeldOut.Last, r.HeldOut.Fifths)
	}
	o.Shape.Values = -1
	if _, r := mustTrain(t, copies(t, 1500, FeaturesOf(Recall)), o); r.HeldOut.Last.R2 > 0.05 {
		t.Errorf("without attention the last state explains %v", r.HeldOut.Last.R2)
	}
}

// Decoding token by token, with a fork at every token, gives the outputs of training.
func TestRecallDecodingIsTraining(t *testing.T) {
	for name, test := range map[string]struct {
		features FeatureOptions
		shape    Shape
	}{
		"mean":        {FeaturesOf(Recall), Shape{}},
		"atoms":       {FeaturesOf(Recall), Shape{Atoms: 15, Embedding: 3}},
		"ensemble":    {FeaturesOf(Recall), Shape{Members: 2, Atoms: 9}},
		"advantages":  {FeaturesOf(Recall), Shape{Advantages: true}},
		"blind":       {FeaturesOf(Recall), Shape{Values: -1}},
		"one pass":    {CandidateFeatures(testSchema), Shape{Embedding: 3}},
		"mlp":         {FeatureOptions{}, Shape{}},
		"categorical": {FeatureOptions{}, Shape{Atoms: 15}},
	} {
		t.Run(name, func(t *testing.T) {
			d := copies(t, 40, test.features)
			kind := Recall
			if name == "mlp" || name == "categorical" {
				kind = MLP
			}
			h, _ := mustTrain(t, d, TrainOptions{Kind: kind, Shape: test.shape, Epochs: 1, HeldOut: 0.5})
			var want [][]float32
			k := h.shape.outputs()
			err := h.each(t.Context(), d, entries(t, d), 1, func(e Example, out []float32) {
				var v []float32
				for i := range e.Trajectory.Tokens {
					v = append(v, h.value(slices.Clone(out[i*k:(i+1)*k]), Reading{}))
				}
				want = append(want, v)
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range d.examples {
				m, err := h.Begin(e.Prompt)
				if err != nil {
					t.Fatal(err)
				}
				for j, token := range e.Trajectory.Tokens {
					hidden, scalars := e.Trajectory.Hidden[j*6:(j+1)*6], e.Trajectory.Scalars[j*2:(j+1)*2]
					v := make([]float32, 3)
					if h.CanScoreCandidates() {
						if err := h.Candidates(m, []int32{token + 1, token, 0}, append(make([]float32, 2), append(slices.Clone(scalars), 0, 0)...), Reading{}, v); err != nil {
							t.Fatal(err)
						}
						close(t, v[1], want[i][j])
					}
					fork := m.Clone()
					if err := fork.Push(token+1, scalarsAsHidden(hidden), scalars); err != nil {
						t.Fatal(err)
					}
					if err := m.Push(token, hidden, scalars); err != nil {
						t.Fatal(err)
					}
					if err := h.Values([]*Memory{fork, m}, Reading{}, v); err != nil {
						t.Fatal(err)
					}
					close(t, v[1], want[i][j])
					fork.CopyFrom(m)
					m = fork
				}
			}
		})
	}
}

// scalarsAsHidden is another hidden row.
func scalarsAsHidden(x []float32) []float32 {
	x = slices.Clone(x)
	slices.Reverse(x)
	return x
}

func close(t *testing.T, got, want float32) {
	t.Helper()
	if math.Abs(float64(got-want)) > 1e-4 {
		t.Fatalf("value %g, training gives %g", got, want)
	}
}
