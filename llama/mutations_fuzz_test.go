//go:build !llama_system

package llama_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// mutation damages a file in one way and says how.
type mutation func(*rand.Rand, *rawFile) string

// mutations are drawn from with equal weight; a kind that stands twice is likelier.
var mutations = []mutation{
	mutateValue, mutateValue, mutateValue, mutateValue, mutateValue, mutateValue,
	mutateKnownKey, mutateKnownKey, mutateKnownKey,
	mutateArray, mutateArray, mutateToken, mutateToken,
	mutateTensor, mutateTensor, mutateTensorType, mutateTensorType, mutateWeights,
	mutateDirectory, mutateMetadata, mutateContainer, mutateText, mutateArchitecture,
}

// mutate gives the damaged file of a base and seed, always the same, and what was
// done to it.
func mutate(base string, seed uint64) (file []byte, what string) {
	rng := rand.New(rand.NewPCG(seed, 0xbad))
	f := rawBase(base)
	if arch, ok := strings.CutPrefix(base, "grown "); ok {
		if f = rawGrown(arch); f == nil {
			return nil, "not grown"
		}
	}
	var done []string
	for range 1 + rng.IntN(3)*rng.IntN(2) {
		done = append(done, mutations[rng.IntN(len(mutations))](rng, f))
	}
	b := f.bytes()
	if rng.IntN(10) == 0 && len(b) > 0 {
		// Bytes of the header, whatever they mean.
		header := min(len(f.header()), len(b))
		for range 1 + rng.IntN(4) {
			at := rng.IntN(max(header, 1))
			v := byte(rng.IntN(256))
			done = append(done, fmt.Sprintf("byte %d %#x -> %#x", at, b[at], v))
			b[at] = v
		}
	}
	return b, strings.Join(done, "; ")
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// numbers are those at the borders of something.
var numbers = []int64{0, 1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 63, 64, 65, 100, 127, 128, 255, 256, 257, 511, 512, 513, 1000, 1024, 4096,
	65535, 65536, 1 << 20, 1 << 24, 1<<28 + 1, math.MaxInt32 - 1, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32 - 1, math.MaxUint32,
	math.MaxInt64, -1, -2, -32, math.MinInt32, math.MinInt64}

var texts = []string{"", " ", "a", "none", "llama", "gpt2", "bert", "t5", "rwkv", "plamo2", "no_vocab", "yarn", "linear", "longrope", "default",
	"phi-3", "mask", "\xff\xfe", "a\x00b", "\n", "ẞ水🙂", "%s%n%d", "{{", "chatml", strings.Repeat("x", 5000), "<s>", "</s>", "<0x0A>", "<0xZZ>", "<0x", "▁"}

// anyValue is a value of any type.
func anyValue(rng *rand.Rand) any {
	n := pick(rng, numbers)
	switch rng.IntN(16) {
	case 0:
		return uint8(n)
	case 1:
		return uint16(n)
	case 2:
		return int32(n)
	case 3:
		return uint64(n)
	case 4:
		return n
	case 5:
		return float32(pick(rng, []float64{0, -1, 1e-30, 1e30, math.Inf(1), math.NaN(), 0.5, 3}))
	case 6:
		return float64(n)
	case 7:
		return rng.IntN(2) == 0
	case 8:
		return pick(rng, texts)
	case 9:
		return []string{"a", "b"}
	case 10:
		return []float32{1, 2}
	case 11:
		return []int32{int32(n), 1}
	case 12:
		return []uint8{1, 2, 3}
	case 13:
		return []bool{true}
	}
	return uint32(n)
}

// mutateValue changes the value of an entry, keeping its type most of the time.
func mutateValue(rng *rand.Rand, f *rawFile) string {
	kv := &f.kvs[rng.IntN(len(f.kvs))]
	v := anyValue(rng)
	switch n := pick(rng, numbers); {
	case rng.IntN(4) == 0:
	case kv.typ == gguf.Uint32:
		v = uint32(n)
	case kv.typ == gguf.Float32:
		v = float32(pick(rng, []float64{0, -1, 1e-30, 1e30, math.Inf(1), math.Inf(-1), math.NaN(), 0.5, 3}))
	case kv.typ == gguf.String:
		v = pick(rng, texts)
	case kv.typ == gguf.Bool:
		v = rng.IntN(2) == 0
	}
	*kv = newKV(kv.key, v)
	return fmt.Sprintf("%s = %s", kv.key, show(v))
}

func show(v any) string {
	s := fmt.Sprintf("%T %q", v, fmt.Sprint(v))
	return s[:min(len(s), 60)]
}

// knownKeys are those that llama.cpp reads, beyond the ones the bases hold; %s is
// the architecture.
var knownKeys = []string{
	"%s.expert_count", "%s.expert_used_count", "%s.expert_group_count", "%s.expert_group_used_count", "%s.expert_shared_count",
	"%s.expert_weights_scale", "%s.expert_weights_norm", "%s.expert_gating_func", "%s.expert_feed_forward_length", "%s.leading_dense_block_count",
	"%s.attention.head_count", "%s.attention.head_count_kv", "%s.attention.key_length", "%s.attention.value_length", "%s.attention.sliding_window",
	"%s.attention.max_alibi_bias", "%s.attention.clamp_kqv", "%s.attention.scale", "%s.attention.causal", "%s.attention.layer_norm_epsilon",
	"%s.attention.layer_norm_rms_epsilon", "%s.attention.group_norm_groups", "%s.attention.relative_buckets_count", "%s.attention.temperature_length",
	"%s.attn_logit_softcapping", "%s.final_logit_softcapping", "%s.logit_scale", "%s.residual_scale", "%s.embedding_scale", "%s.use_parallel_residual",
	"%s.rope.dimension_count", "%s.rope.dimension_sections", "%s.rope.freq_base", "%s.rope.scale_linear", "%s.rope.scaling.type",
	"%s.rope.scaling.factor", "%s.rope.scaling.attn_factor", "%s.rope.scaling.original_context_length", "%s.rope.scaling.finetuned",
	"%s.rope.scaling.yarn_log_multiplier", "%s.rope.scaling.yarn_ext_factor", "%s.pooling_type", "%s.vocab_size", "%s.context_length", "%s.embedding_length", "%s.block_count",
	"%s.feed_forward_length", "%s.decoder_start_token_id", "%s.swin_norm", "%s.classifier.output_labels", "%s.ssm.conv_kernel",
	"%s.ssm.inner_size", "%s.ssm.state_size", "%s.ssm.time_step_rank", "%s.ssm.group_count", "%s.ssm.dt_b_c_rms", "%s.nextn_predict_layers", "%s.n_deepstack_layers",
	"general.alignment", "general.type", "general.file_type", "general.quantization_version", "general.name", "split.count", "split.no", "split.tensors.count",
	"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.token_type_count", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
	"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id", "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.seperator_token_id",
	"tokenizer.ggml.padding_token_id", "tokenizer.ggml.cls_token_id", "tokenizer.ggml.mask_token_id", "tokenizer.ggml.fim_pre_token_id",
	"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id",
	"tokenizer.ggml.fim_sep_token_id", "tokenizer.ggml.prefix_token_id", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token",
	"tokenizer.ggml.add_sep_token", "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.remove_extra_whitespaces",
	"tokenizer.ggml.precompiled_charsmap", "tokenizer.ggml.merges", "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.tokens",
	"tokenizer.chat_template", "tokenizer.rwkv.world", "tokenizer.huggingface.json", "adapter.type",
}

func mutateKnownKey(rng *rand.Rand, f *rawFile) string {
	key := pick(rng, knownKeys)
	if strings.Contains(key, "%s") {
		key = fmt.Sprintf(key, f.architecture())
	}
	var v any = uint32(pick(rng, numbers))
	switch {
	case rng.IntN(3) == 0:
		v = anyValue(rng)
	case strings.HasSuffix(key, "scale"), strings.HasSuffix(key, "factor"), strings.HasSuffix(key, "epsilon"), strings.HasSuffix(key, "softcapping"), strings.HasSuffix(key, "freq_base"), strings.HasSuffix(key, "bias"):
		v = float32(pick(rng, []float64{0, -1, 1e-30, 1e30, math.Inf(1), math.NaN(), 0.5, 3}))
	case strings.HasSuffix(key, "pre"):
		v = pick(rng, []string{"default", "qwen2", "gpt-2", "llama-bpe", "deepseek-llm", "deepseek-v3", "falcon", "tekken", "chatglm-bpe", "gpt-4o", "kimi-k2", "bloom", "viking", "jina-v2-de", "poro-chat", "superbpe", "afmoe", "grok-2", "minimax-m2", "command-r", "smollm", "codeshell", "exaone", "seed-coder"})
	case strings.HasSuffix(key, "add_bos_token"), strings.HasSuffix(key, "add_eos_token"), strings.HasSuffix(key, "add_sep_token"), strings.HasSuffix(key, "causal"), strings.HasSuffix(key, "prefix"), strings.HasSuffix(key, "whitespaces"):
		v = rng.IntN(2) == 0
	case strings.HasSuffix(key, "head_count"), strings.HasSuffix(key, "head_count_kv"), strings.HasSuffix(key, "feed_forward_length"), strings.HasSuffix(key, "sections"):
		v = []uint32{uint32(pick(rng, numbers)), uint32(pick(rng, numbers)), 4, 4}[:1+rng.IntN(4)]
	}
	f.set(key, v)
	return fmt.Sprintf("%s = %s", key, show(v))
}

func (f *rawFile) architecture() string {
	for _, kv := range f.kvs {
		if kv.key == "general.architecture" && kv.typ == gguf.String && len(kv.value) >= 8 {
			return string(kv.value[8:])
		}
	}
	return "llama"
}

// mutateArray makes an array shorter, longer, of another type, or lie about its count.
func mutateArray(rng *rand.Rand, f *rawFile) string {
	var arrays []int
	for i, kv := range f.kvs {
		if kv.typ == gguf.Array && len(kv.value) >= 12 {
			arrays = append(arrays, i)
		}
	}
	if len(arrays) == 0 {
		return mutateValue(rng, f)
	}
	i := pick(rng, arrays)
	kv := &f.kvs[i]
	key := kv.key
	switch rng.IntN(5) {
	case 0:
		kv.value = slices.Concat(kv.value[:4], le(pick(rng, numbers)), kv.value[12:])
		return key + " claims another count"
	case 1:
		t := uint32(rng.IntN(14))
		kv.value = slices.Concat(le(t), kv.value[4:])
		return fmt.Sprintf("%s of element type %d", key, t)
	case 2:
		*kv = newKV(key, anyValue(rng))
		return key + " replaced"
	}
	n := pick(rng, []int{0, 1, 2, 3, 10, 50, 100, 150, 1000})
	switch {
	case strings.HasSuffix(key, "scores"):
		*kv = newKV(key, make([]float32, n))
	case strings.HasSuffix(key, "token_type"):
		v := make([]int32, n)
		for i := range v {
			v[i] = int32(rng.IntN(9)) - 1
		}
		*kv = newKV(key, v)
	case strings.HasSuffix(key, "charsmap"):
		v := charsmap()[:min(n, 1029)]
		for range 3 {
			if len(v) > 0 {
				v[rng.IntN(len(v))] = uint8(rng.IntN(256))
			}
		}
		*kv = newKV(key, v)
	default:
		v := make([]string, n)
		for i := range v {
			v[i] = fmt.Sprintf("%s%d", pick(rng, texts[:8]), i)
		}
		*kv = newKV(key, v)
	}
	return fmt.Sprintf("%s of %d", key, n)
}

// mutateToken changes texts of the vocabulary, or the kinds of tokens.
func mutateToken(rng *rand.Rand, f *rawFile) string {
	kv := f.kv("ggml.tokens")
	if kv == nil || kv.typ != gguf.Array || len(kv.value) < 12 || kv.value[0] != byte(gguf.String) {
		return mutateValue(rng, f)
	}
	var tokens []string
	for b := kv.value[12:]; len(b) >= 8; {
		n := int(b[0]) + int(b[1])<<8
		if n > len(b)-8 {
			return mutateValue(rng, f)
		}
		tokens = append(tokens, string(b[8:8+n]))
		b = b[8+n:]
	}
	if len(tokens) == 0 {
		return mutateValue(rng, f)
	}
	if types := f.kv("ggml.token_type"); rng.IntN(3) == 0 && types != nil && types.typ == gguf.Array {
		v := make([]int32, len(tokens))
		kind := int32(rng.IntN(8))
		for i := range v {
			if v[i] = kind; rng.IntN(4) == 0 {
				v[i] = int32(rng.IntN(9)) - 1
			}
		}
		*types = newKV(types.key, v)
		return fmt.Sprintf("token types mostly %d", kind)
	}
	what := ""
	for range 1 + rng.IntN(3) {
		i := rng.IntN(len(tokens))
		s := pick(rng, texts)
		if rng.IntN(3) == 0 {
			s = pick(rng, tokens)
		}
		tokens[i] = s
		what += fmt.Sprintf("token %d = %.20q ", i, s)
	}
	*kv = newKV(kv.key, tokens)
	return what
}

// mutateTensor changes the shape, name, type or offset in the directory.
func mutateTensor(rng *rand.Rand, f *rawFile) string {
	if len(f.tensors) == 0 {
		return mutateValue(rng, f)
	}
	t := &f.tensors[rng.IntN(len(f.tensors))]
	name := t.name
	switch rng.IntN(6) {
	case 0:
		t.dims = slices.Clone(t.dims)
		d := uint64(pick(rng, numbers))
		t.dims[rng.IntN(len(t.dims))] = d
		if rng.IntN(2) == 0 {
			t.fill()
		}
		return fmt.Sprintf("%s: dims %d", name, t.dims)
	case 1:
		t.dims = slices.Clone(t.dims)
		for range rng.IntN(5) {
			t.dims = append(t.dims, uint64(rng.IntN(3)))
		}
		t.fill()
		return fmt.Sprintf("%s: dims %d", name, t.dims)
	case 2:
		slices.Reverse(slices.Clone(t.dims))
		t.dims = append([]uint64{1}, t.dims...)
		t.fill()
		return fmt.Sprintf("%s: dims %d", name, t.dims)
	case 3:
		f.offsetsMoved = true
		offset := uint64(0)
		for i := range f.tensors {
			f.tensors[i].offset = offset
			offset += uint64(f.padded(len(f.tensors[i].data)))
		}
		t.offset = uint64(pick(rng, numbers))
		return fmt.Sprintf("%s: offset %d", name, t.offset)
	case 4:
		t.name = pick(rng, append(texts, "blk.0.attn_q.bias", "blk.7.attn_q.weight", "rope_freqs.weight", "cls.weight", "blk.0.ffn_gate_inp.weight"))
		return fmt.Sprintf("%s renamed to %.30q", name, t.name)
	}
	t.typ = uint32(rng.IntN(45))
	if rng.IntN(2) == 0 {
		t.fill()
	}
	return fmt.Sprintf("%s: type %d", name, t.typ)
}

// mutateTensorType stores tensors in another type, with data of the right size.
func mutateTensorType(rng *rand.Rand, f *rawFile) string {
	typ := pick(rng, []uint32{1, 2, 3, 6, 7, 8, 9, 20, 24, 25, 26, 27, 28, 30, 39})
	suffix := pick(rng, []string{"norm.weight", ".bias", "attn_q.weight", "attn_k.weight", "token_embd.weight", "output.weight", "ffn_down.weight", "exps.weight", "ffn_gate_inp.weight", "ssm_a", "ssm_d", "ssm_conv1d.weight", "position_embd.weight", "weight", ""})
	for i := range f.tensors {
		if t := &f.tensors[i]; strings.HasSuffix(t.name, suffix) {
			t.typ = typ
			t.fill()
		}
	}
	return fmt.Sprintf("tensors *%s of type %v", suffix, gguf.TensorType(typ))
}

// mutateWeights puts values that are no numbers into the data.
func mutateWeights(rng *rand.Rand, f *rawFile) string {
	if len(f.tensors) == 0 {
		return mutateValue(rng, f)
	}
	t := &f.tensors[rng.IntN(len(f.tensors))]
	t.data = slices.Clone(t.data)
	v := pick(rng, [][]byte{le(nan32), le(float32(math.Inf(1))), le(float32(math.Inf(-1))), le(float32(3e38)), {0xff, 0xff, 0xff, 0xff}})
	all := rng.IntN(2) == 0
	for i := 0; i+4 <= len(t.data); i += 4 {
		if all || rng.IntN(20) == 0 {
			copy(t.data[i:], v)
		}
	}
	return fmt.Sprintf("%s: weights %x", t.name, v)
}

// mutateDirectory drops, doubles or swaps tensors.
func mutateDirectory(rng *rand.Rand, f *rawFile) string {
	if len(f.tensors) < 2 {
		return mutateValue(rng, f)
	}
	i, j := rng.IntN(len(f.tensors)), rng.IntN(len(f.tensors))
	a, b := f.tensors[i].name, f.tensors[j].name
	switch rng.IntN(4) {
	case 0:
		f.tensors = slices.Delete(f.tensors, i, i+1)
		return a + " dropped"
	case 1:
		f.tensors = append(f.tensors, f.tensors[i])
		return a + " twice"
	case 2:
		f.tensors[i].name, f.tensors[j].name = b, a
		return fmt.Sprintf("%s and %s change names", a, b)
	}
	f.tensors = f.tensors[:i]
	return fmt.Sprintf("tensors from %s on dropped", a)
}

// mutateMetadata drops, doubles or renames entries.
func mutateMetadata(rng *rand.Rand, f *rawFile) string {
	i := rng.IntN(len(f.kvs))
	key := f.kvs[i].key
	switch rng.IntN(4) {
	case 0:
		f.kvs = append(f.kvs, f.kvs[i])
		return key + " twice"
	case 1:
		f.kvs[i].key = pick(rng, append(texts, f.kvs[rng.IntN(len(f.kvs))].key))
		return fmt.Sprintf("%s renamed to %.30q", key, f.kvs[i].key)
	}
	f.kvs = slices.Delete(f.kvs, i, i+1)
	if len(f.kvs) == 0 {
		f.kvs = []rawKV{newKV("x", "y")}
	}
	return key + " dropped"
}

// mutateContainer lies in the fixed fields, or cuts the file.
func mutateContainer(rng *rand.Rand, f *rawFile) string {
	n := pick(rng, numbers)
	switch rng.IntN(6) {
	case 0:
		f.version = uint32(n)
	case 1:
		f.tensorsMore = n
	case 2:
		f.kvsMore = n
	case 3:
		f.magic = pick(rng, []string{"GGUF", "GGML", "FUGG", "ggla"})
	case 4:
		f.cut = rng.IntN(len(f.bytes()) + 1)
		return fmt.Sprintf("%d bytes cut off", f.cut)
	case 5:
		f.alignment = pick(rng, []int{1, 2, 4, 8, 16, 64, 4096, 3, 33})
		f.set("general.alignment", uint32(f.alignment))
		return fmt.Sprintf("alignment %d", f.alignment)
	}
	return fmt.Sprintf("version %d, %+d tensors, %+d entries, magic %q", f.version, f.tensorsMore, f.kvsMore, f.magic)
}

// mutateText lies about the length of a string, or about an entry's type.
func mutateText(rng *rand.Rand, f *rawFile) string {
	kv := &f.kvs[rng.IntN(len(f.kvs))]
	if kv.typ == gguf.String && len(kv.value) >= 8 && rng.IntN(2) == 0 {
		kv.value = slices.Concat(le(pick(rng, numbers)), kv.value[8:])
		return kv.key + " claims another length"
	}
	kv.typ = gguf.Type(rng.IntN(15))
	return fmt.Sprintf("%s: type tag %d", kv.key, kv.typ)
}

// mutateArchitecture calls the model another one, with all its keys.
func mutateArchitecture(rng *rand.Rand, f *rawFile) string {
	to := pick(rng, []string{"llama", "qwen2", "qwen2moe", "qwen3", "gemma", "gemma2", "gemma3", "gemma3n", "phi2", "phi3", "gpt2", "gptj", "gptneox", "falcon", "mpt", "baichuan",
		"bloom", "stablelm", "refact", "bert", "nomic-bert", "jina-bert-v2", "t5", "t5encoder", "clip", "mamba", "mamba2", "jamba", "rwkv6", "rwkv7", "command-r", "dbrx", "olmo", "olmo2",
		"openelm", "arctic", "deepseek", "deepseek2", "chatglm", "glm4", "bitnet", "starcoder", "starcoder2", "grok", "llama4", "minicpm", "minicpm3", "granite", "granitehybrid", "exaone",
		"exaone4", "nemotron", "orion", "internlm2", "plamo", "plamo2", "xverse", "codeshell", "lfm2", "gpt-oss", "hunyuan-moe", "hunyuan-dense", "smollm3", "wavtokenizer-dec", "falcon-h1", "qwen2vl", "qwen3vl", "deci",
		"apertus", "cogvlm", "pangu-embedded", "mistral3", "ernie4_5", "dream", "llada", "arcee", "afmoe", "seed_oss", "plm", "bailingmoe", "dots1", "grovemoe", "nosuch"})
	from := f.architecture()
	for i := range f.kvs {
		if rest, ok := strings.CutPrefix(f.kvs[i].key, from+"."); ok {
			f.kvs[i].key = to + "." + rest
		}
	}
	f.set("general.architecture", to)
	return "architecture " + to
}
