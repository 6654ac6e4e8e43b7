package head_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/testcheckpoint"
	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

const lab = "../../../testdata/lab/summarize-s.gguf"

func load(t *testing.T, path string) *llama.Model {
	t.Helper()
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// gains are those of a model's final norm.
func gains(t *testing.T, m *llama.Model) []float32 {
	t.Helper()
	x, err := m.Metadata().ReadF32("output_norm.weight")
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// answers are several to a prompt and one to others, of all lengths: some are computed together,
// some alone, and a prompt with an answer is longer than a batch where the model has room for it.
func answers(m *llama.Model) []head.Answer {
	plain := func(id, text string) prompt.Record { return prompt.Record{ID: id, Text: text} }
	talk := prompt.Record{ID: "talk", Messages: []llama.Message{{Role: "user", Content: "Hi."}, {Role: "assistant", Content: "Hello!"}, {Role: "user", Content: "What is a sea?"}}}
	long := strings.Repeat("i bought a red bell at work. ", min(70, m.Info().ContextTrain/24))
	return []head.Answer{
		{Prompt: plain("a", "How are you?"), Response: "I am well."},
		{Prompt: plain("a", "How are you?"), Response: "I am not so well today, and you?"},
		{Prompt: plain("a", "How are you?")},
		{Prompt: talk, Response: "Much water."},
		{Prompt: plain("b", long), Response: "bought a red bell"},
		{Prompt: plain("b", long), Response: "bought a blue bell"},
		{Prompt: talk, Response: "Much water."},
	}
}

// states decodes conversations one by one, each from an empty context whose tapped layer is the state
// after the final norm, and returns those at the last token and, for a gate, at the end of the prompt.
func states(t *testing.T, m *llama.Model, a head.Answer, gate bool) (last, asked []float32) {
	t.Helper()
	encoder, err := prompt.NewEncoder(m, prompt.Options{Chat: true})
	if err != nil {
		t.Fatal(err)
	}
	messages := a.Prompt.Messages
	if messages == nil {
		messages = []llama.Message{{Role: "user", Content: a.Prompt.Text}}
	}
	closed, err := encoder.Conversation(messages, false)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := encoder.Conversation(append(messages[:len(messages):len(messages)], llama.Message{Role: "assistant", Content: a.Response}), false)
	if err != nil {
		t.Fatal(err)
	}
	if gate {
		asked = stateAt(t, m, tokens, len(closed)-1)
	}
	return stateAt(t, m, tokens, len(tokens)-1), asked
}

// stateAt is the state after the final norm at a position of a text.
func stateAt(t *testing.T, m *llama.Model, tokens []int32, at int) []float32 {
	t.Helper()
	return statesFrom(t, m, tokens[:at+1], at, m.Info().Layers)[0]
}

// statesFrom are the states of some layers from a position of a text on.
func statesFrom(t *testing.T, m *llama.Model, tokens []int32, from int, layers ...int) (rows [][]float32) {
	t.Helper()
	c, err := m.NewContext(llama.ContextParams{Ctx: len(tokens), Layers: layers, Threads: 1, Flash: llama.FlashOff})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for pos, token := range tokens {
		if _, err := c.Add(token, int32(pos), 0, pos >= from, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Decode(); err != nil {
		t.Fatal(err)
	}
	for i := range len(tokens) - from {
		row, err := c.Row(i)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, slices.Clone(row.States))
	}
	return rows
}

// linear is W x + b in double precision, of tensors as they stand in a checkpoint.
func linear(w testcheckpoint.Tensor, b []float32, x []float64) []float64 {
	y := make([]float64, w.Shape[0])
	for i := range y {
		for j, v := range x {
			y[i] += v * float64(w.Values[i*len(x)+j])
		}
		if b != nil {
			y[i] += float64(b[i])
		}
	}
	return y
}

func relu(x []float64) []float64 {
	for i := range x {
		x[i] = max(0, x[i])
	}
	return x
}

func wide(x []float32) (y []float64) {
	for _, v := range x {
		y = append(y, float64(v))
	}
	return y
}

// layout is a public layout of reward checkpoints: what they say of their trunk, and their head with
// what it makes of states, written down a second time.
type layout struct {
	architecture, modelType, trunk string
	head                           func(rng *rand.Rand, kind string, width int) ([]testcheckpoint.Tensor, map[string]any, func(last, asked []float64) float64)
}

func score(rng *rand.Rand, kind string, width int) ([]testcheckpoint.Tensor, map[string]any, func(last, asked []float64) float64) {
	w := testcheckpoint.Random(rng, kind, "score.weight", 1, width)
	return []testcheckpoint.Tensor{w}, nil, func(last, _ []float64) float64 { return linear(w, nil, last)[0] }
}

func valueHead(rng *rand.Rand, kind string, width int) ([]testcheckpoint.Tensor, map[string]any, func(last, asked []float64) float64) {
	w := testcheckpoint.Random(rng, kind, "v_head.summary.0.weight", 8, width)
	b := testcheckpoint.Random(rng, kind, "v_head.summary.0.bias", 8)
	v := testcheckpoint.Random(rng, kind, "v_head.summary.2.weight", 1, 8)
	c := testcheckpoint.Random(rng, kind, "v_head.summary.2.bias", 1)
	return []testcheckpoint.Tensor{v, c, w, b}, nil, func(last, _ []float64) float64 {
		return linear(v, c.Values, relu(linear(w, b.Values, last)))[0]
	}
}

func gated(rng *rand.Rand, kind string, width int) ([]testcheckpoint.Tensor, map[string]any, func(last, asked []float64) float64) {
	w := testcheckpoint.Random(rng, kind, "regression_layer.weight", 3, width)
	m := testcheckpoint.Random(rng, kind, "reward_transform_matrix", 3, 3)
	g := testcheckpoint.Random(rng, kind, "gating.layers.0.weight", 8, width)
	gb := testcheckpoint.Random(rng, kind, "gating.layers.0.bias", 8)
	o := testcheckpoint.Random(rng, kind, "gating.layers.1.weight", 3, 8)
	scale := testcheckpoint.Tensor{Name: "gating.logit_scale", Type: kind, Shape: []int{1}, Values: []float32{1.5}}
	return []testcheckpoint.Tensor{w, m, g, gb, o, scale}, map[string]any{"gating_temperature": 2}, func(last, asked []float64) float64 {
		r := linear(w, nil, last)
		gate := linear(o, nil, relu(linear(g, gb.Values, asked)))
		sum, total := 0.0, 0.0
		for k := range gate {
			e := math.Exp(gate[k] / 2)
			total += e
			for i := range r { // r M
				sum += e * r[i] * float64(m.Values[i*3+k])
			}
		}
		return 1.5 * sum / total
	}
}

var layouts = map[string]layout{
	"llama":       {"LlamaForSequenceClassification", "llama", "llama", score},
	"qwen3":       {"Qwen3ForSequenceClassification", "qwen3", "qwen3", score},
	"gemma2":      {"Gemma2ForSequenceClassification", "gemma2", "gemma2", score},
	"value head":  {"LlamaForCausalLMWithValueHead", "llama", "llama", valueHead},
	"gated":       {"LlamaForRewardModelWithGating", "llama", "llama", gated},
	"other model": {"OtherForSequenceClassification", "other", "", score},
}

// checkpoint writes a checkpoint of a layout for the trunk m.
func (l layout) checkpoint(t *testing.T, dir string, m *llama.Model, kind string, shards int) (reward func(last, asked []float64) float64) {
	rng := rand.New(rand.NewPCG(1, uint64(len(kind))))
	width := m.Info().Width
	tensors, config, reward := l.head(rng, kind, width)
	norm := testcheckpoint.Tensor{Name: "model.norm.weight", Type: "F32", Shape: []int{width}, Values: gains(t, m)}
	if strings.HasPrefix(l.trunk, "gemma") {
		for i := range norm.Values {
			norm.Values[i]--
		}
	}
	all := append([]testcheckpoint.Tensor{
		testcheckpoint.Random(rng, kind, "model.layers.0.self_attn.q_proj.weight", width, width), norm,
	}, tensors...)
	merged := map[string]any{"architectures": []string{l.architecture}, "model_type": l.modelType, "hidden_size": width, "vocab_size": m.Info().Vocab}
	for k, v := range config {
		merged[k] = v
	}
	if path, err := testcheckpoint.Write(dir, shards, merged, all...); err != nil {
		t.Fatal(path, err)
	}
	return reward
}

// testRoundTrip imports a checkpoint, saves and loads its head, and holds what it says of answers
// against the same head in double precision on states that were decoded one by one.
func testRoundTrip(t *testing.T, m *llama.Model, l layout, kind string, shards int, all []head.Answer) {
	dir := t.TempDir()
	reward := l.checkpoint(t, dir, m, kind, shards)
	h, err := head.Import(dir)
	if err != nil {
		t.Fatal(err)
	}
	if h.Trunk.Architecture != l.trunk {
		t.Fatalf("got a trunk %q, want %q", h.Trunk.Architecture, l.trunk)
	}
	h.Trunk.Architecture = m.Info().Architecture
	path := filepath.Join(dir, "reward.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	if h, err = head.Load(path); err != nil {
		t.Fatal(err)
	}
	s, err := head.NewScorer(h, m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Score(context.Background(), all)
	if err != nil || len(got) != len(all) {
		t.Fatal(len(got), err)
	}
	for i, a := range all {
		last, asked := states(t, m, a, h.Gate != nil)
		if want := reward(wide(last), wide(asked)); got[i].Err != nil || !(math.Abs(got[i].Value-want) < 1e-3) {
			t.Errorf("answer %d: got %v (%v), want %v", i, got[i].Value, got[i].Err, want)
		}
	}
}

func TestScoresAreThoseOfTheCheckpoint(t *testing.T) {
	m := load(t, lab)
	for name, l := range layouts {
		for _, kind := range []string{"F32", "F16", "BF16"} {
			for _, shards := range []int{1, 3} {
				t.Run(fmt.Sprint(name, kind, shards), func(t *testing.T) { testRoundTrip(t, m, l, kind, shards, answers(m)) })
			}
		}
	}
}

// Samples of one prompt share it, more of them than one batch holds: each has the score that it has alone.
func TestSamplesShareTheirPrompt(t *testing.T) {
	m := load(t, lab)
	width := m.Info().Width
	rng := rand.New(rand.NewPCG(2, 2))
	h := &head.Head{
		Trunk:  head.Trunk{Width: width},
		Layers: []head.Layer{{In: width, Out: 2, Weight: testcheckpoint.Random(rng, "F32", "", 2, width).Values}},
		Gate:   &head.Gate{Layers: []head.Layer{{In: width, Out: 2, Weight: testcheckpoint.Random(rng, "F32", "", 2, width).Values}}, Temperature: 1, Scale: 1},
	}
	s, err := head.NewScorer(h, m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var all []head.Answer
	for i := range 100 {
		words := make([]string, 1+rng.IntN(40))
		for k := range words {
			words[k] = []string{"bought", "red", "bell", "lost", "drum", "and"}[rng.IntN(6)]
		}
		text := fmt.Sprint("i lost a bell. ", strings.Repeat("i bought a red bell at work. ", i/40*5))
		all = append(all, head.Answer{Prompt: prompt.Record{ID: fmt.Sprint(i / 40), Text: text}, Response: strings.Join(words, " ")})
	}
	together, err := s.Score(context.Background(), all)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range all {
		alone, err := s.Score(context.Background(), []head.Answer{a})
		if err != nil || alone[0].Err != nil || together[i].Err != nil {
			t.Fatal(alone, together[i], err)
		}
		if !(math.Abs(together[i].Value-alone[0].Value) < 1e-3) {
			t.Errorf("answer %d: %v among others, %v alone", i, together[i].Value, alone[0].Value)
		}
	}
}

func TestScoresOnARealModel(t *testing.T) {
	if testing.Short() {
		t.Skip("decodes with a real model")
	}
	m := load(t, testmodel.SmolLM2(t))
	testRoundTrip(t, m, layouts["value head"], "BF16", 2, answers(m)[1:5])
}
