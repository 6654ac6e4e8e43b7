package learn_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// The kind that explains most is kept: where the return counts what the states said along the
// way, in one of two layers, that is a linear head on the sums of that layer.
func TestAutoKeepsTheBest(t *testing.T) {
	data := said(t, 4)
	h := learn.Defaults()
	h.Epochs, h.Hidden = 1, 8
	var told []string
	fit := learn.Fitting{TrainOptions: h.Options(1), Trying: func(_, _ int, name string) { told = append(told, name) }}
	head, m, err := learn.Fit(t.Context(), data, fit)
	if err != nil {
		t.Fatal(err)
	}
	best := m.Tried[0]
	for _, trial := range m.Tried {
		if trial.Err == nil && trial.R2 > best.R2 {
			best = trial
		}
	}
	if best.Name != "ridge on sums of layer 9" || head.Kind() != "linear" || fmt.Sprint(head.Features().Options().Layers) != "[9]" || best.R2 < 0.4 || m.Training.HeldOut.Last.R2 < 0.9 {
		t.Errorf("%s head of layers %v, R2 %.2f at the last state, of %+v", head.Kind(), head.Features().Options().Layers, m.Training.HeldOut.Last.R2, m.Tried)
	}
	if len(told) != len(m.Tried) || !strings.HasPrefix(told[len(told)-1], "recall") {
		t.Errorf("told of %q", told)
	}
	// A later round tries the same again: what is fitted in closed form begins from nothing.
	fit.From = head
	_, again, err := learn.Fit(t.Context(), data, fit)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.Tried, m.Tried) {
		t.Errorf("from a head that was chosen %+v were tried, not %+v", again.Tried, m.Tried)
	}
	// What cannot be fitted to a target is not told of as if it had explained nothing.
	fit.From, fit.Target, fit.Lambda = nil, valuehead.TDLambda, 0.9
	if _, m, err = learn.Fit(t.Context(), data, fit); err != nil {
		t.Fatal(err)
	}
	if len(m.Tried) != 5 || slices.ContainsFunc(m.Tried, func(c valuehead.Trial) bool { return c.Name == "additive" }) {
		t.Errorf("%s head of %+v", m.Head, m.Tried)
	}
	fit.Target = valuehead.CDQ // of which heads in closed form alone know without valuing tokens ahead
	if head, m, err = learn.Fit(t.Context(), data, fit); err != nil {
		t.Fatal(err)
	}
	if len(m.Tried) != 4 || head.Kind() != "linear" || m.Training.HeldOut.Last.R2 < 0.9 {
		t.Errorf("%s head, R2 %.2f at the last state, of %+v", m.Head, m.Training.HeldOut.Last.R2, m.Tried)
	}
}

// said are responses whose returns count what their states of the second of two layers said along the way.
func said(t *testing.T, width int) *learn.Data {
	shard := filepath.Join(t.TempDir(), "0000.states")
	schema := states.Schema{Backbone: "fingerprint", Layers: []int{3, 9}, Width: width, Scalars: []string{"logp"}, Prompts: true, PromptLayers: []int{3, 9}}
	rng := rand.New(rand.NewPCG(1, 0))
	returns := map[string]float32{}
	var stored []states.Trajectory
	var prompts []states.Prompt
	for i := range max(1200/width, 40) {
		r := states.Trajectory{Prompt: fmt.Sprint("p", i)}
		p := states.Prompt{ID: r.Prompt, Tokens: []int32{1}}
		for range schema.Width {
			p.Hidden = append(p.Hidden, float32(rng.NormFloat64()))
		}
		prompts = append(prompts, p)
		for range 12 {
			said := float32(rng.IntN(3) - 1)
			r.Tokens, r.Scalars = append(r.Tokens, int32(rng.IntN(5))), append(r.Scalars, -1)
			state := make([]float32, width)
			for i := range state {
				state[i] = float32(rng.NormFloat64())
			}
			state[width/2] = said + 0.1*state[width/2]
			r.Hidden = append(r.Hidden, state...)
			returns[r.Prompt] += said
		}
		stored = append(stored, r)
	}
	if err := states.Write(shard, schema, prompts, stored); err != nil {
		t.Fatal(err)
	}
	return &learn.Data{Shards: []string{shard}, Returns: func(_, prompt string, _ int) (float32, bool) {
		r, ok := returns[prompt]
		return r, ok
	}}
}

// A kind that the data are too wide for is not left out without a word.
func TestAutoTellsWhatItLeavesOut(t *testing.T) {
	h := learn.Defaults()
	h.Epochs, h.Hidden = 1, 8
	_, m, err := learn.Fit(t.Context(), said(t, 2*3073), learn.Fitting{TrainOptions: h.Options(1)})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Tried) != 1 || len(m.LeftOut) != 4 || m.LeftOut[0] != (learn.LeftOut{Name: "ridge on sums of layer 3", Why: "a linear head of 3073 columns; the normal equations are for at most 3072"}) {
		t.Errorf("tried %+v, left out %+v", m.Tried, m.LeftOut)
	}
}

// embeddings are those of a few tokens.
type embeddings struct{}

func (embeddings) Len() int   { return 5 }
func (embeddings) Width() int { return 2 }
func (embeddings) Rows(from int, dst []float32) error {
	for i := range dst {
		dst[i] = float32(from*2+i) - 4
	}
	return nil
}

// A head that values tokens before they are fed has no table of what they add, which would be followed in its
// place, whatever it is fitted to and whatever it begins from.
func TestAheadHasNoTable(t *testing.T) {
	h := learn.Defaults()
	h.Kind, h.Epochs, h.Hidden = string(valuehead.Recall), 1, 8
	fit := learn.Fitting{TrainOptions: h.Options(1), OnePass: true}
	fit.Shape.Embedding, fit.Embeddings = 4, embeddings{}
	for range 2 {
		head, _, err := learn.Fit(t.Context(), said(t, 4), fit)
		if err != nil {
			t.Fatal(err)
		}
		if head.Advantages() != nil || head.Shape().Embedding != 4 {
			t.Errorf("%+v with a table: %v", head.Shape(), head.Advantages() != nil)
		}
		fit = learn.Fitting{TrainOptions: valuehead.TrainOptions{Kind: head.Kind(), Shape: head.Shape(), From: head, Epochs: 1, Embeddings: embeddings{}}}
	}
}
