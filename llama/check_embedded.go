//go:build !llama_system

package llama

import (
	"regexp"
	"slices"
	"strings"
)

// hasHeads says whether an architecture has attention heads in some layer (those that
// have not: llm_arch_is_recurrent).
func hasHeads(arch string) bool {
	return !slices.Contains([]string{"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}, arch)
}

// noMemory are the architectures that it gives no KV cache: encoders, and those that
// denoise a whole text at once. Some of their graphs read tensors that loading does not
// insist on.
var noMemory = []string{"bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert", "wavtokenizer-dec", "gemma-embedding",
	"dream", "llada", "llada-moe", "rnd1"}

// maxDims is the number of dimensions beyond which choosing a tensor's buffer would
// fail an assertion, before its shape is compared.
func maxDims(name string) int {
	switch {
	case strings.Contains(name, "exps."):
		return 3
	case strings.Contains(name, "attn_k_b."), strings.Contains(name, "attn_v_b."): // of multi-head latent attention: a matrix a head
		return 3
	case name == "token_embd.weight", name == "position_embd.weight", name == "output.weight", layerMatrix.MatchString(name):
		return 2
	}
	return 4
}

var layerMatrix = regexp.MustCompile(`^blk\.\d+\.(attn|ffn|ssm)_`)

// unreadable are architectures whose files the embedded llama.cpp cannot load, though it knows their names, with the reason.
var unreadable = map[string]string{
	"lfm2": "it looks for the norm before the output under a name that no file has",
}

// What the embedded llama.cpp takes for granted of an architecture without asking for it.
var (
	// integers that it divides by: one of those between bars must be there and not 0
	divisors = map[string][]string{
		"mamba2": {"ssm.group_count", "ssm.time_step_rank"}, "granitehybrid": {"ssm.group_count", "ssm.time_step_rank"},
		"nemotron_h": {"ssm.group_count", "ssm.time_step_rank", "expert_used_count|expert_feed_forward_length"}, "nemotron_h_moe": {"ssm.group_count", "ssm.time_step_rank", "expert_used_count|expert_feed_forward_length"},
		"falcon-h1": {"ssm.group_count", "ssm.time_step_rank"}, "plamo2": {"ssm.time_step_rank"}, "jamba": {"ssm.time_step_rank"},
		"qwen3next": {"ssm.group_count", "ssm.time_step_rank", "expert_used_count|expert_feed_forward_length"}, "afmoe": {"attention.sliding_window"},
		"ernie4_5-moe": {"interleave_moe_layer_step"}, "rwkv6": {"wkv.head_size"}, "rwkv7": {"wkv.head_size"},
		"rwkv6qwen2": {"wkv.head_size"}, "arwkv7": {"wkv.head_size"},
	}
	// tensors of every layer (%d) or of the model: one of those between bars must be there
	needed = map[string][]string{
		"qwen2vl":   {"blk.%d.attn_q.bias", "blk.%d.attn_k.bias", "blk.%d.attn_v.bias"},
		"phi3":      phi3,
		"phimoe":    phi3,
		"solar":     {"output.weight"},
		"falcon-h1": {"blk.%d.ssm_conv1d.bias"},
	}
	phi3 = []string{"blk.%d.attn_qkv.weight|blk.%d.attn_q.bias", "blk.%d.attn_qkv.weight|blk.%d.attn_k.bias", "blk.%d.attn_qkv.weight|blk.%d.attn_v.bias"}
)

// tokenizers are what tokenizer.ggml.model may name (llama-vocab.cpp).
var tokenizers = []string{"bert", "gpt2", "llama", "no_vocab", "none", "plamo2", "rwkv", "t5"}

// pretokenizers are what tokenizer.ggml.pre may name of a BPE vocabulary (llama-vocab.cpp).
// By any other name the embedded llama.cpp takes the default, with no more than a warning.
var pretokenizers = []string{
	"a.x-4.0", "afmoe", "bailingmoe", "bailingmoe2", "bloom", "chameleon", "chatglm-bpe", "codeshell", "command-r",
	"dbrx", "deepseek-coder", "deepseek-llm", "deepseek-r1-qwen", "deepseek-v3", "default", "exaone", "exaone4",
	"falcon", "falcon-h1", "falcon3", "gigachat", "glm4", "gpt-2", "gpt-4o", "gpt3-finnish", "granite-docling",
	"grok-2", "hunyuan", "hunyuan-dense", "jais", "jina-de", "jina-es", "jina-v1-en", "jina-v2-code", "jina-v2-de",
	"jina-v2-es", "kimi-k2", "kormo", "lfm2", "llada-moe", "llama-bpe", "llama-v3", "llama3", "llama4", "megrez",
	"mellum", "midm-2.0", "minerva-7b", "minimax-m2", "mpt", "olmo", "phi-2", "pixtral", "poro-chat", "qwen2", "refact",
	"roberta-bpe", "seed-coder", "smaug-bpe", "smollm", "stablelm2", "starcoder", "superbpe", "tekken", "trillion",
	"viking",
}
