package llama

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// Memory is what a model takes while it decodes, in bytes.
type Memory struct {
	Weights uint64 // of the file, mapped or read
	Cache   uint64 // keys and values of all cells, and the recurrent states of all sequences
	Compute uint64 // activations and logits of a micro-batch, roughly
}

// Total is the sum.
func (m Memory) Total() uint64 { return m.Weights + m.Cache + m.Compute }

// EstimateMemory says from a model's header alone what a context with these parameters
// will take. The cache is exact for models whose layers attend to all tokens or keep a state a
// sequence, and too large for those with a sliding window. Compute is within a factor of two where a model's
// layers are like Llama's.
func EstimateMemory(f *gguf.File, p ContextParams) (Memory, error) {
	const op = "estimate memory"
	arch := f.Str("general.architecture")
	number := func(key string) uint64 {
		n, _ := f.Int(arch + "." + key)
		return uint64(max(n, 0))
	}
	layers, width, heads := number("block_count"), number("embedding_length"), number("attention.head_count")
	if layers == 0 || width == 0 || layers > maxLayers || width > 1<<20 {
		return Memory{}, &Error{Op: op, Path: f.Path, Err: fmt.Errorf("%d layers of width %d", layers, width), Hint: "it is not a language model"}
	}
	if p.Ctx == 0 {
		p.Ctx = int(min(number("context_length"), maxCtx))
	}
	if p.Ctx < 0 || p.Ctx > maxCtx {
		return Memory{}, failf(op, hintCtx, "context size %d is not from 0 to %d", p.Ctx, maxCtx)
	}
	if !p.CacheK.known() || !p.CacheV.known() {
		return Memory{}, failf(op, "use the constants of this package", "cache types %d and %d", p.CacheK, p.CacheV)
	}
	if p.UBatch <= 0 {
		p.UBatch = 512
	}
	ubatch := uint64(min(p.UBatch, max(p.Ctx, 1)))
	var m Memory
	for _, part := range f.Parts() {
		for _, t := range part.Tensors {
			m.Weights += t.Size
		}
	}

	head := func(what string) uint64 {
		if n := number("attention." + what + "_length"); n > 0 {
			return n
		}
		return width / max(heads, 1)
	}
	cells := (uint64(p.Ctx) + 255) / 256 * 256 // llama.cpp's padding
	kvHeads := perLayer(f, arch+".attention.head_count_kv", layers, heads)
	recurrent := recurrentLayers(f, arch, int(layers))
	for i, n := range kvHeads {
		if recurrent == nil || !recurrent[i] {
			m.Cache += cells * (p.CacheK.size(n*head("key")) + p.CacheV.size(n*head("value")))
		} else {
			m.Cache += uint64(max(p.Sequences, 1)) * stateBytes(number)
		}
	}

	vocabulary, _ := f.Value("tokenizer.ggml.tokens").([]string)
	vocab := max(uint64(len(vocabulary)), number("vocab_size"))
	ff := slices.Max(perLayer(f, arch+".feed_forward_length", layers, 4*width))
	activations := 4 * ubatch * (4*width + 2*ff)
	if p.Flash == FlashOff {
		activations += 2 * 4 * ubatch * cells * max(heads, 1) // scores and their softmax
	}
	m.Compute = max(activations, 4*ubatch*(vocab+width)) + 4*ubatch*cells // the mask
	return m, nil
}

// recurrentLayers says which layers keep a state; nil where all attend.
func recurrentLayers(f *gguf.File, arch string, layers int) []bool {
	if _, ok := f.Int(arch + ".ssm.state_size"); !ok && f.Value(arch+".wkv.head_size") == nil && f.Value(arch+".shortconv.l_cache") == nil {
		return nil
	}
	out := slices.Repeat([]bool{true}, layers)
	interval, ok := f.Int(arch + ".full_attention_interval")
	if !ok && strings.HasPrefix(arch, "qwen3") {
		interval = 4
	}
	_, uniform := f.Int(arch + ".attention.head_count_kv")
	for i, n := range perLayer(f, arch+".attention.head_count_kv", uint64(layers), 0) {
		if interval > 0 {
			out[i] = (i+1)%int(interval) != 0
		} else if !uniform {
			out[i] = n == 0
		}
	}
	return out
}

// stateBytes is what a layer keeps of a sequence, in F32: the last inputs of its convolution, and its state.
func stateBytes(number func(string) uint64) uint64 {
	width := number("embedding_length")
	if n := number("shortconv.l_cache"); n > 0 {
		return 4 * (n - 1) * width
	}
	if n := number("wkv.head_size"); n > 0 {
		return 4 * (2 + n) * width
	}
	inner, state := number("ssm.inner_size"), number("ssm.state_size")
	return 4 * (state*inner + (max(number("ssm.conv_kernel"), 1)-1)*(inner+2*number("ssm.group_count")*state))
}

// perLayer is a hyperparameter that is either one number or an array of one a layer;
// otherwise is its default.
func perLayer(f *gguf.File, key string, layers, otherwise uint64) []uint64 {
	out := slices.Repeat([]uint64{otherwise}, int(layers))
	switch v := f.Value(key).(type) {
	case []int32:
		for i := range min(len(v), len(out)) {
			out[i] = uint64(max(v[i], 0))
		}
	case []uint32:
		for i := range min(len(v), len(out)) {
			out[i] = uint64(v[i])
		}
	default:
		if n, ok := f.Int(key); ok && n >= 0 {
			for i := range out {
				out[i] = uint64(n)
			}
		}
	}
	return out
}
