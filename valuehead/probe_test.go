package valuehead

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// A head keeps the beginning of a response that it was trained on, that after the shortest
// prompt of the longest ones, through its file and further training.
func TestProbe(t *testing.T) {
	d := copies(t, 40, FeaturesOf(Recall))
	o := TrainOptions{Kind: Recall, Epochs: 1, Shape: Shape{Hidden: 4, Project: 2, Channels: 2, Keys: 2, Values: 2, Products: 2, Scan: 2}}
	h, _ := mustTrain(t, d, o)
	p := h.Probe()
	if p == nil {
		t.Fatal("no probe")
	}
	train, _, err := split(entries(t, d), defaultHeldOut)
	if err != nil {
		t.Fatal(err)
	}
	length := func(e Example) int { return min(len(e.Trajectory.Tokens), probeStates) }
	found := false
	for _, en := range train {
		e := d.examples[en.index]
		n := len(p.Tokens) - p.From
		if length(e) > n || length(e) == n && len(e.Prompt.Tokens) < p.From {
			t.Errorf("%d tokens after a prompt of %d make a better probe than %d after one of %d", length(e), len(e.Prompt.Tokens), n, p.From)
		}
		found = found || length(e) == n && slices.Equal(p.Tokens, slices.Concat(e.Prompt.Tokens, e.Trajectory.Tokens[:n])) && slices.Equal(p.States, e.Trajectory.Hidden[:n*promptSchema.Width])
	}
	if !found {
		t.Error("the probe is no response of the training part")
	}
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil || !reflect.DeepEqual(loaded.Probe(), p) {
		t.Fatalf("loaded %+v (%v), saved %+v", loaded.Probe(), err, p)
	}
	o.From = loaded
	if again, _ := mustTrain(t, d, o); !reflect.DeepEqual(again.Probe(), p) {
		t.Error("the probe changes with further training")
	}

	// Heads of the first files have none.
	f, err := gguf.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	f.KVs = slices.DeleteFunc(f.KVs, func(kv gguf.KV) bool { return kv.Key == keyProbe || kv.Key == keyChecksum })
	sum := newChecksum()
	for _, kv := range f.KVs {
		sum.kv(kv)
	}
	var tensors []gguf.Tensor
	for _, info := range f.Tensors {
		if info.Name == probeTensor {
			continue
		}
		data, err := f.ReadF32(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		sum.floats(info.Name, data)
		tensors = append(tensors, gguf.Tensor{Name: info.Name, Shape: info.Shape, Data: data})
	}
	if err := gguf.Write(path, append(f.KVs, gguf.KV{Key: keyChecksum, Value: sum.digest.Sum64()}), tensors); err != nil {
		t.Fatal(err)
	}
	if first, err := Load(path); err != nil || first.Probe() != nil || !slices.Equal(values(t, first), values(t, h)) {
		t.Errorf("without a probe: %v", err)
	}
}

// Likeness is 1 of the same states, of any that differ by a constant or a factor, about 1/sqrt(2) where
// noise as large is added in one layer, and about 0 of other states.
func TestLikeness(t *testing.T) {
	const n, layer = 16, 400
	rng := rand.New(rand.NewPCG(1, 1))
	s := testSchema
	s.Layers, s.Width = []int{1, 2}, 2*layer
	h := &Head{features: mustFeatures(t, s, FeatureOptions{}), probe: &Probe{Tokens: make([]int32, n), States: make([]float32, n*s.Width)}}
	normal(h.probe.States, rng, 1)
	for i := 0; i < len(h.probe.States); i += layer { // what most models have: a large number that never changes
		h.probe.States[i] = 500
	}
	for name, test := range map[string]struct {
		change func(layer int, v float32) float32
		want   float64
	}{
		"same":           {func(_ int, v float32) float32 { return v }, 1},
		"moved":          {func(_ int, v float32) float32 { return 2*v + 3 }, 1},
		"noise":          {func(l int, v float32) float32 { return v + float32(l)*float32(rng.NormFloat64()) }, math.Sqrt(0.5)},
		"other":          {func(_ int, v float32) float32 { return float32(rng.NormFloat64()) }, 0},
		"other in one":   {func(l int, v float32) float32 { return v*float32(1-l) + float32(l)*float32(rng.NormFloat64()) }, 0},
		"not a number":   {func(_ int, v float32) float32 { return nan32 }, math.NaN()},
		"nothing at all": {func(_ int, v float32) float32 { return 0 }, 0},
	} {
		states := slices.Clone(h.probe.States)
		for i := range states {
			states[i] = test.change(i/layer%2, states[i])
		}
		got, err := h.Likeness(states)
		if err != nil || math.Abs(got-test.want) > 0.03 || math.IsNaN(test.want) && got >= LeastLikeness {
			t.Errorf("%s: %v (%v), want %v", name, got, err, test.want)
		}
	}
	if _, err := h.Likeness(make([]float32, 3)); err == nil {
		t.Error("three floats were compared")
	}
}

var nan32 = float32(math.NaN())
