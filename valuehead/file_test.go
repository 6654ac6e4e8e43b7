package valuehead

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

func smallHead(t *testing.T, kind Kind) *Head {
	t.Helper()
	h, _ := mustTrain(t, synthetic(t, 20, 1), TrainOptions{Kind: kind, Hidden: 3, Epochs: 1, Seed: 1 << 63})
	return h
}

// values are a head's predictions for fixed rows.
func values(t *testing.T, h *Head) []float32 {
	t.Helper()
	const n = 200 // more than one slice
	rng := rand.New(rand.NewPCG(8, 8))
	rows, out := make([]float32, n*h.Features().Width()), make([]float32, n)
	for i := range rows {
		rows[i] = float32(rng.NormFloat64())
	}
	if err := h.Predict(rows, n, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSaveLoad(t *testing.T) {
	for _, kind := range []Kind{Linear, MLP} {
		h := smallHead(t, kind)
		path := filepath.Join(t.TempDir(), "head.gguf")
		if err := h.Save(path); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(values(t, got), values(t, h)) {
			t.Error("the loaded head gives other values")
		}
		if got.Kind() != kind || got.Summary() != h.Summary() || got.Parameters() != h.Parameters() ||
			!reflect.DeepEqual(got.Features().Schema(), testSchema) || !reflect.DeepEqual(got.Features().Options(), h.Features().Options()) {
			t.Errorf("loaded %+v, saved %+v", got.Summary(), h.Summary())
		}
		if err := got.CheckBackbone("model-a"); err != nil {
			t.Error(err)
		}
		if err := got.CheckBackbone("model-b"); err == nil || !strings.Contains(err.Error(), "model-b") {
			t.Errorf("error %v, want one that names model-b", err)
		}
	}
}

// A head without scalars or layers keeps its empty lists.
func TestSaveLoadEmptyLists(t *testing.T) {
	d := synthetic(t, 20, 1)
	f := mustFeatures(t, testSchema, FeatureOptions{Layers: []int{}, Scalars: []string{}, Blocks: []Block{Hidden, Length}})
	h, err := newHead(Linear, 0, f)
	if err != nil {
		t.Fatal(err)
	}
	d.features = f
	for i := range d.trajectories {
		d.trajectories[i].rows = d.trajectories[i].rows[:2*syntheticLength]
	}
	h.fitScales(d)
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !got.features.equal(f) {
		t.Errorf("options %+v, want %+v", got.Features().Options(), f.Options())
	}
}

// A file with any one bit flipped, or cut anywhere, either fails to load with an error
// that names it or is the head that was saved (padding means nothing).
func TestDamagedFile(t *testing.T) {
	h := smallHead(t, MLP)
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := values(t, h)
	load := func(what string, bad []byte) {
		t.Helper()
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err == nil && slices.Equal(values(t, got), want) && got.Summary() == h.Summary() {
			return
		}
		if err == nil || !strings.Contains(err.Error(), path) || !strings.HasSuffix(err.Error(), ")") {
			t.Errorf("%s: error %v, want one that names the file and ends in a hint", what, err)
		}
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		load(fmt.Sprint("byte ", i), bad)
	}
	for n := range data {
		load(fmt.Sprint("cut at ", n), data[:n])
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "model.gguf")
	if err := gguf.Write(model, []gguf.KV{{Key: keyType, Value: "model"}}, nil); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.gguf")
	if err := gguf.Write(newer, []gguf.KV{{Key: keyType, Value: FileType}, {Key: prefix + "version", Value: uint32(9)}}, nil); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		model:                        "not a value head",
		newer:                        "version 9",
		filepath.Join(dir, "absent"): "check the path",
	} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
}

func TestPredictRefuses(t *testing.T) {
	h := smallHead(t, Linear)
	w := h.Features().Width()
	for _, err := range []error{
		h.Predict(make([]float32, w), 2, make([]float32, 2)),
		h.Predict(make([]float32, 2*w), 2, make([]float32, 1)),
		h.Predict(nil, -1, nil),
	} {
		if err == nil {
			t.Error("rows or values of the wrong length were taken")
		}
	}
}
