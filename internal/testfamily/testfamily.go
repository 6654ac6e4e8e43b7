// Package testfamily writes models of many architectures for tests: as small as llama.cpp takes them, with
// random weights, in the layouts in which published models come. They have no wisdom, but all of the
// machinery: sliding windows, experts, recurrent states, attention between them.
package testfamily

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// Memory is what a model remembers a text by.
type Memory string

const (
	Attention Memory = "attention"      // all tokens, by their keys and values
	Window    Memory = "sliding window" // in some layers the last few tokens alone
	Recurrent Memory = "recurrent"      // one state, which each token changes
	Hybrid    Memory = "hybrid"         // a state in some layers, keys and values in the others
)

// Family is an architecture that a model can be made of.
type Family struct {
	Architecture string // general.architecture
	Models       string // some that come in it
	Memory       Memory
	build        func(*build)
}

// Families are all of them.
var Families = []Family{
	{"llama", "Llama, Mistral, SmolLM2", Attention, llama},
	{"qwen2", "Qwen2, Qwen2.5", Attention, qwen2},
	{"qwen3", "Qwen3", Attention, qwen3},
	{"qwen3moe", "Qwen3 with experts", Attention, qwen3moe},
	{"qwen3next", "Qwen3-Next", Hybrid, qwen3next},
	{"qwen35", "Qwen3.5", Hybrid, qwen35},
	{"gemma3", "Gemma 3", Window, gemma3},
	{"gemma4", "Gemma 4", Window, gemma4},
	{"phi3", "Phi-3, Phi-4", Attention, phi3},
	{"gpt-oss", "gpt-oss", Window, gptOSS},
	{"lfm2", "LFM2", Hybrid, lfm2},
	{"granitehybrid", "Granite 4", Hybrid, graniteHybrid},
	{"mamba", "Mamba", Recurrent, mamba},
	{"rwkv7", "RWKV-7", Recurrent, rwkv7},
}

// Shape that all of them have.
const (
	Context    = 2048 // tokens
	WindowSize = 16   // tokens
	width      = 32
	heads      = 2
	kvHeads    = 1
	head       = 16 // the width of one
	ff         = 48
	experts    = 4
	expertFF   = 24
)

// words are the vocabulary beside letters.
var words = strings.Fields("the film was good bad dull and very a joy of it in my hat lamp red sold found is not")

// Write makes a model of the family. Seeds give different weights.
func (f Family) Write(path string, seed uint64) error {
	b := &build{arch: f.Architecture, rng: rand.New(rand.NewPCG(seed, 7))}
	b.kvs = []gguf.KV{
		{Key: "general.architecture", Value: f.Architecture},
		{Key: "general.name", Value: "random " + f.Architecture},
	}
	b.key("context_length", uint32(Context))
	b.width = width
	if f.Architecture == "rwkv7" {
		b.width = rwkvHead
	}
	b.key("embedding_length", uint32(b.width))
	vocabulary := b.vocabulary()
	b.key("vocab_size", uint32(vocabulary))
	b.add("token_embd.weight", b.width, vocabulary)
	for i := range b.add("output.weight", b.width, vocabulary) {
		b.tensors[len(b.tensors)-1].Data[i] *= 2 // a policy that prefers some tokens
	}
	f.build(b)
	return gguf.Write(path, b.kvs, b.tensors)
}

// build is a model in the making.
type build struct {
	arch    string
	width   uint64
	rng     *rand.Rand
	kvs     []gguf.KV
	tensors []gguf.Tensor
}

func (b *build) key(name string, v any) {
	b.kvs = append(b.kvs, gguf.KV{Key: b.arch + "." + name, Value: v})
}

