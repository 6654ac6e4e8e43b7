package head_test

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/internal/testcheckpoint"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
	"github.com/ivo-decoding/ivo/valuehead"
	store "github.com/ivo-decoding/ivo/valuehead/states"
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

// A head that looks back at the prompt scores as its value head says, token by token, of states that are
// computed one by one here, whole and growing; and its file gives it back.
func TestRecall(t *testing.T) {
	m := load(t, lab)
	layers, width := []int{0, 3}, m.Info().Width
	features, err := valuehead.NewFeatures(head.Schema(layers, width), valuehead.FeaturesOf(valuehead.Recall))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	numbers := func(n int) []float32 { return testcheckpoint.Random(rng, "F32", "", n).Values }
	data := valuehead.NewDataset(features)
	for range 40 {
		answer := func() *store.Trajectory {
			return &store.Trajectory{Tokens: []int32{5, 6}, Hidden: numbers(2 * len(layers) * width)}
		}
		e := valuehead.Example{Trajectory: answer(), Rival: answer(), Prompt: &store.Prompt{Tokens: []int32{6, 7, 5}, Hidden: numbers(3 * len(layers) * width)}}
		if err := data.AddExample(e); err != nil {
			t.Fatal(err)
		}
	}
	value, err := valuehead.TrainPreferences(t.Context(), data, valuehead.TrainOptions{Kind: valuehead.Recall, Epochs: 2, Batch: 16}, func(*valuehead.Head, int) (bool, error) { return false, nil })
	if err != nil {
		t.Fatal(err)
	}
	h := &head.Head{
		Trunk: head.Trunk{Width: width}, Reading: head.Reading{Layers: layers, Pooling: head.Recall, Recall: value},
		Layers: []head.Layer{{In: 1, Out: 1, Weight: []float32{-2}, Bias: []float32{0.5}}},
	}
	all := answers(m)
	s, got, followed := bothWays(t, h, m, all)
	for i, a := range all {
		tokens, from, err := s.Encode(a)
		if err != nil {
			t.Fatal(err)
		}
		rows := statesFrom(t, m, tokens, 0, layers...)
		memory, err := value.Begin(&store.Prompt{Tokens: tokens[:from], Hidden: slices.Concat(rows[:from]...)})
		if err != nil {
			t.Fatal(err)
		}
		for k, token := range tokens[from:] {
			if err := memory.Push(token, rows[from+k], nil); err != nil {
				t.Fatal(err)
			}
		}
		v := make([]float32, 1)
		if err := value.Values([]*valuehead.Memory{memory}, valuehead.Reading{}, v); err != nil {
			t.Fatal(err)
		}
		want := 0.5 - 2*float64(v[0])
		for way, got := range map[string]head.Score{"whole": got[i], "followed": followed[i]} {
			if got.Err != nil || math.Abs(got.Value-want) > 1e-3*max(1, math.Abs(want)) {
				t.Errorf("answer %d, %s: got %+v, want %v", i, way, got, want)
			}
		}
	}
	for name, r := range map[string]head.Reading{
		"other layers":    {Layers: []int{0, 2}, Pooling: head.Recall, Recall: value},
		"no value head":   {Layers: layers, Pooling: head.Recall},
		"another pooling": {Layers: layers, Pooling: head.Mean, Recall: value},
	} {
		h.Reading = r
		if err := h.Save(filepath.Join(t.TempDir(), "head.gguf")); err == nil {
			t.Errorf("%s: saved", name)
		}
	}
}

// bothWays has a head that was written and read again score answers, whole and followed.
func bothWays(t *testing.T, h *head.Head, m *llama.Model, all []head.Answer) (s *head.Scorer, whole, followed []head.Score) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := head.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = head.NewScorer(again, m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if whole, err = s.Score(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if followed, err = s.Follow(t.Context(), t.Name(), all); err != nil {
		t.Fatal(err)
	}
	return s, whole, followed
}

// A head that looks for mentions reads the sum of the answer's states and, of each token that prompt and answer share, the
// prompt's state where it stands last: written down a second time.
func TestMentionsHead(t *testing.T) {
	m := load(t, lab)
	rng := rand.New(rand.NewPCG(5, 7))
	layers, width := []int{1, 2}, 2*m.Info().Width
	const longest = 9
	h := &head.Head{
		Trunk: head.Trunk{Width: m.Info().Width}, Reading: head.Reading{Layers: layers, Pooling: head.Mentions, Longest: longest},
		Layers: []head.Layer{{In: 2*width + 1, Out: 1, Weight: testcheckpoint.Random(rng, "F32", "", 2*width+1).Values}},
	}
	all := answers(m)
	s, got, followed := bothWays(t, h, m, all)
	shared := 0
	for i, a := range all {
		tokens, from, err := s.Encode(a)
		if err != nil {
			t.Fatal(err)
		}
		rows := statesFrom(t, m, tokens, 0, layers...)
		x := make([]float64, 2*width+1)
		for _, row := range rows[from:] {
			for j, v := range row {
				x[j] += float64(v) / longest
			}
			x[width] += 1. / longest
		}
		for at, token := range tokens[:from] {
			if slices.Contains(tokens[at+1:from], token) || !slices.Contains(tokens[from:], token) {
				continue
			}
			shared++
			for j, v := range rows[at] {
				x[width+1+j] += float64(v) / longest
				for _, row := range rows[:from] {
					x[width+1+j] -= float64(row[j]) / float64(from) / longest
				}
			}
		}
		want := 0.0
		for j, v := range x {
			want += v * float64(h.Layers[0].Weight[j])
		}
		for way, got := range map[string]head.Score{"whole": got[i], "followed": followed[i]} {
			if got.Err != nil || math.Abs(got.Value-want) > 1e-3*max(1, math.Abs(want)) {
				t.Errorf("answer %d, %s: got %+v, want %v", i, way, got, want)
			}
		}
	}
	if shared == 0 {
		t.Error("no answer has a token of its prompt")
	}
	for name, spoil := range map[string]func(*head.Reading){
		"no longest":     func(r *head.Reading) { r.Longest = 0 },
		"the embeddings": func(r *head.Reading) { r.Layers = []int{head.Embeddings} },
		"a layer on each": func(r *head.Reading) {
			r.Each = &head.Layer{In: width, Out: width, Weight: make([]float32, width*width)}
		},
		"the sum's own size": func(r *head.Reading) { r.Pooling = head.Sum },
	} {
		bad := *h
		spoil(&bad.Reading)
		if err := bad.Save(filepath.Join(t.TempDir(), "head.gguf")); err == nil {
			t.Errorf("%s: saved", name)
		}
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
