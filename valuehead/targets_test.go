package valuehead

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// The recursion against the definition of the lambda-return: a mixture of n-step returns,
// of which the last is the reward.
func TestLambdaReturns(t *testing.T) {
	values := []float32{9, 1, -2, 3, 0.5}
	const reward = 2
	for _, lambda := range []float64{0, 0.3, 0.95, 1} {
		got := make([]float32, len(values))
		LambdaReturns(got, values, reward, lambda)
		for i := range values {
			want, weight := 0.0, 1.0
			for k := i + 1; k < len(values); k++ {
				want += weight * (1 - lambda) * float64(values[k])
				weight *= lambda
			}
			want += weight * reward
			if math.Abs(float64(got[i])-want) > 1e-6 {
				t.Errorf("lambda %v, state %d: %g, want %g", lambda, i, got[i], want)
			}
		}
		LambdaReturns(values[:0], nil, reward, lambda) // an empty response has no targets
		inPlace := slices.Clone(values)
		if LambdaReturns(inPlace, inPlace, reward, lambda); !slices.Equal(inPlace, got) {
			t.Errorf("in place %v, want %v", inPlace, got)
		}
	}
}

func TestNextValues(t *testing.T) {
	log := func(p float64) float32 { return float32(math.Log(p)) }
	got := make([]float32, 3)
	NextValues(got, []float32{1, 5, -1, 2, 0, 0}, []float32{log(0.5), log(0.5), log(0.6), log(0.2), 0, 0}, 2, 7)
	for i, want := range []float64{3, -0.25, 7} {
		if math.Abs(float64(got[i])-want) > 1e-6 {
			t.Errorf("state %d: %g, want %g", i, got[i], want)
		}
	}
}

// Monte Carlo estimation with one trajectory a prompt, K=1, is FUDGE's regression: the
// same head to the last bit. With more trajectories, of this round or a later one, FUDGE
// learns from the first alone, and so do its scales.
func TestFUDGEIsOneSample(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	f := mustFeatures(t, testSchema, FeatureOptions{})
	one, four := NewDataset(f), NewDataset(f)
	for round := range 2 {
		for i := range 60 * 4 {
			i, k := i/4, i%4
			tr := randomTrajectory(rng, testSchema, 6)
			tr.Prompt, tr.Sample = fmt.Sprint(i), k
			ret := float32(rng.NormFloat64())
			for _, d := range []*Dataset{four, one}[:2-min(round+k, 1)] {
				if err := d.Add(tr, ret); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	o := TrainOptions{Hidden: 8, Epochs: 3, Batch: 100, Patience: 9}
	want, _ := mustTrain(t, one, o)
	o.Target = FUDGE
	got, _ := mustTrain(t, one, o)
	if !slices.Equal(got.params, want.params) {
		t.Error("FUDGE and Monte Carlo with K=1 trained different heads")
	}
	many, _ := mustTrain(t, four, o)
	if s := many.Summary(); s.Trajectories != got.Summary().Trajectories || many.Target() != FUDGE {
		t.Errorf("FUDGE learned from %d trajectories of %d prompts", s.Trajectories, s.Prompts)
	}
	if !slices.Equal(many.input.mean, got.input.mean) || many.rewardMean != got.rewardMean || many.rewardScale != got.rewardScale {
		t.Error("FUDGE's scales are fitted to trajectories that it does not learn from")
	}
	o.Target = MonteCarloReturn
	if all, _ := mustTrain(t, four, o); all.Summary().Trajectories != 8*got.Summary().Trajectories {
		t.Errorf("Monte Carlo learned from %d trajectories", all.Summary().Trajectories)
	}
}

// A walk of +1 or -1 each token, the reward being its end: the value of a state is where
// the walk stands, whatever the target.
func TestTargetsLearnTheValue(t *testing.T) {
	schema := states.Schema{Backbone: "m", Layers: []int{0}, Width: 1, Scalars: []string{"step"}}
	f := mustFeatures(t, schema, FeatureOptions{Scalars: []string{"step"}, Blocks: []Block{Previous, Scalar}})
	d := NewDataset(f)
	rng := rand.New(rand.NewPCG(2, 3))
	const length = 6
	for i := range 400 {
		tr := &states.Trajectory{Prompt: fmt.Sprint(i / 4), Sample: i % 4, Tokens: make([]int32, length), Hidden: make([]float32, length), Scalars: make([]float32, length)}
		c := &Candidates{K: 2}
		at := float32(0)
		for k := range length {
			tr.Tokens[k] = int32(rng.IntN(2))
			tr.Scalars[k] = float32(2*tr.Tokens[k] - 1)
			at += tr.Scalars[k]
			tr.Hidden[k] = at
			c.Tokens, c.Scalars = append(c.Tokens, 0, 1), append(c.Scalars, -1, 1)
			c.LogProbs = append(c.LogProbs, float32(math.Log(0.5)), float32(math.Log(0.5)))
		}
		if err := d.AddExample(Example{Trajectory: tr, Return: at, Candidates: c}); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range Targets {
		o := TrainOptions{
			Kind: Recall, Target: target, Hidden: 12, Epochs: 20, Patience: 40, Batch: 100, Rate: 0.01, HeldOut: 0.2, Dropout: -1, WeightDecay: -1,
			Shape: Shape{Values: -1, Channels: 4, Scan: -1},
		}
		if target == FUDGE {
			o.Epochs *= 4
		}
		h, _ := mustTrain(t, d, o)
		sum, n := 0.0, 0.0
		err := h.each(t.Context(), d, entries(t, d), 1, func(e Example, out []float32) {
			for k := range length {
				v := h.value(out[k:k+1], Reading{})
				sum += math.Abs(float64(v - e.Trajectory.Hidden[k]))
				n++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		limit := 0.35 // the walk's step is 1
		if target == FUDGE {
			limit = 0.5 // from a quarter of the data
		}
		if sum/n > limit {
			t.Errorf("%s: mean error %g", target, sum/n)
		}
		t.Logf("%s: mean error %g", target, sum/n)
	}
}
