package llama_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// The models that the fuzzers damage: every kind of tokenizer and the shapes of
// network that llama.cpp loads by different ways, all so small that a thousand
// loads take seconds.
const (
	fuzzWidth  = 32
	fuzzHeads  = 4
	fuzzFF     = 48
	fuzzLayers = 2
	fuzzCtx    = 64
)

// fuzzBases are the names that fuzzModel knows.
var fuzzBases = []string{"llama", "qwen2", "bpe", "moe", "gpt2", "gemma2", "mamba", "wpm", "ugm", "rwkv", "plamo2", "none", "tied"}

// adapterBase is not a model but a LoRA adapter for the one called llama.
const adapterBase = "adapter"

// mutatedBases are all that the mutations damage.
var mutatedBases = append(slices.Clone(fuzzBases), adapterBase)

func fuzzAdapter() ([]gguf.KV, []gguf.Tensor) {
	const rank = 4
	w := &weights{rng: newRand()}
	_, vocab := fuzzVocabulary("llama")
	w.add("blk.0.attn_q.weight.lora_a", fuzzWidth, rank)
	w.add("blk.0.attn_q.weight.lora_b", rank, fuzzWidth)
	w.add("blk.1.ffn_down.weight.lora_a", fuzzFF, rank)
	w.add("blk.1.ffn_down.weight.lora_b", rank, fuzzWidth)
	w.add("token_embd.weight.lora_a", rank, vocab) // looked up: a row a token
	w.add("token_embd.weight.lora_b", rank, fuzzWidth)
	return []gguf.KV{
		{Key: "general.type", Value: "adapter"}, {Key: "general.architecture", Value: "llama"}, {Key: "adapter.type", Value: "lora"},
		{Key: "adapter.lora.alpha", Value: float32(8)}, {Key: "adapter.lora.task_name", Value: "x"},
	}, w.tensors
}

// fuzzModel builds an undamaged model.
func fuzzModel(base string) ([]gguf.KV, []gguf.Tensor) {
	arch, tokenizer := "llama", "llama"
	switch base {
	case "qwen2", "gpt2", "gemma2", "mamba":
		arch = base
	case "wpm", "ugm", "rwkv", "plamo2", "none":
		tokenizer = base
	}
	if base == "bpe" || base == "qwen2" || base == "gpt2" {
		tokenizer = "gpt2"
	}
	vocab, size := fuzzVocabulary(tokenizer)

	w := &weights{rng: newRand()}
	kvs := []gguf.KV{
		{Key: "general.architecture", Value: arch},
		{Key: "general.name", Value: base},
		{Key: "general.alignment", Value: uint32(32)},
		{Key: arch + ".context_length", Value: uint32(fuzzCtx)},
		{Key: arch + ".embedding_length", Value: uint32(fuzzWidth)},
		{Key: arch + ".block_count", Value: uint32(fuzzLayers)},
		{Key: arch + ".feed_forward_length", Value: uint32(fuzzFF)},
		{Key: arch + ".vocab_size", Value: uint32(size)},
	}
	key := func(name string, v any) { kvs = append(kvs, gguf.KV{Key: arch + "." + name, Value: v}) }
	if arch != "mamba" {
		key("attention.head_count", uint32(fuzzHeads))
		key("attention.head_count_kv", uint32(fuzzHeads/2))
	}
	key("attention.layer_norm_rms_epsilon", float32(1e-5))

	w.add("token_embd.weight", fuzzWidth, size)
	w.norm("output_norm", arch == "gpt2")
	if base != "tied" && arch != "gemma2" {
		w.add("output.weight", fuzzWidth, size)
	}
	switch arch {
	case "gpt2":
		key("attention.layer_norm_epsilon", float32(1e-5))
		kvs = without(kvs, arch+".attention.head_count_kv") // it has no groups
		w.add("position_embd.weight", fuzzWidth, fuzzCtx)
	case "mamba":
		key("ssm.conv_kernel", uint32(4))
		key("ssm.inner_size", uint32(2*fuzzWidth))
		key("ssm.state_size", uint32(8))
		key("ssm.time_step_rank", uint32(2))
	case "gemma2":
		key("attention.sliding_window", uint32(16))
		key("attn_logit_softcapping", float32(50))
		key("final_logit_softcapping", float32(30))
		key("attention.key_length", uint32(fuzzWidth/fuzzHeads))
		key("attention.value_length", uint32(fuzzWidth/fuzzHeads))
	case "llama":
		key("rope.dimension_count", uint32(fuzzWidth/fuzzHeads))
		key("rope.freq_base", float32(10000))
		key("rope.scaling.type", "yarn")
		key("rope.scaling.factor", float32(2))
		key("rope.scaling.original_context_length", uint32(fuzzCtx/2))
	}
	if base == "moe" {
		key("expert_count", uint32(4))
		key("expert_used_count", uint32(2))
	}
	for l := range fuzzLayers {
		w.layer(arch, fmt.Sprintf("blk.%d.", l), base == "moe")
	}
	return append(kvs, vocab...), w.tensors
}

