package valuehead

import (
	"context"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A choice that is fitted in closed form scores as its own report does; one that is trained
// scores the mean of what heads trained on the other folds do on each, and none sees the prompts
// that Train holds out.
func TestCrossValidate(t *testing.T) {
	e := randomTable(30, 4)
	d, _ := additiveWorld(t, 40, e, false, 0.5)
	sums := FeatureOptions{Blocks: []Block{HiddenSum, Scalar}}
	trained := TrainOptions{Kind: MLP, Hidden: 4, Epochs: 2, Seed: 5, Workers: 1}
	choices := []Choice{
		{"ridge", sums, TrainOptions{Kind: Linear, Ridge: true, Embeddings: e}},
		{"additive", FeatureOptions{}, TrainOptions{Kind: Additive, Embeddings: e}},
		{"mlp", sums, trained},
		{"nonsense", FeatureOptions{Layers: []int{77}}, trained},
	}
	trials, err := CrossValidate(t.Context(), d, choices, 3)
	if err != nil {
		t.Fatal(err)
	}
	view := seen{d, mustFeatures(t, promptSchema, sums)}
	_, ridge, err := Train(t.Context(), view, choices[0].Options)
	if err != nil {
		t.Fatal(err)
	}
	_, additive := mustTrain(t, d, choices[1].Options)
	want := []Trial{
		{Name: "ridge", R2: ridge.Ridge.R2, R2Last: ridge.Ridge.R2Last},
		{Name: "additive", R2: additive.Additive.Kept.R2, R2Last: additive.Additive.Kept.R2Last},
		{Name: "mlp"}, {Name: "nonsense"},
	}
	all := entries(t, d)
	_, held, err := split(all, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]bool)
	for _, e := range held {
		out[e.prompt] = true
	}
	for k := range 3 {
		part := NewDataset(view.features) // without the held-out prompts and those of the other folds
		test := NewDataset(view.features)
		for _, ex := range d.examples {
			if out[ex.Prompt.ID] {
				continue
			}
			to := part
			if foldOfN(ex.Prompt.ID, 3) == k {
				to = test
			}
			if err := to.AddExample(ex); err != nil {
				t.Fatal(err)
			}
		}
		o, err := trained.resolve()
		if err != nil {
			t.Fatal(err)
		}
		h, err := begin(part, entries(t, part), o)
		if err != nil {
			t.Fatal(err)
		}
		both := NewDataset(view.features)
		both.examples = append(append(both.examples, part.examples...), test.examples...)
		n := len(part.examples)
		if _, err := newTrainer(h, both, entries(t, both)[:n], o).run(t.Context(), entries(t, both)[n:]); err != nil {
			t.Fatal(err)
		}
		m, err := h.Evaluate(t.Context(), test, 1)
		if err != nil {
			t.Fatal(err)
		}
		want[2].R2 += m.All.R2 / 3
		want[2].R2Last += m.Last.R2 / 3
	}
	if trials[3].Err == nil {
		t.Error("a layer that is not there was no error")
	}
	trials[3].Err = nil
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-6 })
	if diff := cmp.Diff(want, trials, near); diff != "" {
		t.Errorf("(- want, + got):\n%s", diff)
	}
}

func TestCrossValidateRefuses(t *testing.T) {
	d := synthetic(t, 20, 1)
	if _, err := CrossValidate(t.Context(), d, nil, 1); err == nil {
		t.Error("one fold")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := CrossValidate(ctx, d, []Choice{{"a", FeatureOptions{}, TrainOptions{Kind: Linear}}}, 2); err == nil {
		t.Error("a cancelled context was no error")
	}
}
