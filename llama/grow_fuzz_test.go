//go:build !llama_system

package llama_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

// architectures are those of llama.cpp ec98e2002 that can be loaded as a model.
var architectures = strings.Fields(`llama llama4 deci falcon grok gpt2 gptneox mpt baichuan starcoder refact bert nomic-bert nomic-bert-moe
	neo-bert jina-bert-v2 jina-bert-v3 bloom stablelm qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3next qwen3vl qwen3vlmoe phi2 phi3 phimoe plamo
	plamo2 codeshell orion internlm2 minicpm minicpm3 gemma gemma2 gemma3 gemma3n gemma-embedding starcoder2 mamba mamba2 jamba falcon-h1 xverse
	command-r cohere2 dbrx olmo olmo2 olmoe openelm arctic deepseek deepseek2 chatglm glm4 glm4moe bitnet t5 t5encoder jais nemotron nemotron_h
	nemotron_h_moe exaone exaone4 rwkv6 rwkv6qwen2 rwkv7 arwkv7 granite granitemoe granitehybrid chameleon solar wavtokenizer-dec plm bailingmoe
	bailingmoe2 dots1 arcee afmoe ernie4_5 ernie4_5-moe hunyuan-moe hunyuan-dense smollm3 gpt-oss lfm2 lfm2moe dream smallthinker llada llada-moe
	seed_oss grovemoe apertus minimax-m2 cogvlm rnd1 pangu-embedded mistral3`)

// What llama.cpp's errors ask for.
var (
	wantKey      = regexp.MustCompile(`key not found in model: ([^\s;)]+)`)
	wantDivisor  = regexp.MustCompile(`: (\S+?)(?: or \S+)? is missing or 0`)
	wantType     = regexp.MustCompile(`key (\S+) has wrong type \S+ but expected type (\w+)`)
	wantArray    = regexp.MustCompile(`array key not found in model: ([^\s;)]+)`)
	wantLength   = regexp.MustCompile(`key (\S+) has wrong array length; expected (\d+)`)
	wantShape    = regexp.MustCompile(`tensor '([^']+)' has wrong shape; expected\s+([\d, ]+), got`)
	wantTensor   = regexp.MustCompile(`missing tensor '([^']+)'|tensor '([^']+)' not found|tensor "([^" ]+)(?: or [^"]*)?" is missing`)
	wantExperts  = regexp.MustCompile(`cannot have zero experts|n_expert > 0|ffn_gate_inp.weight": dimension 0|ffn_gate_exps.weight": dimension 0`)
	wantTwice    = regexp.MustCompile(`2 \* n_embd == d_inner|expansion factor of 2`)
	wantTypes    = regexp.MustCompile(`token_types.weight": dimension 0`)
	wantLoraRank = regexp.MustCompile(`time_mix_(\w)1.weight": dimension 0`)
)

// rwkvHead is the least width of RWKV's heads that ggml computes with.
const rwkvHead = 64

// grow makes the smallest model of an architecture that llama.cpp loads, by giving it
// what its errors ask for, and no tensor more. ok is false where that does not end.
func grow(dir, arch string) (f rawFile, ok bool, err error) {
	vocab, n := fuzzVocabulary("llama")
	kvs := []gguf.KV{{Key: "general.architecture", Value: arch}}
	key := func(name string, v any) { kvs = append(kvs, gguf.KV{Key: arch + "." + name, Value: v}) }
	key("context_length", uint32(fuzzCtx))
	width := uint64(fuzzWidth)
	if strings.Contains(arch, "rwkv") {
		width = rwkvHead
	}
	key("embedding_length", uint32(width))
	key("block_count", uint32(fuzzLayers))
	key("feed_forward_length", uint32(fuzzFF))
	key("attention.head_count", uint32(fuzzHeads))
	key("attention.head_count_kv", uint32(fuzzHeads))
	key("attention.layer_norm_epsilon", float32(1e-5))
	key("attention.layer_norm_rms_epsilon", float32(1e-5))
	key("vocab_size", uint32(n))
	w := &weights{rng: newRand()}
	w.add("token_embd.weight", width, n)
	f = newRaw(append(kvs, vocab...), w.tensors)
	path := filepath.Join(dir, "grow.gguf")
	last := ""
	for range 1000 {
		if err := os.WriteFile(path, f.bytes(), 0o644); err != nil {
			return f, false, err
		}
		m, err := llama.Load(path, llama.ModelParams{})
		if err == nil {
			return f, true, m.Close()
		}
		asks := err.Error()
		if asks == last {
			return f, false, err
		}
		last = asks
		if !f.give(arch, asks) {
			return f, false, err
		}
	}
	return f, false, nil
}

