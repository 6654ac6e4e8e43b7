package llama

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// Hints of the checks.
const (
	hintConvert   = "convert the model again with llama.cpp's convert_hf_to_gguf.py, or download it again"
	hintTokenizer = "the vocabulary is damaged: convert the model again with its tokenizer, or download it again"
)

// gaveUp begins the message of an assertion of llama.cpp that no check foresaw (struct
// gave_up in the shim).
const gaveUp = "llama.cpp gave up"

// Limits of llama.cpp (llama-hparams.h), and one of ours.
const (
	maxExperts = 512
	maxVocab   = 1 << 24 // far above any vocabulary; llama.cpp allocates what the header asks for
)

// check refuses a header on which llama.cpp would end the process: by an assertion,
// by reading past the end of an array, or by asking for all memory. What llama.cpp
// itself answers with an error is left to it.
func check(f *gguf.File, vocabOnly bool) error {
	for _, key := range []string{"general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.pre"} {
		if strings.ContainsRune(f.Str(key), 0) {
			return refuse(hintConvert, "%s holds a zero byte: %q", key, f.Str(key))
		}
	}
	if err := checkVocabulary(f); err != nil {
		return err
	}
	if vocabOnly {
		return nil
	}
	if err := checkHyperparameters(f); err != nil {
		return err
	}
	return checkTensors(f)
}

func refuse(hint, format string, args ...any) error { return failf("load", hint, format, args...) }

// A tokenizer's default special tokens, which llama.cpp uses where the file names
// none; -1 is none. Only those that it looks up unasked are here.
type specials struct{ bos, eos, unknown, separator, padding, mask int64 }

var defaultSpecials = map[string]specials{
	"llama":  {1, 2, 0, -1, -1, -1},
	"bert":   {101, -1, 100, 102, 0, 103},
	"gpt2":   {11, 11, -1, -1, -1, -1},
	"t5":     {-1, 1, 2, -1, 0, -1},
	"rwkv":   {-1, -1, -1, -1, -1, -1},
	"plamo2": {1, 2, 0, -1, 3, -1},
}

func checkVocabulary(f *gguf.File) error {
	kind := f.Str("tokenizer.ggml.model")
	if kind == "none" || kind == "no_vocab" {
		if n, ok := f.Int(f.Str("general.architecture") + ".vocab_size"); ok && (n < 0 || n > maxVocab) {
			return refuse(hintConvert, "%s.vocab_size is %d", f.Str("general.architecture"), n)
		}
		return nil
	}
	defaults, ok := defaultSpecials[kind]
	if !ok {
		return nil // llama.cpp says that it does not know the tokenizer
	}
	tokens, err := list[string](f, "tokenizer.ggml.tokens", 1)
	if err != nil {
		return err
	}
	if err := checkTexts(tokens); err != nil {
		return err
	}
	if _, err := list[float32](f, "tokenizer.ggml.scores", len(tokens)); err != nil && f.Value("tokenizer.ggml.scores") != nil {
		return err
	}
	types, err := list[int32](f, "tokenizer.ggml.token_type", len(tokens))
	if err != nil && f.Value("tokenizer.ggml.token_type") != nil {
		return err
	}
	const byteType = 6
	if i := slices.Index(types[:min(len(types), len(tokens))], byteType); kind == "bert" && i >= 0 {
		return refuse(hintTokenizer, "tokenizer.ggml.token_type: a bert vocabulary has no byte tokens, %d is one", i)
	}
	if f.Value("tokenizer.ggml.merges") != nil {
		if _, err := list[string](f, "tokenizer.ggml.merges", 0); err != nil {
			return err
		}
	}
	if err := checkCharsmap(f); err != nil {
		return err
	}
	if kind == "rwkv" {
		if err := checkFirstBytes(tokens); err != nil {
			return err
		}
	}

	n := int64(len(tokens))
	special := func(name string, otherwise int64) (int64, error) {
		if id, ok := f.Value("tokenizer.ggml." + name + "_token_id").(uint32); ok && int64(id) < n {
			return int64(id), nil
		}
		if otherwise >= n {
			return 0, refuse(hintTokenizer, "tokenizer.ggml.%s_token_id is missing or out of range, and the usual %d is not one of %d tokens", name, otherwise, n)
		}
		return otherwise, nil
	}
	if pre := f.Str("tokenizer.ggml.pre"); pre == "glm4" || pre == "chatglm-bpe" {
		defaults.bos = -1
	}
	bos, err1 := special("bos", defaults.bos)
	eos, err2 := special("eos", defaults.eos)
	_, err3 := special("unknown", defaults.unknown)
	sep, err4 := special("seperator", defaults.separator) // llama.cpp's spelling
	_, err5 := special("padding", defaults.padding)
	_, err6 := special("mask", defaults.mask)
	for _, err := range []error{err1, err2, err3, err4, err5, err6} {
		if err != nil {
			return err
		}
	}
	for name, id := range map[string]int64{"bos": bos, "eos": eos, "sep": sep} {
		if add, _ := f.Value("tokenizer.ggml.add_" + name + "_token").(bool); add && id < 0 && kind != "rwkv" && kind != "plamo2" {
			return refuse(hintTokenizer, "tokenizer.ggml.add_%s_token is true, but the vocabulary has no such token", name)
		}
	}
	return nil
}

