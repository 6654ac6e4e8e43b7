package valuehead

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// BenchmarkEpoch trains one epoch of the default head on 3000 trajectories of 25 states.
func BenchmarkEpoch(b *testing.B) {
	s := states.Schema{Backbone: "m", Layers: []int{2, 4}, Width: 192, Scalars: []string{"logp", "entropy", "rank"}}
	d := NewDataset(mustFeatures(b, s, FeatureOptions{}))
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 3000 {
		tr := randomTrajectory(rng, s, 25)
		tr.Prompt = fmt.Sprint(i)
		if err := d.Add(tr, tr.Hidden[0]); err != nil {
			b.Fatal(err)
		}
	}
	var h *Head
	for b.Loop() {
		h, _ = mustTrain(b, d, TrainOptions{Epochs: 1})
	}
	flop := 4 * float64(h.Parameters()) * float64(h.Summary().States)
	b.ReportMetric(flop*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(float64(h.Features().Width()), "inputs")
}

// BenchmarkPredict scores 16 beams.
func BenchmarkPredict(b *testing.B) {
	d := synthetic(b, 8, 1)
	d.features = mustFeatures(b, states.Schema{Backbone: "m", Layers: []int{2, 4}, Width: 192, Scalars: []string{"logp", "entropy", "rank"}}, FeatureOptions{})
	h, err := newHead(MLP, Shape{Hidden: 192}, d.features)
	if err != nil {
		b.Fatal(err)
	}
	w := d.features.Width()
	h.input = scaling{make([]float32, w), make([]float32, w)}
	rows, out := make([]float32, 16*w), make([]float32, 16)
	for b.Loop() {
		if err := h.Predict(rows, 16, out); err != nil {
			b.Fatal(err)
		}
	}
}
