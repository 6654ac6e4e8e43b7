package head_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/testcheckpoint"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// random is a head that has all that heads may have.
func random() *head.Head {
	rng := rand.New(rand.NewPCG(3, 3))
	numbers := func(n int) []float32 { return testcheckpoint.Random(rng, "F32", "", n).Values }
	return &head.Head{
		Source: "a test", Padding: []int32{2}, Trunk: head.Trunk{Architecture: "llama", Width: 4, Vocabulary: 300, Template: "{{ messages[0].content }}", Norm: numbers(4)},
		Layers: []head.Layer{{In: 4, Out: 3, Weight: numbers(12), Bias: numbers(3)}, {In: 3, Out: 2, Weight: numbers(6)}},
		Gate:   &head.Gate{Layers: []head.Layer{{In: 4, Out: 2, Weight: numbers(8)}}, Temperature: 10, Scale: 1.25},
	}
}

// A file gives the head back, and any bit of it that is another gives an error: the padding between
// tensors alone means nothing.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "head.gguf")
	want := random()
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := head.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] ^= 4
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := head.Load(path); err == nil && !cmp.Equal(want, got) {
			t.Errorf("byte %d of %d: another head without an error", i, len(data))
		} else if err != nil && (!strings.Contains(err.Error(), path) || !strings.HasSuffix(err.Error(), ")")) {
			t.Errorf("byte %d: %v", i, err)
		}
		data[i] ^= 4
	}
}

