package llama

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/pinned"
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
//
// pre is the pre-tokenizer in the place of the file's own, "" for that.
func check(f *gguf.File, pre string, vocabOnly bool) error {
	for _, key := range []string{"general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.pre"} {
		if strings.ContainsRune(f.Str(key), 0) {
			return refuse(hintConvert, "%s holds a zero byte: %q", key, f.Str(key))
		}
	}
	if err := checkVocabulary(f, pre); err != nil {
		return err
	}
	if vocabOnly {
		return nil
	}
	if err := checkHyperparameters(f); err != nil {
		return err
	}
	for _, p := range f.Parts() {
		if err := checkTensors(p); err != nil {
			return err
		}
	}
	return nil
}

func refuse(hint, format string, args ...any) error { return failf("load", hint, format, args...) }

func checkHyperparameters(f *gguf.File) error {
	arch := f.Str("general.architecture")
	if !slices.ContainsFunc(f.KVs, func(kv gguf.KV) bool { return strings.HasPrefix(kv.Key, arch+".") }) {
		return nil // llama.cpp says that it does not know the architecture, or what is missing
	}
	number := func(key string) int64 { n, _ := f.Int(arch + "." + key); return n }
	if n, ok := f.Int(arch + ".block_count"); ok && (n < 1 || n > maxLayers) {
		return refuse(hintConvert, "%s.block_count is %d; llama.cpp takes 1 to %d layers", arch, n, maxLayers)
	}
	if err := checkHeads(f, arch); err != nil {
		return err
	}
	if err := checkArchitecture(f, arch); err != nil {
		return err
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

// checkHeads refuses numbers of attention heads that llama.cpp would divide by. A
// hybrid model has layers without heads, so a list may hold zeros.
func checkHeads(f *gguf.File, arch string) error {
	if !hasHeads(arch) {
		return nil
	}
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

// checkArchitecture refuses what only one architecture ends the process on. Which they
// are depends on the llama.cpp: see divisors and needed.
func checkArchitecture(f *gguf.File, arch string) error {
	if why, ok := unreadable[arch]; ok {
		return refuse("make LLAMA="+pinned.LlamaCpp.Tag+" builds ivo with a newer llama.cpp, which can", "the embedded llama.cpp cannot read %s models: %s", arch, why)
	}
	for _, either := range divisors[arch] {
		if !slices.ContainsFunc(strings.Split(either, "|"), func(key string) bool { n, _ := f.Int(arch + "." + key); return n > 0 }) {
			return refuse(hintConvert, "%s.%s is missing or 0", arch, strings.ReplaceAll(either, "|", " or "))
		}
	}
	// ggml's kernel of RWKV computes whole vectors, up to 64 numbers wide, and would write beyond a narrower head.
	if n, ok := f.Int(arch + ".wkv.head_size"); ok && n%64 != 0 {
		return refuse(hintConvert, "%s.wkv.head_size is %d: heads are a multiple of 64 wide", arch, n)
	}
	layers, _ := f.Int(arch + ".block_count")
	for _, pattern := range needed[arch] {
		for i := range layers {
			names := strings.Split(strings.ReplaceAll(pattern, "%d", strconv.FormatInt(i, 10)), "|")
			if !slices.ContainsFunc(names, func(name string) bool { _, ok := findTensor(f, name); return ok }) {
				return refuse(hintConvert, "tensor %q is missing", strings.Join(names, " or "))
			}
		}
	}
	return nil
}

// findTensor finds a tensor in any of the files of a model.
func findTensor(f *gguf.File, name string) (gguf.TensorInfo, bool) {
	for _, p := range f.Parts() {
		if t, ok := p.Tensor(name); ok {
			return t, true
		}
	}
	return gguf.TensorInfo{}, false
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
		switch {
		case slices.Contains(noWeights, t.Type):
			return refuse(hintConvert, "tensor %q is of type %v, in which no weights are stored", t.Name, t.Type)
		case (len(t.Shape) == 1 || elementwise(t.Name)) && t.Type != gguf.F32:
			return refuse(hintConvert, "tensor %q is of type %v; llama.cpp computes with it in F32 only", t.Name, t.Type)
		case dims > maxDims(t.Name):
			return refuse(hintConvert, "tensor %q has %d dimensions", t.Name, dims)
		}
	}
	return nil
}

// elementwise says whether a tensor is one that llama.cpp adds or multiplies element by
// element, whatever its shape.
func elementwise(name string) bool {
	return slices.ContainsFunc([]string{"norm.weight", ".bias", ".ssm_a", ".ssm_d", ".ssm_conv1d.weight"}, func(s string) bool { return strings.HasSuffix(name, s) })
}