// give does what an error asks for.
func (f *rawFile) give(arch, asks string) bool {
	match := func(r *regexp.Regexp) []string { return r.FindStringSubmatch(asks) }
	switch {
	case match(wantExperts) != nil || strings.Contains(asks, "expert_used_count is"):
		f.set(arch+".expert_count", uint32(4))
		f.set(arch+".expert_used_count", uint32(2))
		f.tensors = f.tensors[:1]
	case match(wantTwice) != nil:
		f.set(arch+".ssm.inner_size", uint32(2*fuzzWidth))
		f.tensors = f.tensors[:1]
	case match(wantTypes) != nil:
		f.set("tokenizer.ggml.token_type_count", uint32(2))
		f.tensors = f.tensors[:1]
	case match(wantLoraRank) != nil:
		name := map[string]string{"w": "decay", "a": "iclr", "v": "value_residual_mix", "g": "gate"}[match(wantLoraRank)[1]]
		f.set(arch+".attention."+name+"_lora_rank", uint32(8))
		f.tensors = f.tensors[:1]
	case strings.Contains(asks, "_shexp") && strings.Contains(asks, "dimension 0"):
		f.set(arch+".expert_shared_feed_forward_length", uint32(8))
		f.set(arch+".expert_shared_count", uint32(1))
		f.tensors = f.tensors[:1]
	case match(wantArray) != nil:
		f.set(match(wantArray)[1], []float32{1, 1})
	case match(wantLength) != nil:
		n, _ := strconv.Atoi(match(wantLength)[2])
		f.set(match(wantLength)[1], make([]uint32, n))
	case match(wantType) != nil:
		v, ok := map[string]any{"f32": float32(1), "bool": true, "str": "none", "u32": uint32(2), "arr": []uint32{2, 2}, "i32": int32(2)}[match(wantType)[2]]
		f.set(match(wantType)[1], v)
		return ok
	case match(wantKey) != nil, match(wantDivisor) != nil:
		name := ""
		if m := match(wantKey); m != nil {
			name = m[1]
		} else {
			name = match(wantDivisor)[1]
		}
		v := uint32(2)
		if strings.HasSuffix(name, "_length") || strings.HasSuffix(name, "_rank") || strings.HasSuffix(name, "_size") {
			v = 8
		}
		if strings.HasSuffix(name, ".wkv.head_size") {
			v = rwkvHead
		}
		f.set(name, v)
	case match(wantShape) != nil:
		t := f.tensor(match(wantShape)[1])
		t.dims = nil
		for _, d := range strings.Split(match(wantShape)[2], ",") {
			n, _ := strconv.ParseUint(strings.TrimSpace(d), 10, 64)
			t.dims = append(t.dims, n)
		}
		t.random()
	case match(wantTensor) != nil:
		name := strings.Join(match(wantTensor)[1:], "")
		t := rawTensor{name: name, dims: []uint64{256}} // a shape to be told the right one
		if !strings.Contains(name, "norm") && !strings.Contains(name, "bias") {
			t.dims = []uint64{256, 7}
		}
		t.random()
		f.tensors = append(f.tensors, t)
	default:
		return false
	}
	return true
}

// grownBases are grown models for the mutations, made when first asked for.
var grownBases sync.Map

// rawGrown is the undamaged model of an architecture, nil if it cannot be grown.
func rawGrown(arch string) *rawFile {
	v, ok := grownBases.Load(arch)
	if !ok {
		dir, err := os.MkdirTemp("", "grow")
		if err != nil {
			return nil
		}
		defer os.RemoveAll(dir)
		if f, ok, _ := grow(dir, arch); ok {
			v = &f
		} else {
			v = (*rawFile)(nil)
		}
		grownBases.Store(arch, v)
	}
	f := v.(*rawFile)
	if f == nil {
		return nil
	}
	g := *f
	g.kvs, g.tensors = slices.Clone(f.kvs), slices.Clone(f.tensors)
	return &g
}

// growEnv names the architecture that a child process is to grow.
const growEnv = "IVO_GROW"

// The smallest model of every architecture loads and decodes, or is refused: where
// llama.cpp's graph wants a tensor that its loader did not, a check must stand.
func TestArchitectures(t *testing.T) {
	if arch := os.Getenv(growEnv); arch != "" {
		growChild(t, arch)
		return
	}
	names := architectures
	if testing.Short() {
		names = names[:10]
	}
	loads := 0
	for _, arch := range names {
		cmd := exec.Command(os.Args[0], "-test.run=^TestArchitectures$", "-test.v")
		cmd.Env = append(os.Environ(), growEnv+"="+arch, "GOTRACEBACK=none")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s=%s: %v\n%.600s", growEnv, arch, err, out)
		}
		if strings.Contains(string(out), "grown") {
			loads++
		} else {
			t.Logf("%s: %.400s", arch, out)
		}
	}
	t.Logf("%d of %d architectures were grown", loads, len(names))
	if loads < len(names)*9/10 {
		t.Errorf("%d of %d architectures were grown", loads, len(names))
	}
}

func growChild(t *testing.T, arch string) {
	limitMemory(8 << 30)
	dir := t.TempDir()
	f, ok, err := grow(dir, arch)
	if !ok {
		fmt.Println("stopped:", err)
		return
	}
	fmt.Println("grown", arch, "of", len(f.tensors), "tensors")
	for _, layers := range [][]int{nil, {0, fuzzLayers}} {
		path := filepath.Join(dir, "grow.gguf")
		far, err := exercise(path, llama.ModelParams{}, layers)
		fmt.Println("came to", far, err)
	}
}