// What does not fit is not saved.
func TestSaveRefuses(t *testing.T) {
	for name, spoil := range map[string]func(h *head.Head){
		"no layers":          func(h *head.Head) { h.Layers = nil },
		"two outputs":        func(h *head.Head) { h.Gate = nil },
		"gate of another":    func(h *head.Head) { h.Gate.Layers[0].Out, h.Gate.Layers[0].Weight = 1, make([]float32, 4) },
		"width":              func(h *head.Head) { h.Trunk.Width = 5 },
		"layers apart":       func(h *head.Head) { h.Layers[1].In = 2 },
		"bias":               func(h *head.Head) { h.Layers[0].Bias = h.Layers[0].Bias[:2] },
		"temperature":        func(h *head.Head) { h.Gate.Temperature = 0 },
		"norm of a stranger": func(h *head.Head) { h.Trunk.Norm = h.Trunk.Norm[:3] },
	} {
		t.Run(name, func(t *testing.T) {
			path, h := filepath.Join(t.TempDir(), "head.gguf"), random()
			spoil(h)
			if err := h.Save(path); err == nil {
				t.Error("saved")
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// A checkpoint that no head comes of is one error that says what to do.
func TestImportRefuses(t *testing.T) {
	config := func() map[string]any {
		return map[string]any{"architectures": []string{"LlamaForSequenceClassification"}, "model_type": "llama", "hidden_size": 8, "vocab_size": 20}
	}
	rng := rand.New(rand.NewPCG(5, 5))
	tensor := func(name string, shape ...int) testcheckpoint.Tensor {
		return testcheckpoint.Random(rng, "F16", name, shape...)
	}
	for name, tc := range map[string]struct {
		config  map[string]any
		tensors []testcheckpoint.Tensor
		more    map[string]string // files
		want    string
	}{
		"no head":             {tensors: []testcheckpoint.Tensor{tensor("lm_head.weight", 20, 8)}, want: "no reward head"},
		"adapter":             {tensors: []testcheckpoint.Tensor{tensor("base_model.model.score.weight", 1, 8)}, want: "no reward head"},
		"several outputs":     {tensors: []testcheckpoint.Tensor{tensor("score.weight", 5, 8)}, want: "5 outputs"},
		"other width":         {tensors: []testcheckpoint.Tensor{tensor("score.weight", 1, 9)}, want: "config.json"},
		"vector":              {tensors: []testcheckpoint.Tensor{tensor("score.weight", 8)}, want: "shape [8]"},
		"bias":                {tensors: []testcheckpoint.Tensor{tensor("score.weight", 1, 8), tensor("score.bias", 2)}, want: "2 numbers"},
		"layers apart":        {tensors: []testcheckpoint.Tensor{tensor("v_head.summary.0.weight", 4, 8), tensor("v_head.summary.2.weight", 1, 5)}, want: "layer 1"},
		"other vocabulary":    {tensors: []testcheckpoint.Tensor{tensor("score.weight", 1, 8), tensor("model.embed_tokens.weight", 21, 8)}, want: "vocab_size of 20"},
		"norm":                {tensors: []testcheckpoint.Tensor{tensor("score.weight", 1, 8), tensor("model.norm.weight", 7)}, want: "norm's 7"},
		"gate of another":     {tensors: []testcheckpoint.Tensor{tensor("regression_layer.weight", 3, 8), tensor("gating.layers.0.weight", 2, 8)}, want: "2 weights for 3 outputs"},
		"transform":           {tensors: []testcheckpoint.Tensor{tensor("regression_layer.weight", 3, 8), tensor("gating.layers.0.weight", 3, 8), tensor("reward_transform_matrix", 2, 2)}, want: "for 3 outputs"},
		"scale":               {tensors: []testcheckpoint.Tensor{tensor("regression_layer.weight", 3, 8), tensor("gating.layers.0.weight", 3, 8), tensor("gating.logit_scale", 2)}, want: "logit_scale"},
		"no width":            {config: map[string]any{"model_type": "llama"}, tensors: []testcheckpoint.Tensor{tensor("score.weight", 1, 8)}, want: "hidden_size of 0"},
		"reward token":        {config: map[string]any{"hidden_size": 8, "reward_token_id": 3}, tensors: []testcheckpoint.Tensor{tensor("v_head.weight", 1, 8)}, want: "reward_token_id"},
		"config of lists":     {more: map[string]string{"config.json": "[]"}, tensors: []testcheckpoint.Tensor{tensor("score.weight", 1, 8)}, want: "config.json"},
		"damaged tokenizer":   {more: map[string]string{"tokenizer_config.json": "{"}, tensors: []testcheckpoint.Tensor{tensor("score.weight", 1, 8)}, want: "tokenizer_config.json"},
		"gate without hidden": {config: map[string]any{"hidden_size": 8, "gating_temperature": -1}, tensors: []testcheckpoint.Tensor{tensor("regression_layer.weight", 3, 8), tensor("gating.layers.0.weight", 3, 8)}, want: "temperature -1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.config == nil {
				tc.config = config()
			}
			if _, err := testcheckpoint.Write(dir, 1, tc.config, tc.tensors...); err != nil {
				t.Fatal(err)
			}
			for file, content := range tc.more {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := head.Import(dir)
			var f *fault.Error
			if !errors.As(err, &f) || f.Hint == "" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with a hint and %q", err, tc.want)
			}
		})
	}
}

// The template that a checkpoint's tokenizer brings is the head's, in each of the forms that there are.
func TestTemplate(t *testing.T) {
	const want = "{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
	tokenizer := func(template any) string {
		text, err := json.Marshal(map[string]any{"chat_template": template, "eos_token": map[string]any{"content": "</s>"}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	type named map[string]string
	for name, tc := range map[string]struct{ file, content, want string }{
		"none":    {"tokenizer_config.json", `{"eos_token": null}`, ""},
		"text":    {"tokenizer_config.json", tokenizer(want), want},
		"several": {"tokenizer_config.json", tokenizer([]named{{"name": "tool_use", "template": "x"}, {"name": "default", "template": want}}), want},
		"file":    {"chat_template.jinja", want, want},
	} {
		dir := t.TempDir()
		tensor := testcheckpoint.Random(rand.New(rand.NewPCG(1, 1)), "F32", "score.weight", 1, 8)
		if _, err := testcheckpoint.Write(dir, 1, map[string]any{"hidden_size": 8}, tensor); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, tc.file), []byte(tc.content), 0o644); err != nil {
			t.Fatal(err)
		}
		h, err := head.Import(dir)
		if err != nil || h.Trunk.Template != tc.want {
			t.Errorf("%s: got %+v, %v", name, h, err)
		}
	}
}

// A head is none for a model that is not its trunk.
func TestStrangers(t *testing.T) {
	m := load(t, lab)
	info := m.Info()
	fits := func() *head.Head {
		return &head.Head{
			Trunk:  head.Trunk{Architecture: info.Architecture, Width: info.Width, Vocabulary: info.Vocab, Norm: gains(t, m)},
			Layers: []head.Layer{{In: info.Width, Out: 1, Weight: make([]float32, info.Width)}},
		}
	}
	for want, spoil := range map[string]func(h *head.Head){
		"":              func(*head.Head) {},
		"a qwen3":       func(h *head.Head) { h.Trunk.Architecture = "qwen3" },
		"states of":     func(h *head.Head) { h.Trunk.Width++ },
		"tokens":        func(h *head.Head) { h.Trunk.Vocabulary++ },
		"another train": func(h *head.Head) { h.Trunk.Norm[2] += 0.01 },
	} {
		h := fits()
		spoil(h)
		s, err := head.NewScorer(h, m)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if err == nil {
			s.Close()
		}
	}
}

// A conversation ends before tokens of padding, for classifiers: where a turn's last token is one, the
// state is that before it.
func TestPadding(t *testing.T) {
	m := load(t, lab)
	record := prompt.Record{ID: "a", Text: "So?"}
	encoder, err := prompt.NewEncoder(m, prompt.Options{Chat: true})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := encoder.Conversation([]llama.Message{{Role: "user", Content: "So?"}, {Role: "assistant", Content: "bought a bell"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	last := int(tokens[len(tokens)-1])
	for _, tc := range []struct {
		tensor string
		pad    any
		want   []int32
	}{{"score.weight", last, []int32{int32(last)}}, {"score.weight", nil, nil}, {"score.weight", -1, nil}, {"score.weight", []int{last}, nil}, {"v_head.summary.weight", last, nil}} {
		dir, w := t.TempDir(), testcheckpoint.Random(rand.New(rand.NewPCG(1, 1)), "F32", tc.tensor, 1, m.Info().Width)
		if _, err := testcheckpoint.Write(dir, 1, map[string]any{"hidden_size": m.Info().Width, "vocab_size": m.Info().Vocab, "pad_token_id": tc.pad}, w); err != nil {
			t.Fatal(err)
		}
		h, err := head.Import(dir)
		if err != nil || !slices.Equal(h.Padding, tc.want) {
			t.Fatalf("%+v: got %+v, %v", tc, h, err)
		}
		s, err := head.NewScorer(h, m)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got, err := s.Score(context.Background(), []head.Answer{{Prompt: record, Response: "bought a bell"}})
		if err != nil || got[0].Err != nil {
			t.Fatal(got, err)
		}
		end := len(tokens) - 1
		if tc.want != nil {
			end--
		}
		if want := linear(w, nil, wide(stateAt(t, m, tokens, end)))[0]; math.Abs(got[0].Value-want) > 1e-3 {
			t.Errorf("%+v: got %v, want %v", tc, got[0].Value, want)
		}
	}
}

// The gate reads the token that ends the prompt's last turn, whatever the template puts behind it.
func TestGateReadsTheEndOfTheTurn(t *testing.T) {
	m := load(t, lab)
	width := m.Info().Width
	rng := rand.New(rand.NewPCG(9, 9))
	numbers := func(n int) []float32 { return testcheckpoint.Random(rng, "F32", "", n).Values }
	asked := []llama.Message{{Role: "user", Content: "i lost a bell"}, {Role: "assistant", Content: "lost a bell"}, {Role: "user", Content: "i bought a drum"}}
	for _, template := range []string{
		"{% for m in messages %}{{ m.content }}{{ eos_token }}a{% endfor %}",
		"{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}",
	} {
		h := &head.Head{
			Trunk:  head.Trunk{Width: width, Template: template},
			Layers: []head.Layer{{In: width, Out: 2, Weight: numbers(2 * width)}},
			Gate:   &head.Gate{Layers: []head.Layer{{In: width, Out: 2, Weight: numbers(2 * width)}}, Temperature: 1, Scale: 1},
		}
		encoder, err := prompt.NewEncoder(m, prompt.Options{Template: template})
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := encoder.Conversation(append(slices.Clip(asked), llama.Message{Role: "assistant", Content: "bought a drum"}), false)
		if err != nil {
			t.Fatal(err)
		}
		var ends []int
		for i, token := range tokens {
			if token == m.EOS() {
				ends = append(ends, i)
			}
		}
		if len(ends) != 4 {
			t.Fatalf("%d turns end in %v", len(ends), tokens)
		}
		s, err := head.NewScorer(h, m)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got, err := s.Score(context.Background(), []head.Answer{{Prompt: prompt.Record{ID: "a", Messages: asked}, Response: "bought a drum"}})
		if err != nil || got[0].Err != nil {
			t.Fatal(got, err)
		}
		want, err := h.Reward(head.States{Hidden: stateAt(t, m, tokens, len(tokens)-1), Gate: stateAt(t, m, tokens, ends[2])})
		if err != nil || math.Abs(got[0].Value-want) > 1e-3 {
			t.Errorf("got %v, want %v, %v", got[0].Value, want, err)
		}
	}
}

// What is longer than the trunk has learned to read costs its own score, and a prompt that leaves no
// room for an answer is found before there is one.
func TestTooLong(t *testing.T) {
	m := load(t, lab)
	width := m.Info().Width
	s, err := head.NewScorer(&head.Head{Trunk: head.Trunk{Width: width}, Layers: []head.Layer{{In: width, Out: 1, Weight: make([]float32, width), Bias: []float32{7}}}}, m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	long := strings.Repeat("bell ", s.Limit())
	short := prompt.Record{ID: "short", Text: "So?"}
	ctx := context.Background()
	got, err := s.Score(ctx, []head.Answer{{Prompt: short, Response: long}, {Prompt: short, Response: "yes"}})
	if err != nil || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), "tokens of the reward model's") || got[1].Err != nil || got[1].Value != 7 {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := s.Check(ctx, []prompt.Record{short}); err != nil {
		t.Error(err)
	}
	if err := s.Check(ctx, []prompt.Record{short, {ID: "long", Text: long}}); err == nil || !strings.Contains(err.Error(), `prompt "long"`) {
		t.Errorf("got %v", err)
	}
	ended, cancel := context.WithCancelCause(ctx)
	why := errors.New("enough")
	cancel(why)
	if _, err := s.Score(ended, []head.Answer{{Prompt: short, Response: "yes"}}); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	none := []llama.Message{}
	if got, err := s.Score(ctx, []head.Answer{{Prompt: prompt.Record{ID: "none", Messages: none}, Response: "yes"}}); err != nil || got[0].Err != nil {
		t.Errorf("an answer alone is a conversation: got %+v, %v", got, err)
	}
}
