package value_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

const labModel = "../../testdata/lab/summarize-s.gguf"

// saved is the file of a head on some layers, that knows the rewards 0 and reward.
func saved(t *testing.T, backbone string, layers []int, reward float32) string {
	t.Helper()
	const width = 4
	schema := states.Schema{Backbone: backbone, Layers: layers, Width: width * len(layers), Scalars: value.Scalars, Top: 64}
	f, err := valuehead.NewFeatures(schema, valuehead.FeaturesOf(valuehead.Linear))
	if err != nil {
		t.Fatal(err)
	}
	data := valuehead.NewDataset(f)
	for i := range 8 {
		tr := &states.Trajectory{Prompt: fmt.Sprint(i), Tokens: []int32{1, 2}, Hidden: make([]float32, 2*schema.Width), Scalars: make([]float32, 2*len(value.Scalars))}
		if err := data.AddExample(valuehead.Example{Return: reward * float32(i%2), Trajectory: tr}); err != nil {
			t.Fatal(err)
		}
	}
	h, _, err := valuehead.Train(t.Context(), data, valuehead.TrainOptions{Kind: valuehead.Linear, Epochs: 1, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	a, b, other := saved(t, "m", []int{1, 2}, 1), saved(t, "m", []int{1, 2}, 3), saved(t, "m", []int{2}, 1)
	seen := map[string]bool{}
	for _, o := range []value.Options{{}, {Heads: []string{a}}, {Heads: []string{b}}, {Heads: []string{a, b}}, {Heads: []string{a}, Reading: valuehead.Reading{Quantile: 0.5}}} {
		f, err := value.Open(o)
		if o.Reading != (valuehead.Reading{}) {
			if err == nil {
				t.Error("a head that gives the mean alone was asked for a quantile")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		id, err := f.Identity()
		if err != nil || seen[id] {
			t.Errorf("%v is %q like another: %v", o.Heads, id, err)
		}
		seen[id] = true
		if n := len(o.Heads); (f.Source != nil) != (n > 0) || (f.Head != nil) != (n == 1) || n > 0 && (!slices.Equal(f.Layers, []int{1, 2}) || f.Lo >= f.Hi) {
			t.Errorf("%v: %+v", o.Heads, f)
		}
		if err := errors.Join(f.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	}
	var bad *fault.Error
	if _, err := value.Open(value.Options{Heads: []string{a, other}}); !errors.As(err, &bad) || bad.Field != "value_head" {
		t.Errorf("heads of other layers: %v", err)
	}
	if _, err := value.Open(value.Options{Heads: []string{a, b}, Model: labModel}); !errors.As(err, &bad) || bad.Field != "value_head" {
		t.Errorf("two heads on a model: %v", err)
	}
	for _, o := range []value.Options{{Heads: []string{"nowhere"}}, {Model: "nowhere"}} {
		if _, err := value.Open(o); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	m, err := llama.Load(labModel, llama.ModelParams{VocabOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f, err := value.Open(value.Options{Heads: []string{a}})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.CheckPolicy(m); err == nil {
		t.Error("a head serves a model that it was not trained on")
	}
}
