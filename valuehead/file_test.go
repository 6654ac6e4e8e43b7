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
	o := TrainOptions{Kind: kind, Hidden: 3, Epochs: 1, Seed: 1 << 63}
	if kind == Recall {
		o.Shape = Shape{Atoms: 12, Members: 2, Project: 2, Channels: 2, Keys: 2, Values: 2, Products: 2, Scan: 2, Embedding: 2}
		h, _ := mustTrain(t, copies(t, 20, FeaturesOf(kind)), o)
		return h
	}
	h, _ := mustTrain(t, synthetic(t, 20, 1), o)
	return h
}

// values are what a head says of a fixed response, token by token.
func values(t *testing.T, h *Head) (out []float32) {
	t.Helper()
	s := h.Features().Schema()
	prompt, tr := randomExample(rand.New(rand.NewPCG(8, 8)), s)
	m, err := h.Begin(prompt)
	if err != nil {
		t.Fatal(err)
	}
	for i, token := range tr.Tokens {
		if err := m.Push(token, tr.Hidden[i*s.Width:(i+1)*s.Width], tr.Scalars[i*len(s.Scalars):(i+1)*len(s.Scalars)]); err != nil {
			t.Fatal(err)
		}
		v := make([]float32, 1)
		if err := h.Values([]*Memory{m}, Reading{}, v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v...)
	}
	return out
}

func TestSaveLoad(t *testing.T) {
	for _, kind := range Kinds {
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
		if got.Kind() != kind || got.Summary() != h.Summary() || got.Parameters() != h.Parameters() || got.Shape() != h.Shape() || got.Target() != h.Target() ||
			!reflect.DeepEqual(got.Features().Schema(), h.Features().Schema()) || !reflect.DeepEqual(got.Features().Options(), h.Features().Options()) {
			t.Errorf("loaded %+v, saved %+v", got.Summary(), h.Summary())
		}
		if err := got.CheckBackbone("model-a"); err != nil {
			t.Error(err)
		}
		// A fingerprint is longer now than when the head was saved.
		if err := got.CheckBackbone("model-a-0123456789abcdef"); err != nil {
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
	d.features = f
	h, _ := mustTrain(t, d, TrainOptions{Kind: Linear, Epochs: 1})
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
	for kind, step := range map[Kind]int{MLP: 2, Recall: 29} { // the second file is long
		damage(t, smallHead(t, kind), step)
	}
}

// damage tries every step-th byte.
func damage(t *testing.T, h *Head, step int) {
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
	for i := 0; i < len(data); i += step {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		load(fmt.Sprint("byte ", i), bad)
	}
	for n := 0; n < len(data); n += step {
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
