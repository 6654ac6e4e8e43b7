package valuehead

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Of rewards that have ends, and of tokens that are worth what their embeddings do not tell, a table
// is made that is better than one without.
func TestAdditiveOfEndsAndWords(t *testing.T) {
	e := randomTable(30, 4)
	rng := rand.New(rand.NewPCG(9, 9))
	worth := make([]float64, e.Len())
	for y := range worth {
		worth[y] = 0.5 * rng.NormFloat64()
	}
	d, _ := additiveWorld(t, 150, e, false, 0)
	for i := range d.examples {
		sum := 0.0
		for j, y := range d.examples[i].Trajectory.Tokens {
			if !slices.Contains(d.examples[i].Trajectory.Tokens[:j], y) {
				sum += worth[y]
			}
		}
		d.examples[i].Return = float32(math.Tanh(sum))
	}
	h, r := mustTrain(t, d, TrainOptions{Kind: Additive, Embeddings: e, HeldOut: 0.2})
	if kept := r.Additive.Kept; kept.Words == 0 || !kept.Squashed || !h.Advantages().Squashed() || kept.R2Last < 0.95 {
		t.Errorf("kept %+v", kept)
	}
	loaded := reload(t, h)
	for _, ex := range d.examples[:40] {
		want, err := h.Advantages().appendValues(nil, ex)
		if err != nil {
			t.Fatal(err)
		}
		got, err := loaded.Advantages().appendValues(nil, ex)
		if err != nil {
			t.Fatal(err)
		}
		a, z := h.Advantages(), h.Advantages().directionsOf(ex.Prompt)
		sum := a.Start(ex.Prompt)
		for i, y := range ex.Trajectory.Tokens {
			const step = 1e-2
			if rise := (a.squash.of(sum+step) - a.squash.of(sum-step)) / (2 * step); math.Abs(a.Slope(sum)-float64(rise)) > 1e-3 {
				t.Errorf("at a sum of %v the value rises by %v times its own rise, want %v", sum, a.Slope(sum), rise)
			}
			sum += a.token(z, ex.Trajectory.Tokens[:i], y)
		}
		if v := a.squash.of(sum); math.Abs(float64(v-want[len(want)-1])) > 1e-5 {
			t.Errorf("the sum of what tokens add comes to %v, want %v", v, want[len(want)-1])
		}
		if !slices.Equal(got, want) || slices.Max(want) > 1.1 || slices.Min(want) < -1.1 {
			t.Errorf("values %v, of the file %v", want, got)
		}
	}
}