// checkTexts refuses tokens with equal texts. llama.cpp reads a text up to its first
// zero byte and gives one without text a name.
func checkTexts(tokens []string) error {
	seen := make(map[string]int, len(tokens))
	for i, s := range tokens {
		s, _, _ = strings.Cut(s, "\x00")
		if s == "" {
			s = fmt.Sprintf("[EMPTY_%d]", i)
		}
		if first, ok := seen[s]; ok {
			return refuse(hintTokenizer, "tokenizer.ggml.tokens: %d and %d are both %.40q", first, i, s)
		}
		seen[s] = i
	}
	return nil
}

// checkCharsmap refuses a SentencePiece normalizer that llama.cpp would read past
// the end of: a size, a trie of that size, and replacements that end in zero.
func checkCharsmap(f *gguf.File) error {
	const key = "tokenizer.ggml.precompiled_charsmap"
	if f.Value(key) == nil || f.Str("tokenizer.ggml.model") != "t5" {
		return nil
	}
	b, ok := f.Value(key).([]uint8)
	if signed, is := f.Value(key).([]int8); is {
		ok = true
		for _, v := range signed {
			b = append(b, uint8(v))
		}
	}
	if n := len(b); !ok || n > 0 && (n < 5 || b[n-1] != 0) {
		return refuse(hintTokenizer, "%s is no table of replacements", key)
	}
	return nil
}

// checkFirstBytes refuses an RWKV vocabulary in which a token starts with a byte that
// is no token of its own: where no longer token matched, llama.cpp would try that
// byte for ever.
func checkFirstBytes(tokens []string) error {
	var single, first [256]bool
	for _, s := range tokens {
		if b := unescape(s); len(b) > 0 {
			first[b[0]] = true
			single[b[0]] = single[b[0]] || len(b) == 1
		}
	}
	for b := range first {
		if first[b] && !single[b] {
			return refuse(hintTokenizer, "tokenizer.ggml.tokens: the byte %#02x starts tokens and is none", b)
		}
	}
	return nil
}

