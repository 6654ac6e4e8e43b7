package head_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/safetensors"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// convert makes a GGUF of a checkpoint's trunk, as llama.cpp's converter does of a Llama or Qwen3, with a
// vocabulary of bytes.
func convert(t *testing.T, folder, out string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Type    string  `json:"model_type"`
		Width   int     `json:"hidden_size"`
		Hidden  int     `json:"intermediate_size"`
		Layers  int     `json:"num_hidden_layers"`
		Heads   int     `json:"num_attention_heads"`
		KVHeads int     `json:"num_key_value_heads"`
		Head    int     `json:"head_dim"`
		Context int     `json:"max_position_embeddings"`
		Eps     float32 `json:"rms_norm_eps"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	if config.Head == 0 {
		config.Head = config.Width / config.Heads
	}
	var kvs []gguf.KV
	key := func(name string, v any) { kvs = append(kvs, gguf.KV{Key: name, Value: v}) }
	of := func(name string, v any) { key(config.Type+"."+name, v) }
	key("general.architecture", config.Type)
	of("context_length", uint32(config.Context))
	of("embedding_length", uint32(config.Width))
	of("block_count", uint32(config.Layers))
	of("feed_forward_length", uint32(config.Hidden))
	of("attention.head_count", uint32(config.Heads))
	of("attention.head_count_kv", uint32(config.KVHeads))
	of("attention.key_length", uint32(config.Head))
	of("attention.value_length", uint32(config.Head))
	of("attention.layer_norm_rms_epsilon", config.Eps)
	of("rope.dimension_count", uint32(config.Head))
	of("rope.freq_base", float32(10000))
	tokens, scores, kinds := []string{"<unk>", "<s>", "</s>"}, make([]float32, 3+256), []int32{2, 3, 3}
	for b := range 256 {
		tokens, kinds = append(tokens, fmt.Sprintf("<0x%02X>", b)), append(kinds, 6)
	}
	key("tokenizer.ggml.model", "llama")
	key("tokenizer.ggml.tokens", tokens)
	key("tokenizer.ggml.scores", scores)
	key("tokenizer.ggml.token_type", kinds)
	key("tokenizer.ggml.bos_token_id", uint32(1))
	key("tokenizer.ggml.eos_token_id", uint32(2))
	key("tokenizer.ggml.unknown_token_id", uint32(0))
	key("tokenizer.ggml.add_bos_token", true)
	key("tokenizer.ggml.add_eos_token", false)
	key("tokenizer.ggml.add_space_prefix", false)

	c, err := safetensors.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []gguf.Tensor
	// heads > 0 says that the rows are those of so many heads whose halves Llama's GGUF has interleaved.
	add := func(from, to string, heads int) {
		x, err := c.Tensor(from)
		if err != nil {
			t.Fatal(err)
		}
		data, err := x.Floats()
		if err != nil {
			t.Fatal(err)
		}
		shape := []uint64{uint64(x.Shape[0])}
		if len(x.Shape) == 2 {
			shape = []uint64{uint64(x.Shape[1]), uint64(x.Shape[0])}
		}
		if heads > 0 && config.Type == "llama" {
			width, rows := x.Shape[1], x.Shape[0]/heads
			moved := make([]float32, len(data))
			for h := range heads {
				for i := range rows {
					row := i/2 + i%2*rows/2
					copy(moved[(h*rows+i)*width:], data[(h*rows+row)*width:][:width])
				}
			}
			data = moved
		}
		tensors = append(tensors, gguf.Tensor{Name: to + ".weight", Shape: shape, Data: data})
	}
	add("model.embed_tokens.weight", "token_embd", 0)
	add("model.norm.weight", "output_norm", 0)
	for i := range config.Layers {
		from, to := fmt.Sprintf("model.layers.%d.", i), fmt.Sprintf("blk.%d.", i)
		add(from+"input_layernorm.weight", to+"attn_norm", 0)
		add(from+"self_attn.q_proj.weight", to+"attn_q", config.Heads)
		add(from+"self_attn.k_proj.weight", to+"attn_k", config.KVHeads)
		add(from+"self_attn.v_proj.weight", to+"attn_v", 0)
		add(from+"self_attn.o_proj.weight", to+"attn_output", 0)
		add(from+"post_attention_layernorm.weight", to+"ffn_norm", 0)
		add(from+"mlp.gate_proj.weight", to+"ffn_gate", 0)
		add(from+"mlp.up_proj.weight", to+"ffn_up", 0)
		add(from+"mlp.down_proj.weight", to+"ffn_down", 0)
		if config.Type == "qwen3" {
			add(from+"self_attn.q_norm.weight", to+"attn_q_norm", 0)
			add(from+"self_attn.k_norm.weight", to+"attn_k_norm", 0)
		}
	}
	if err := gguf.Write(out, kvs, tensors); err != nil {
		t.Fatal(err)
	}
}

// exact is the score of an answer by a state that was computed with a cache of F32.
func exact(t *testing.T, h *head.Head, m *llama.Model, a head.Answer) float64 {
	t.Helper()
	encoder, err := prompt.NewEncoder(m, prompt.Options{Template: h.Trunk.Template})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := encoder.Conversation([]llama.Message{{Role: "user", Content: a.Prompt.Text}, {Role: "assistant", Content: a.Response}}, false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.NewContext(llama.ContextParams{Ctx: 512, Threads: 1, Embeddings: true, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, token := range tokens {
		if _, err := c.Add(token, int32(i), 0, i == len(tokens)-1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Decode(); err != nil {
		t.Fatal(err)
	}
	row, err := c.Row(0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := h.Reward(head.States{Hidden: row.Hidden})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The scores of an imported head on the converted trunk are those that transformers' own forward pass
// gives the checkpoint: scripts/agree/rewardmodel.py made both.
func TestAgreesWithTransformers(t *testing.T) {
	for _, name := range []string{"llama", "qwen3"} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join("testdata", "transformers", name)
			text, err := os.ReadFile(filepath.Join(folder, "scores.json"))
			if err != nil {
				t.Fatal(err)
			}
			var reference struct {
				Scores []struct {
					Prompt, Response string
					Score            float64
				}
			}
			if err := json.Unmarshal(text, &reference); err != nil || len(reference.Scores) < 6 {
				t.Fatal(len(reference.Scores), err)
			}
			trunk := filepath.Join(t.TempDir(), "trunk.gguf")
			convert(t, folder, trunk)
			h, err := head.Import(folder)
			if err != nil {
				t.Fatal(err)
			}
			m := load(t, trunk)
			s, err := head.NewScorer(h, m)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var all []head.Answer
			for _, r := range reference.Scores {
				all = append(all, head.Answer{Prompt: prompt.Record{ID: r.Prompt, Text: r.Prompt}, Response: r.Response})
			}
			got, err := s.Score(t.Context(), all)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range reference.Scores {
				if got := exact(t, h, m, all[i]); !(math.Abs(got-r.Score) < 1e-4) {
					t.Errorf("%q to %q: got %v, transformers says %v", r.Response, r.Prompt, got, r.Score)
				}
				// Scorers cache F16; the scores of these spread over two.
				if got[i].Err != nil || !(math.Abs(got[i].Value-r.Score) < 0.03) {
					t.Errorf("%q to %q: the scorer gives %v (%v), transformers %v", r.Response, r.Prompt, got[i].Value, got[i].Err, r.Score)
				}
			}
		})
	}
}
