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