// weights collects random tensors.
type weights struct {
	rng     *rand.Rand
	tensors []gguf.Tensor
}

func (w *weights) add(name string, shape ...uint64) {
	n := uint64(1)
	for _, d := range shape {
		n *= d
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(0.2 * w.rng.NormFloat64())
	}
	w.tensors = append(w.tensors, gguf.Tensor{Name: name, Shape: shape, Data: data})
}

func (w *weights) norm(name string, bias bool) {
	w.add(name+".weight", fuzzWidth)
	if bias {
		w.add(name+".bias", fuzzWidth)
	}
}

func (w *weights) layer(arch, p string, experts bool) {
	const kv = fuzzWidth / 2
	w.norm(p+"attn_norm", arch == "gpt2")
	switch arch {
	case "mamba":
		const inner, state, rank = 2 * fuzzWidth, 8, 2
		w.add(p+"ssm_in.weight", fuzzWidth, 2*inner)
		w.add(p+"ssm_conv1d.weight", 4, inner)
		w.add(p+"ssm_conv1d.bias", inner)
		w.add(p+"ssm_x.weight", inner, rank+2*state)
		w.add(p+"ssm_dt.weight", rank, inner)
		w.add(p+"ssm_dt.bias", inner)
		w.add(p+"ssm_a", state, inner)
		w.add(p+"ssm_d", inner)
		w.add(p+"ssm_out.weight", inner, fuzzWidth)
		return
	case "gpt2":
		w.add(p+"attn_qkv.weight", fuzzWidth, 3*fuzzWidth)
		w.add(p+"attn_qkv.bias", 3*fuzzWidth)
		w.add(p+"attn_output.weight", fuzzWidth, fuzzWidth)
		w.add(p+"attn_output.bias", fuzzWidth)
		w.norm(p+"ffn_norm", true)
		w.add(p+"ffn_up.weight", fuzzWidth, fuzzFF)
		w.add(p+"ffn_up.bias", fuzzFF)
		w.add(p+"ffn_down.weight", fuzzFF, fuzzWidth)
		w.add(p+"ffn_down.bias", fuzzWidth)
		return
	case "gemma2":
		w.norm(p+"post_attention_norm", false)
		w.norm(p+"post_ffw_norm", false)
	case "qwen2":
		w.add(p+"attn_q.bias", fuzzWidth)
		w.add(p+"attn_k.bias", kv)
		w.add(p+"attn_v.bias", kv)
	}
	w.add(p+"attn_q.weight", fuzzWidth, fuzzWidth)
	w.add(p+"attn_k.weight", fuzzWidth, kv)
	w.add(p+"attn_v.weight", fuzzWidth, kv)
	w.add(p+"attn_output.weight", fuzzWidth, fuzzWidth)
	w.norm(p+"ffn_norm", false)
	if experts {
		w.add(p+"ffn_gate_inp.weight", fuzzWidth, 4)
		w.add(p+"ffn_gate_exps.weight", fuzzWidth, fuzzFF, 4)
		w.add(p+"ffn_down_exps.weight", fuzzFF, fuzzWidth, 4)
		w.add(p+"ffn_up_exps.weight", fuzzWidth, fuzzFF, 4)
		return
	}
	w.add(p+"ffn_gate.weight", fuzzWidth, fuzzFF)
	w.add(p+"ffn_up.weight", fuzzWidth, fuzzFF)
	w.add(p+"ffn_down.weight", fuzzFF, fuzzWidth)
}

// without drops the entry called key.
func without(kvs []gguf.KV, key string) []gguf.KV {
	var out []gguf.KV
	for _, kv := range kvs {
		if kv.Key != key {
			out = append(out, kv)
		}
	}
	return out
}