// unescape is the bytes of a token of an RWKV vocabulary, as llama.cpp decodes them
// (llama_unescape_rwkv_token).
func unescape(s string) []byte {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i++; i == len(s) {
			break
		}
		switch s[i] {
		case 't':
			out = append(out, '\t')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 'x':
			if i+2 < len(s) {
				out = append(out, nibble(s[i+1])<<4+nibble(s[i+2]))
			}
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return out
}

func nibble(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// list is the array of T under key, of at least n elements.
func list[T any](f *gguf.File, key string, n int) ([]T, error) {
	v, ok := f.Value(key).([]T)
	switch {
	case f.Value(key) == nil:
		return nil, refuse(hintTokenizer, "%s is missing", key)
	case !ok:
		return nil, refuse(hintTokenizer, "%s is of type %T, not %T", key, f.Value(key), v)
	case len(v) < n:
		return nil, refuse(hintTokenizer, "%s has %d elements, at least %d are needed", key, len(v), n)
	}
	return v, nil
}

func checkHyperparameters(f *gguf.File) error {
	arch := f.Str("general.architecture")
	if !slices.ContainsFunc(f.KVs, func(kv gguf.KV) bool { return strings.HasPrefix(kv.Key, arch+".") }) {
		return nil // llama.cpp says that it does not know the architecture, or what is missing
	}
	number := func(key string) int64 { n, _ := f.Int(arch + "." + key); return n }
	if n, ok := f.Int(arch + ".block_count"); ok && (n < 1 || n > maxLayers) {
		return refuse(hintConvert, "%s.block_count is %d; llama.cpp takes 1 to %d layers", arch, n, maxLayers)
	}
	if !slices.Contains(recurrent, arch) {
		if err := checkHeads(f, arch); err != nil {
			return err
		}
	}
	experts, used := number("expert_count"), number("expert_used_count")
	groups, groupsUsed := number("expert_group_count"), number("expert_group_used_count")
	switch {
	case experts < 0 || experts > maxExperts:
		return refuse(hintConvert, "%s.expert_count is %d; llama.cpp takes at most %d", arch, experts, maxExperts)
	case used < 0 || used > experts || experts > 0 && used == 0:
		return refuse(hintConvert, "%s.expert_used_count is %d of %d experts", arch, used, experts)
	case groups < 0 || groups > 0 && groups >= experts:
		return refuse(hintConvert, "%s.expert_group_count is %d for %d experts", arch, groups, experts)
	case groups > 1 && (experts%groups != 0 || groupsUsed < 1 || groupsUsed >= groups):
		return refuse(hintConvert, "%s.expert_group_used_count is %d: %d of %d groups of %d experts", arch, groupsUsed, groupsUsed, groups, experts)
	}
	for _, key := range []string{"feed_forward_length", "attention.head_count", "attention.head_count_kv", "rope.dimension_sections"} {
		switch v := f.Value(arch + "." + key).(type) {
		case []string, []float32:
			return refuse(hintConvert, "%s.%s is of type %T, not a list of integers", arch, key, v)
		}
	}
	if key := arch + ".classifier.output_labels"; f.Value(key) != nil {
		if v, ok := f.Value(key).([]string); !ok {
			return refuse(hintConvert, "%s is of type %T, not %T", key, f.Value(key), v)
		}
	}
	scaling, ok := f.Value(arch + ".rope.scaling.type").(string)
	if ok && !slices.Contains([]string{"none", "linear", "yarn", "longrope"}, scaling) {
		return refuse(hintConvert, "%s.rope.scaling.type is %q; llama.cpp knows none, linear, yarn and longrope", arch, scaling)
	}
	for _, key := range []string{"attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "attention.group_norm_epsilon"} {
		if v, ok := f.Float(arch + "." + key); ok && !(v >= 0 && v <= math.MaxFloat32) {
			return refuse(hintConvert, "%s.%s is %g", arch, key, v)
		}
	}
	return nil
}

// recurrent are the architectures without attention heads (llm_arch_is_recurrent).
var recurrent = []string{"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}

// noMemory are the architectures that llama.cpp gives no KV cache: encoders, and
// those that denoise a whole text at once. Some of their graphs read tensors that
// loading does not insist on.
var noMemory = []string{"bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert", "wavtokenizer-dec", "gemma-embedding",
	"dream", "llada", "llada-moe", "rnd1"}

// checkHeads refuses numbers of attention heads that llama.cpp would divide by. A
// hybrid model has layers without heads, so a list may hold zeros.
func checkHeads(f *gguf.File, arch string) error {
	key := arch + ".attention.head_count"
	switch v := f.Value(key).(type) {
	case nil:
		return refuse(hintConvert, "%s is missing", key)
	case []int32:
		if !slices.ContainsFunc(v, func(n int32) bool { return n > 0 }) {
			return refuse(hintConvert, "%s has no layer with heads", key)
		}
	case []uint32:
		if !slices.ContainsFunc(v, func(n uint32) bool { return n > 0 }) {
			return refuse(hintConvert, "%s has no layer with heads", key)
		}
	default:
		heads, ok := f.Int(key)
		if !ok || heads < 1 || heads > math.MaxInt32 {
			return refuse(hintConvert, "%s is %v", key, v)
		}
		width, _ := f.Int(arch + ".embedding_length")
		head := width / heads
		if n, ok := f.Int(arch + ".attention.key_length"); ok {
			head = n
		}
		if n, ok := f.Int(arch + ".rope.dimension_count"); ok && (n < 0 || n > head || n%2 != 0) {
			return refuse(hintConvert, "%s.rope.dimension_count is %d for heads %d wide", arch, n, head)
		}
	}
	return nil
}

// Tensor types in which no weights are stored: integers, doubles, and the formats
// that ggml keeps for intermediate results.
var noWeights = []gguf.TensorType{9 /* Q8_1 */, 15 /* Q8_K */, 24, 25, 26, 27 /* I8 to I64 */, 28 /* F64 */}

func checkTensors(f *gguf.File) error {
	// The CPU backend takes tensors where they lie in the file.
	if f.Alignment%32 != 0 {
		return refuse(hintConvert, "general.alignment is %d; llama.cpp needs a multiple of 32", f.Alignment)
	}
	for _, t := range f.Tensors {
		dims := len(t.Shape)
		for dims > 1 && t.Shape[dims-1] == 1 {
			dims--
		}
		most := 2
		switch {
		case strings.Contains(t.Name, "_exps."):
			most = 3
		case t.Name != "token_embd.weight" && t.Name != "output.weight" && !strings.Contains(t.Name, "attn_") && !strings.Contains(t.Name, "ffn_") && !strings.Contains(t.Name, "ssm_"),
			strings.Contains(t.Name, "attn_k_b.") || strings.Contains(t.Name, "attn_v_b."): // of multi-head latent attention, one matrix a head
			most = 4
		}
		switch {
		case slices.Contains(noWeights, t.Type):
			return refuse(hintConvert, "tensor %q is of type %v, in which no weights are stored", t.Name, t.Type)
		case (dims == 1 || vectors(t.Name)) && t.Type != gguf.F32:
			return refuse(hintConvert, "tensor %q is of type %v; llama.cpp computes with it in F32 only", t.Name, t.Type)
		case dims > most:
			return refuse(hintConvert, "tensor %q has %d dimensions", t.Name, dims)
		}
	}
	return nil
}

// vectors says whether a tensor of a recurrent layer is one that llama.cpp multiplies
// element by element, whatever its shape.
func vectors(name string) bool {
	return strings.HasSuffix(name, ".ssm_a") || strings.HasSuffix(name, ".ssm_d") || strings.HasSuffix(name, ".ssm_conv1d.weight")
}

// positions is the number of positions that the model has learned an embedding for,
// 0 if it computes them.
func (m *Model) positions() int32 {
	if t, ok := m.head.Tensor("position_embd.weight"); ok && len(t.Shape) > 1 {
		return int32(min(t.Shape[1], math.MaxInt32))
	}
	return 0
}

// cacheBytes is the least memory that a context's KV cache takes: layers with a
// sliding window, or without attention, need less, so only those sure to hold all
// cells are counted.
func (m *Model) cacheBytes(p ContextParams) float64 {
	bytes := func(t CacheType) float64 {
		return map[CacheType]float64{CacheF16: 2, CacheF32: 4, CacheQ8_0: 34.0 / 32}[t]
	}
	arch := m.info.Architecture
	heads := float64(m.info.KVHeads * m.info.Layers)
	switch v := m.head.Value(arch + ".attention.head_count_kv").(type) {
	case []int32:
		heads = 0
		for _, n := range v {
			heads += float64(n)
		}
	case []uint32:
		heads = 0
		for _, n := range v {
			heads += float64(n)
		}
	default:
		if m.info.Recurrent {
			heads = 0
		}
	}
	if window, _ := m.head.Int(arch + ".attention.sliding_window"); window > 0 {
		heads = 0
	}
	cells := float64(max(p.Ctx, 256))
	return cells * heads * (float64(m.headWidth("key"))*bytes(p.CacheK) + float64(m.headWidth("value"))*bytes(p.CacheV))
}

// checkMemory refuses a context whose KV cache no memory of this machine can hold.
func (m *Model) checkMemory(op string, p ContextParams) error {
	total := 0.0
	for _, d := range Devices() {
		total += float64(d.Total)
	}
	if need := m.cacheBytes(p); total > 0 && need > total {
		return failf(op, "lower -c", "the KV cache of %d tokens takes %.0f GiB, this machine has %.0f", p.Ctx, need/(1<<30), total/(1<<30))
	}
	return nil
}