// vocabulary adds one of the SentencePiece kind, without bytes so that every answer is a text, and returns its size.
func (b *build) vocabulary() uint64 {
	tokens, kinds := []string{"<unk>", "<s>", "</s>"}, []int32{2, 3, 3}
	add := func(text string) { tokens, kinds = append(tokens, text), append(kinds, 1) }
	add("▁")
	for c := 'a'; c <= 'z'; c++ {
		add(string(c))
	}
	for _, text := range []string{".", ",", "?"} {
		add(text)
	}
	for _, word := range words {
		add("▁" + word)
	}
	tokens, kinds = append(tokens, "<|endoftext|>"), append(kinds, 3) // phi3's vocabulary has to have it
	scores := make([]float32, len(tokens))
	for i := range scores {
		scores[i] = float32(len([]rune(tokens[i]))) - 100 // longer ones first
	}
	b.kvs = append(b.kvs,
		gguf.KV{Key: "tokenizer.ggml.model", Value: "llama"},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: tokens},
		gguf.KV{Key: "tokenizer.ggml.scores", Value: scores},
		gguf.KV{Key: "tokenizer.ggml.token_type", Value: kinds},
		gguf.KV{Key: "tokenizer.ggml.unknown_token_id", Value: uint32(0)},
		gguf.KV{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		gguf.KV{Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)},
	)
	return uint64(len(tokens))
}

// add makes a tensor of normal numbers, of a deviation that keeps states of about one; the gains of norms lie around 1.
func (b *build) add(name string, shape ...uint64) []float32 {
	n := uint64(1)
	for _, d := range shape {
		n *= d
	}
	data := make([]float32, n)
	for i := range data {
		switch x := b.rng.NormFloat64(); {
		case strings.Contains(name, "norm") && !strings.HasSuffix(name, ".bias"):
			data[i] = float32(1 + x/5)
		case len(shape) == 1:
			data[i] = float32(x / 5)
		case name == "token_embd.weight":
			data[i] = float32(x)
		default:
			data[i] = float32(x / math.Sqrt(float64(shape[0])))
		}
	}
	b.tensors = append(b.tensors, gguf.Tensor{Name: name, Shape: shape, Data: data})
	return data
}

// decay makes a tensor of negative numbers: what a state keeps of itself is exp of them, times a step.
func (b *build) decay(name string, shape ...uint64) {
	data := b.add(name, shape...)
	for i := range data {
		data[i] = -float32(math.Exp(float64(data[i])))
	}
}

func (b *build) norm(names ...string) {
	for _, name := range names {
		b.add(name+".weight", width)
	}
}

// blocks makes n layers, each by f of the prefix of its tensors' names.
func (b *build) blocks(n int, f func(i int, p string)) {
	b.key("block_count", uint32(n))
	b.key("attention.layer_norm_rms_epsilon", float32(1e-6))
	for i := range n {
		f(i, fmt.Sprintf("blk.%d.", i))
	}
}

// hasHeads writes down the shape of attention; kv are the heads of keys and values, one number or an array of one a layer.
func (b *build) hasHeads(kv any) {
	b.key("attention.head_count", uint32(heads))
	b.key("attention.head_count_kv", kv)
	b.key("attention.key_length", uint32(head))
	b.key("attention.value_length", uint32(head))
	b.key("rope.dimension_count", uint32(head))
	b.key("rope.freq_base", float32(10000))
}

// attention makes the projections of attention, q being the width of queries.
func (b *build) attention(p string, q uint64, bias bool) {
	for _, o := range []struct {
		name string
		n    uint64
	}{{"q", q}, {"k", kvHeads * head}, {"v", kvHeads * head}} {
		b.add(p+"attn_"+o.name+".weight", width, o.n)
		if bias {
			b.add(p+"attn_"+o.name+".bias", o.n)
		}
	}
	b.add(p+"attn_output.weight", heads*head, width)
}

func (b *build) headNorms(p string) {
	b.add(p+"attn_q_norm.weight", head)
	b.add(p+"attn_k_norm.weight", head)
}

func (b *build) feedForward(p string) {
	b.add(p+"ffn_gate.weight", width, ff)
	b.add(p+"ffn_up.weight", width, ff)
	b.add(p+"ffn_down.weight", ff, width)
}

func (b *build) hasExperts() {
	b.key("expert_count", uint32(experts))
	b.key("expert_used_count", uint32(2))
	b.key("expert_feed_forward_length", uint32(expertFF))
}

func (b *build) expertFeedForward(p string) {
	b.add(p+"ffn_gate_inp.weight", width, experts)
	b.add(p+"ffn_gate_exps.weight", width, expertFF, experts)
	b.add(p+"ffn_up_exps.weight", width, expertFF, experts)
	b.add(p+"ffn_down_exps.weight", expertFF, width, experts)
}
