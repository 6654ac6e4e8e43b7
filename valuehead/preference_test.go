package valuehead

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// rivals makes pairs of the responses that copies makes: the one with the larger reward is preferred.
func rivals(t *testing.T, n int) *Dataset {
	t.Helper()
	rng := rand.New(rand.NewPCG(8, 8))
	from := copies(t, n, FeaturesOf(Recall))
	d := NewDataset(from.features)
	w := promptSchema.PromptWidth()
	for _, e := range from.examples {
		rival := randomTrajectory(rng, promptSchema, 6)
		var worth float32
		for len(rival.Tokens) == 0 {
			rival = randomTrajectory(rng, promptSchema, 6)
		}
		for k := range rival.Tokens {
			rival.Tokens[k] = int32(rng.IntN(16))
			if j := slices.Index(e.Prompt.Tokens, rival.Tokens[k]); j >= 0 {
				worth += e.Prompt.Hidden[j*w]
			}
		}
		better, worse := e.Trajectory, rival
		if worth > e.Return {
			better, worse = worse, better
		}
		if err := d.AddExample(Example{Trajectory: better, Rival: worse, Prompt: e.Prompt}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// What only a look at the prompt can tell is learned from pairs; and a whole response is worth what
// decoding it says at its end.
func TestPreferences(t *testing.T) {
	d, epochs := rivals(t, 1200), 0
	train, held := NewDataset(d.features), d.examples[1000:]
	train.examples = d.examples[:1000]
	o := TrainOptions{Kind: Recall, Hidden: 24, Epochs: 12, Rate: 0.01, Dropout: -1, Shape: Shape{Project: 8, Channels: 8, Keys: 4, Values: 6, Products: 2, Scan: -1}}
	h, err := TrainPreferences(t.Context(), train, o, func(_ *Head, epoch int) (bool, error) {
		epochs++
		return epoch == 10, nil
	})
	if err != nil || epochs != 10 {
		t.Fatalf("%d epochs, %v", epochs, err)
	}
	right := 0
	for _, e := range held {
		var worth [2]float32
		for i, e := range sides([]Example{e}) {
			if worth[i], err = h.Worth(e); err != nil {
				t.Fatal(err)
			}
			m, err := h.Begin(e.Prompt)
			if err != nil {
				t.Fatal(err)
			}
			for j, token := range e.Trajectory.Tokens {
				if err := m.Push(token, e.Trajectory.Hidden[j*6:(j+1)*6], e.Trajectory.Scalars[j*2:(j+1)*2]); err != nil {
					t.Fatal(err)
				}
			}
			v := make([]float32, 1)
			if err := h.Values([]*Memory{m}, Reading{}, v); err != nil {
				t.Fatal(err)
			}
			close(t, worth[i], v[0])
		}
		if worth[0] > worth[1] {
			right++
		}
	}
	if right < 180 {
		t.Errorf("%d of %d pairs are right", right, len(held))
	}
	for name, e := range map[string]Example{
		"no tokens":  {Trajectory: &states.Trajectory{Prompt: "x"}, Prompt: held[0].Prompt},
		"no prompt":  {Trajectory: held[0].Trajectory},
		"fewer rows": {Trajectory: &states.Trajectory{Tokens: []int32{1}}, Prompt: held[0].Prompt},
	} {
		if v, err := h.Worth(e); err == nil {
			t.Errorf("%s is worth %g", name, v)
		}
	}
	o.Shape.Atoms = 5
	if _, err := TrainPreferences(t.Context(), train, o, nil); err == nil {
		t.Error("pairs taught a distribution")
	}
}

// The loss of a pair is -log sigma of the difference less the margin, but for the noise, and its gradient that of
// central differences.
func TestPreferenceLoss(t *testing.T) {
	s := &scratch{batch: batch{starts: []int{0, 2, 3, 5, 8}}, out: []float32{9, .5, -.25, 9, 3, 9, 9, -2}, dout: make([]float32, 8)}
	pairs := []Example{{}, {Margin: 1.5}}
	for _, noise := range []float64{0, 0.1} {
		loss := func() float64 {
			total := 0.0
			for i, rows := range [][2]int{{1, 2}, {4, 7}} {
				d := float64(s.out[rows[0]]) - float64(s.out[rows[1]]) - float64(pairs[i].Margin)
				total -= math.Log((1-noise)/(1+math.Exp(-d)) + noise/(1+math.Exp(d)))
			}
			return total
		}
		if got := s.preferences(pairs, noise, 2); math.Abs(got-loss()) > 1e-6 {
			t.Errorf("noise %g: loss %g, not %g", noise, got, loss())
		}
		for i, got := range slices.Clone(s.dout) {
			const step = 1e-2
			at := s.out[i]
			s.out[i] = at + step
			up := loss()
			s.out[i] = at - step
			want := 2 * (up - loss()) / (2 * step)
			if s.out[i] = at; math.Abs(float64(got)-want) > 1e-3 {
				t.Errorf("noise %g, output %d: gradient %g, not %g", noise, i, got, want)
			}
		}
	}
}
