package head_test

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/internal/testcheckpoint"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// reader is a random head of a reading.
func reader(m *llama.Model, r head.Reading, each int) *head.Head {
	rng := rand.New(rand.NewPCG(11, 3))
	numbers := func(n int) []float32 { return testcheckpoint.Random(rng, "F32", "", n).Values }
	width := len(r.Layers) * m.Info().Width
	if r.Pooling == head.Attention {
		r.Query = numbers(width)
	}
	if r.Pooling == head.Sum {
		r.Longest = 12
	}
	if each > 0 {
		r.Each = &head.Layer{In: width, Out: each, Weight: numbers(each * width), Bias: numbers(each)}
		width = each
	}
	if r.Pooling == head.Sum {
		width++
	}
	return &head.Head{Trunk: head.Trunk{Width: m.Info().Width}, Reading: r, Layers: []head.Layer{{In: width, Out: 3, Weight: numbers(3 * width)}, {In: 3, Out: 1, Weight: numbers(3)}}}
}

// pooled is the reward by a head of the states of an answer, one row a token, written down a second time.
func pooled(h *head.Head, rows [][]float32) float64 {
	r := h.Reading
	if r.Pooling == "" {
		rows = rows[len(rows)-1:]
	}
	total, weights := 0.0, make([]float64, len(rows))
	for i, row := range rows {
		dot := 0.0
		for j, q := range r.Query {
			dot += float64(q) * float64(row[j])
		}
		weights[i] = math.Exp(dot)
		total += weights[i]
	}
	if r.Pooling == head.Sum {
		total = float64(r.Longest)
	}
	var x []float64
	for i, row := range rows {
		v := wide(row)
		if r.Each != nil {
			v = relu(linear(testcheckpoint.Tensor{Shape: []int{r.Each.Out, r.Each.In}, Values: r.Each.Weight}, r.Each.Bias, v))
		}
		if r.Pooling == head.Sum {
			v = append(v, 1)
		}
		if x == nil {
			x = make([]float64, len(v))
		}
		for j := range v {
			x[j] += v[j] * weights[i] / total
		}
	}
	for i, l := range h.Layers {
		x = linear(testcheckpoint.Tensor{Shape: []int{l.Out, l.In}, Values: l.Weight}, l.Bias, x)
		if i == 0 {
			x = relu(x)
		}
	}
	return x[0]
}

// A head that pools scores as its states say, which are computed one by one here; and its file gives
// it back.
func TestReadings(t *testing.T) {
	m := load(t, lab)
	encoder, err := prompt.NewEncoder(m, prompt.Options{Chat: true})
	if err != nil {
		t.Fatal(err)
	}
	embeddings, err := m.Embeddings()
	if err != nil {
		t.Fatal(err)
	}
	defer embeddings.Close()
	all := answers(m)
	for name, h := range map[string]*head.Head{
		"last of two layers": reader(m, head.Reading{Layers: []int{3, 0}}, 0),
		"mean":               reader(m, head.Reading{Layers: []int{2}, Pooling: head.Mean}, 0),
		"sum":                reader(m, head.Reading{Layers: []int{0, 3}, Pooling: head.Sum}, 0),
		"sum of a network":   reader(m, head.Reading{Layers: []int{1}, Pooling: head.Sum}, 5),
		"attention":          reader(m, head.Reading{Layers: []int{1, 2}, Pooling: head.Attention}, 0),
		"embeddings":         reader(m, head.Reading{Layers: []int{head.Embeddings}, Pooling: head.Sum}, 0),
		"after the norm":     reader(m, head.Reading{Layers: []int{m.Info().Layers}, Pooling: head.Mean}, 0),
	} {
		path := filepath.Join(t.TempDir(), "head.gguf")
		if err := h.Save(path); err != nil {
			t.Fatal(name, err)
		}
		again, err := head.Load(path)
		if diff := cmp.Diff(h, again); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
		s, err := head.NewScorer(h, m)
		if err != nil {
			t.Fatal(name, err)
		}
		defer s.Close()
		got, err := s.Score(t.Context(), all)
		if err != nil {
			t.Fatal(name, err)
		}
		for i, a := range all {
			asked := a.Prompt.Messages
			if asked == nil {
				asked = []llama.Message{{Role: "user", Content: a.Prompt.Text}}
			}
			opened, err := encoder.Conversation(asked, true)
			if err != nil {
				t.Fatal(err)
			}
			tokens, err := encoder.Conversation(append(asked[:len(asked):len(asked)], llama.Message{Role: "assistant", Content: a.Response}), false)
			if err != nil {
				t.Fatal(err)
			}
			var rows [][]float32
			from := min(len(opened), len(tokens)-1)
			if name == "embeddings" {
				for _, token := range tokens[from:] {
					row := make([]float32, embeddings.Width())
					if err := embeddings.Row(int(token), row); err != nil {
						t.Fatal(err)
					}
					rows = append(rows, row)
				}
			} else {
				rows = statesFrom(t, m, tokens, from, h.Reading.Layers...)
			}
			if want := pooled(h, rows); got[i].Err != nil || math.Abs(got[i].Value-want) > 1e-3*max(1, math.Abs(want)) {
				t.Errorf("%s: answer %d: got %+v, want %v", name, i, got[i], want)
			}
		}
	}
	if _, err := head.NewScorer(reader(m, head.Reading{Layers: []int{99}}, 0), m); err == nil {
		t.Error("a layer that is not there is read")
	}
}

// What a head cannot read is not saved.
func TestReadingsRefused(t *testing.T) {
	m := load(t, lab)
	for name, spoil := range map[string]func(h *head.Head){
		"a layer twice":       func(h *head.Head) { h.Reading.Layers = []int{1, 1} },
		"no layers":           func(h *head.Head) { h.Reading.Layers = nil },
		"embeddings and more": func(h *head.Head) { h.Reading.Layers = []int{head.Embeddings, 1} },
		"another pooling":     func(h *head.Head) { h.Reading.Pooling = "max" },
		"no longest":          func(h *head.Head) { h.Reading.Longest = 0 },
		"a query of a sum":    func(h *head.Head) { h.Reading.Query = make([]float32, 2*m.Info().Width) },
		"too narrow a layer":  func(h *head.Head) { h.Layers[0].In-- },
		"a gate":              func(h *head.Head) { h.Gate = &head.Gate{Layers: h.Layers, Temperature: 1, Scale: 1} },
		"each of other width": func(h *head.Head) { h.Reading.Each = &head.Layer{In: 3, Out: 1, Weight: make([]float32, 3)} },
	} {
		h := reader(m, head.Reading{Layers: []int{1, 2}, Pooling: head.Sum}, 0)
		spoil(h)
		if err := h.Save(filepath.Join(t.TempDir(), "head.gguf")); err == nil {
			t.Errorf("%s: saved", name)
		}
	}
}