// The kinds of token (enum llama_token_type).
const (
	normalToken, unknownToken, controlToken = 1, 2, 3
	userToken, byteToken                    = 4, 6
)

// fuzzVocabulary is a small vocabulary of the given tokenizer (the values of
// tokenizer.ggml.model, wpm and ugm standing for bert and t5) and its size.
func fuzzVocabulary(kind string) ([]gguf.KV, uint64) {
	var tokens []string
	var types []int32
	add := func(kind int32, texts ...string) {
		for _, s := range texts {
			tokens, types = append(tokens, s), append(types, kind)
		}
	}
	words := []string{"a", "b", "c", "ab", "abc"}
	model := map[string]string{"wpm": "bert", "ugm": "t5"}[kind]
	if model == "" {
		model = kind
	}
	kvs := []gguf.KV{{Key: "tokenizer.ggml.model", Value: model}}
	key := func(name string, v any) { kvs = append(kvs, gguf.KV{Key: "tokenizer." + name, Value: v}) }
	special := map[string]int{"bos": 1, "eos": 2, "unknown": 0}
	switch kind {
	case "none":
		return kvs, 40
	case "gpt2":
		for b := range 256 {
			add(normalToken, byteText(byte(b)))
		}
		add(normalToken, "ab", "abc", byteText(' ')+"a")
		special = map[string]int{"bos": len(tokens), "eos": len(tokens) + 1}
		add(controlToken, "<|endoftext|>", "<|im_end|>")
		add(userToken, "<tool>")
		key("ggml.pre", "llama-bpe")
		key("ggml.merges", []string{"a b", "ab c", byteText(' ') + " a"})
	case "wpm":
		add(controlToken, "[PAD]")
		for i := range 99 {
			add(5, fmt.Sprintf("[unused%d]", i))
		}
		add(controlToken, "[UNK]", "[CLS]", "[SEP]", "[MASK]")
		for _, s := range words {
			add(normalToken, "▁"+s, s)
		}
		special = map[string]int{"cls": 101, "seperator": 102, "unknown": 100, "mask": 103}
	case "ugm":
		add(controlToken, "<pad>", "</s>")
		add(unknownToken, "<unk>")
		add(normalToken, "▁")
		for _, s := range words {
			add(normalToken, "▁"+s, s)
		}
		special = map[string]int{"eos": 1, "unknown": 2, "padding": 0}
		key("ggml.precompiled_charsmap", charsmap())
	case "rwkv":
		add(normalToken, "<s>")
		for b := 1; b < 256; b++ {
			add(normalToken, fmt.Sprintf(`\x%02x`, b))
		}
		add(normalToken, "ab", `a\tb`)
		special = map[string]int{"eos": 0}
	default: // llama, plamo2
		add(unknownToken, "<unk>")
		add(controlToken, "<s>", "</s>", "<pad>")
		for b := range 256 {
			add(byteToken, fmt.Sprintf("<0x%02X>", b))
		}
		add(normalToken, "▁")
		for _, s := range words {
			add(normalToken, "▁"+s, s)
		}
		add(userToken, "<tool>")
	}
	scores := make([]float32, len(tokens))
	for i := range scores {
		scores[i] = -float32(i)
	}
	key("ggml.tokens", tokens)
	key("ggml.scores", scores)
	key("ggml.token_type", types)
	for _, name := range []string{"bos", "eos", "unknown", "seperator", "padding", "cls", "mask"} {
		if id, ok := special[name]; ok {
			key("ggml."+name+"_token_id", uint32(id))
		}
	}
	key("ggml.add_bos_token", kind != "ugm" && kind != "rwkv")
	key("ggml.add_eos_token", false)
	key("chat_template", "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}")
	return kvs, uint64(len(tokens))
}

// byteText is the character by which a GPT-2 vocabulary writes a byte.
func byteText(b byte) string {
	printable := func(b byte) bool { return b > ' ' && b < 0x7f || b > 0xa0 && b != 0xad }
	if printable(b) {
		return string(rune(b))
	}
	n := 0
	for c := range b {
		if !printable(c) {
			n++
		}
	}
	return string(rune(256 + n))
}

// charsmap is a SentencePiece normalizer (precompiled_charsmap) without rules: the
// size of a double array of one empty cell, the cell, and no replacements.
func charsmap() []uint8 {
	return []uint8(strings.Join([]string{"\x00\x04\x00\x00", strings.Repeat("\x00", 1024), "\x00"}, ""))
}
