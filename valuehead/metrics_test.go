package valuehead

import (
	"math"
	"slices"
	"testing"
)

func TestScore(t *testing.T) {
	for name, test := range map[string]struct {
		values, returns []float32
		want            Score
	}{
		"perfect":      {[]float32{1, 2, 3}, []float32{1, 2, 3}, Score{3, 1, 1, 0, 0}},
		"the mean":     {[]float32{2, 2, 2}, []float32{1, 2, 3}, Score{3, 0, 0, 2. / 3, 2. / 3}},
		"reversed":     {[]float32{3, 2, 1}, []float32{1, 2, 3}, Score{3, -3, -1, 8. / 3, 4. / 3}},
		"monotone":     {[]float32{1, 10, 100}, []float32{1, 2, 3}, Score{3, 1 - (64+97*97)/2., 1, (64 + 97*97) / 3., 105. / 3}},
		"ties":         {[]float32{1, 2, 2, 3}, []float32{1, 1, 2, 2}, Score{4, -1, 3 / math.Sqrt(18), 0.5, 0.5}},
		"no variation": {[]float32{1, 2}, []float32{5, 5}, Score{2, 0, 0, 12.5, 3.5}},
		"nothing":      {nil, nil, Score{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := (&pairs{test.values, test.returns}).score()
			a := []float64{got.R2, got.Spearman, got.MSE, got.ECE}
			for i, want := range []float64{test.want.R2, test.want.Spearman, test.want.MSE, test.want.ECE} {
				if math.Abs(a[i]-want) > 1e-9 {
					t.Errorf("%+v, want %+v", got, test.want)
				}
			}
		})
	}
}

func TestRanks(t *testing.T) {
	if got, want := ranks([]float32{5, 1, 5, 3, 5}), []float64{3, 0, 3, 1, 3}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Values that do not come from a head are measured as a head's are, on the prompts that its
// training held out.
func TestMetricsOfOthers(t *testing.T) {
	d := synthetic(t, 400, 1)
	h, report, err := Train(t.Context(), d, TrainOptions{Kind: Linear, Epochs: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range d.examples {
		names = append(names, e.Trajectory.Prompt)
	}
	held, err := HeldOutPrompts(names, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values [][]float32
	var returns []float32
	for _, e := range d.examples {
		if !held[e.Trajectory.Prompt] {
			continue
		}
		m, err := h.Begin(nil)
		if err != nil {
			t.Fatal(err)
		}
		n := len(e.Trajectory.Tokens)
		width, scalars := len(e.Trajectory.Hidden)/n, len(e.Trajectory.Scalars)/n
		of := make([]float32, n)
		for i, token := range e.Trajectory.Tokens {
			if err := m.Push(token, e.Trajectory.Hidden[i*width:(i+1)*width], e.Trajectory.Scalars[i*scalars:(i+1)*scalars]); err != nil {
				t.Fatal(err)
			}
			if err := h.Values([]*Memory{m}, Reading{}, of[i:i+1]); err != nil {
				t.Fatal(err)
			}
		}
		values, returns = append(values, of), append(returns, e.Return)
	}
	got, want := MetricsOf(values, returns), report.HeldOut
	if len(held) != h.Summary().HeldOut || got.All.States != want.All.States || math.Abs(got.All.R2-want.All.R2) > 1e-4 || math.Abs(got.Quarters[2].ECE-want.Quarters[2].ECE) > 1e-3 || math.Abs(got.Last.R2-want.Last.R2) > 1e-4 {
		t.Errorf("%d prompts held out, %+v; training has %d, %+v", len(held), got.All, h.Summary().HeldOut, want.All)
	}
}
