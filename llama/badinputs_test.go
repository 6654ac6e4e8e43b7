//go:build !llama_system

package llama_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
)

var update = flag.Bool("update", false, "write docs/bad-inputs.md anew")

// badFile is a model file damaged in one way. Each was found by thinking or by the
// fuzzers; what crashed once stays here.
type badFile struct {
	what  string
	base  string // "llama" if empty
	edit  func(*rawFile)
	write func() []byte // instead of base and edit
	load  llama.ModelParams
}

func tensorType(name string, typ uint32) func(*rawFile) {
	return func(f *rawFile) {
		t := f.tensor(name)
		t.typ = typ
		t.fill()
	}
}

// token replaces the text of one token.
func token(id int, text string) func(*rawFile) {
	return func(f *rawFile) {
		tokens := f.tokens()
		tokens[id] = text
		f.set("tokenizer.ggml.tokens", tokens)
	}
}

var badFiles = []struct {
	title string
	files []badFile
}{
	{"The container", []badFile{
		{what: "an empty file", write: func() []byte { return nil }},
		{what: "a text", write: func() []byte { return []byte("# a model\n\nhello") }},
		{what: "a Git LFS pointer", write: func() []byte { return []byte("version https://git-lfs.github.com/spec/v1\n") }},
		{what: "a web page", write: func() []byte { return []byte("<!DOCTYPE html><html>") }},
		{what: "safetensors", write: func() []byte { return []byte("\x02\x00\x00\x00\x00\x00\x00\x00{}") }},
		{what: "the magic alone", write: func() []byte { return []byte("GGUF") }},
		{what: "version 1", edit: func(f *rawFile) { f.version = 1 }},
		{what: "big endian", edit: func(f *rawFile) { f.version = 3 << 24 }},
		{what: "more tensors than the file has", edit: func(f *rawFile) { f.tensorsMore = 1 }},
		{what: "2^40 tensors", edit: func(f *rawFile) { f.tensorsMore = 1 << 40 }},
		{what: "-1 metadata entries", edit: func(f *rawFile) { f.kvsMore = -1 - int64(len(f.kvs)) }},
		{what: "cut in the metadata", write: func() []byte { return rawBase("llama").bytes()[:300] }},
		{what: "cut in the data", edit: func(f *rawFile) { f.cut = 1000 }},
		{what: "a string that claims 2^62 bytes", edit: func(f *rawFile) { f.kv("general.name").value = le(uint64(1) << 62) }},
		{what: "an array that claims 2^62 elements", edit: func(f *rawFile) {
			kv := f.kv("ggml.scores")
			kv.value = append(append(append([]byte{}, kv.value[:4]...), le(uint64(1)<<62)...), kv.value[12:]...)
		}},
		{what: "an array of arrays", edit: func(f *rawFile) { f.kvs[1].typ, f.kvs[1].value = 9, append(le(uint32(9)), le(uint64(1))...) }},
		{what: "a value of an unknown type", edit: func(f *rawFile) { f.kvs[1].typ = 77 }},
		{what: "a key that stands twice", edit: func(f *rawFile) { f.kvs = append(f.kvs, f.kvs[1]) }},
		{what: "an empty key", edit: setting("", "x")},
		{what: "a key with a zero byte", edit: setting("llama.block_count\x00", uint32(900))},
		{what: "an alignment of 3", edit: func(f *rawFile) { f.alignment = 3; f.set("general.alignment", uint32(3)) }},
		{what: "an alignment of 8", edit: func(f *rawFile) { f.alignment = 8; f.set("general.alignment", uint32(8)) }},
		{what: "a head in place of a model", edit: setting("general.type", "ivo.valuehead")},
		{what: "an adapter in place of a model", edit: setting("general.type", "adapter")},
	}},
	{"The tensors", []badFile{
		{what: "a tensor that claims 2^40 elements", edit: func(f *rawFile) { f.tensor("output.weight").dims = []uint64{1 << 20, 1 << 20} }},
		{what: "dimensions that overflow", edit: func(f *rawFile) { f.tensor("output.weight").dims = []uint64{1 << 32, 1 << 32, 2} }},
		{what: "a dimension of 0", edit: func(f *rawFile) { f.tensor("output.weight").dims = []uint64{32, 0} }},
		{what: "five dimensions", edit: func(f *rawFile) { f.tensor("output.weight").dims = []uint64{1, 1, 1, 1, 1} }},
		{what: "an unknown type", edit: func(f *rawFile) { f.tensor("output.weight").typ = 99 }},
		{what: "rows that do not fill blocks", base: "tied", edit: func(f *rawFile) { f.tensor("token_embd.weight").typ = 12 }},
		{what: "an offset beyond the file", edit: func(f *rawFile) { f.offsetsMoved = true; f.tensors[1].offset = 1 << 40 }},
		{what: "tensors that lie on each other", edit: func(f *rawFile) { f.offsetsMoved = true }},
		{what: "a tensor that stands twice", edit: func(f *rawFile) { f.tensors = append(f.tensors, f.tensors[0]) }},
		{what: "a name with a zero byte", edit: func(f *rawFile) { f.tensors[0].name = "token_embd.weight\x00" }},
		{what: "a missing tensor", edit: func(f *rawFile) { f.tensors = f.tensors[1:] }},
		{what: "a tensor too many", edit: func(f *rawFile) {
			f.tensors = append(f.tensors, rawTensor{name: "x", dims: []uint64{1}, data: make([]byte, 4)})
		}},
		{what: "a matrix of the wrong shape", edit: tensorDims("blk.0.attn_q.weight", 32, 64)},
		{what: "a matrix with three dimensions", edit: tensorDims("token_embd.weight", 1, 32, 272)},
		{what: "experts with four dimensions", base: "moe", edit: tensorDims("blk.0.ffn_up_exps.weight", 1, 32, 48, 4)},
		{what: "weights as integers", edit: tensorType("blk.0.attn_k.weight", 27)},
		{what: "weights as doubles", edit: tensorType("blk.0.attn_k.weight", 28)},
		{what: "weights as Q8_1", edit: tensorType("token_embd.weight", 9)},
		{what: "a norm in F16", edit: tensorType("blk.0.attn_norm.weight", 1)},
		{what: "a bias in Q4_0", base: "qwen2", edit: tensorType("blk.0.attn_q.bias", 2)},
		{what: "a convolution in BF16", base: "mamba", edit: tensorType("blk.0.ssm_conv1d.weight", 30)},
		{what: "NaN among the weights, with CheckTensors", load: llama.ModelParams{CheckTensors: true}, edit: func(f *rawFile) {
			f.tensors[0].data = append([]byte{}, f.tensors[0].data...)
			copy(f.tensors[0].data, le(nan32))
		}},
	}},
	{"The hyperparameters", []badFile{
		{what: "no architecture", edit: func(f *rawFile) { f.drop("general.architecture") }},
		{what: "an unknown architecture", edit: func(f *rawFile) { f.set("general.architecture", "perceptron") }},
		{what: "an architecture with a zero byte", edit: setting("general.architecture", "llama\x00")},
		{what: "no context length", edit: func(f *rawFile) { f.drop("llama.context_length") }},
		{what: "a context length that is a text", edit: setting("llama.context_length", "long")},
		{what: "no layers", edit: setting("llama.block_count", uint32(0))},
		{what: "2^32-1 layers", edit: setting("llama.block_count", uint32(math.MaxUint32))},
		{what: "one layer more than there is", edit: setting("llama.block_count", uint32(fuzzLayers+1))},
		{what: "no heads", edit: setting("llama.attention.head_count", uint32(0))},
		{what: "heads left out", edit: func(f *rawFile) { f.drop("llama.attention.head_count") }},
		{what: "heads as texts", edit: setting("llama.attention.head_count", []string{"a", "b"})},
		{what: "heads that do not divide the width", edit: setting("llama.attention.head_count", uint32(5))},
		{what: "a list of heads for three layers", edit: setting("llama.attention.head_count", []uint32{4, 4, 4})},
		{what: "an odd rope dimension", edit: setting("llama.rope.dimension_count", uint32(7))},
		{what: "a rope dimension wider than a head", base: "gemma2", edit: setting("gemma2.rope.dimension_count", uint32(1<<24))},
		{what: "an unknown rope scaling", edit: setting("llama.rope.scaling.type", "stretchy")},
		{what: "a negative epsilon", edit: setting("llama.attention.layer_norm_rms_epsilon", float32(-1))},
		{what: "an epsilon that is NaN", edit: setting("llama.attention.layer_norm_rms_epsilon", nan32)},
		{what: "65,536 experts", base: "moe", edit: setting("llama.expert_count", uint32(65536))},
		{what: "more experts used than there are", base: "moe", edit: setting("llama.expert_used_count", uint32(5))},
		{what: "no expert used", base: "moe", edit: setting("llama.expert_used_count", uint32(0))},
		{what: "groups of experts that do not fit", base: "moe", edit: func(f *rawFile) {
			f.set("llama.expert_group_count", uint32(3))
			f.set("llama.expert_group_used_count", uint32(1))
		}},
		{what: "labels that are numbers", edit: setting("llama.classifier.output_labels", []int32{1})},
	}},
	{"The vocabulary", []badFile{
		{what: "an unknown tokenizer", edit: setting("tokenizer.ggml.model", "magic")},
		{what: "no tokens", edit: func(f *rawFile) { f.drop("tokenizer.ggml.tokens") }},
		{what: "an empty list of tokens", edit: setting("tokenizer.ggml.tokens", []string{})},
		{what: "tokens that are numbers", edit: setting("tokenizer.ggml.tokens", []int32{1, 2, 3})},
		{what: "another number of tokens than embeddings", edit: func(f *rawFile) {
			n := 270
			f.set("tokenizer.ggml.tokens", f.tokens()[:n])
			f.set("tokenizer.ggml.scores", make([]float32, n))
		}},
		{what: "two tokens with one text", edit: token(270, "a")},
		{what: "two tokens alike up to a zero byte", edit: token(270, "a\x00b")},
		{what: "fewer scores than tokens", edit: setting("tokenizer.ggml.scores", []float32{1, 2})},
		{what: "scores that are doubles", edit: setting("tokenizer.ggml.scores", []int64{1, 2})},
		{what: "fewer types than tokens", edit: setting("tokenizer.ggml.token_type", []int32{1, 2})},
		{what: "types that are bytes", edit: setting("tokenizer.ggml.token_type", make([]uint8, 272))},
		{what: "merges that are numbers", base: "bpe", edit: setting("tokenizer.ggml.merges", []int32{1})},
		{what: "no merges", base: "bpe", edit: func(f *rawFile) { f.drop("tokenizer.ggml.merges") }},
		{what: "three tokens, and the usual BOS 11", base: "bpe", edit: func(f *rawFile) {
			f.set("tokenizer.ggml.tokens", []string{"a", "b", "c"})
		}},
		{what: "an EOS token out of range, and two tokens", edit: func(f *rawFile) {
			f.set("tokenizer.ggml.tokens", []string{"a", "b"})
			f.set("tokenizer.ggml.bos_token_id", uint32(0))
			f.set("tokenizer.ggml.eos_token_id", uint32(1<<31))
		}},
		{what: "a BOS token to be added where there is none", base: "ugm", edit: setting("tokenizer.ggml.add_bos_token", true)},
		{what: "BPE without a pre-tokenizer", base: "bpe", edit: func(f *rawFile) { f.drop("tokenizer.ggml.pre") }},
		{what: "a pre-tokenizer that is not known", base: "bpe", edit: setting("tokenizer.ggml.pre", "of-tomorrow")},
		{what: "no such pre-tokenizer to take instead", base: "bpe", load: llama.ModelParams{Pretokenizer: "nonsense"}, edit: setting("tokenizer.ggml.pre", "of-tomorrow")},
		{what: "a normalizer without end", base: "ugm", edit: setting("tokenizer.ggml.precompiled_charsmap", []uint8{0, 0, 0, 0, 1, 2})},
		{what: "a normalizer that is a number", base: "ugm", edit: setting("tokenizer.ggml.precompiled_charsmap", uint32(1))},
		{what: "byte tokens in a bert vocabulary", base: "wpm", edit: func(f *rawFile) {
			types := make([]int32, len(f.tokens()))
			types[7] = byteToken
			f.set("tokenizer.ggml.token_type", types)
		}},
		{what: "an RWKV vocabulary without a byte that starts tokens", base: "rwkv", edit: token('a', "xyz")},
		{what: "2^32-1 tokens without texts", base: "none", edit: setting("llama.vocab_size", uint32(math.MaxUint32))},
	}},
}

// docs/bad-inputs.md says what each bad input gets. -update writes it anew.
func TestBadInputs(t *testing.T) {
	var doc strings.Builder
	doc.WriteString(`# Bad inputs, and what each gets

Written by ` + "`go test ./llama -run TestBadInputs -update`" + ` and held true by that test, with the
embedded llama.cpp. None of these ends the process. Below ` + "`FILE`" + ` stands for the path. ivo refuses
most of them before llama.cpp sees the file; errors that begin with a function's name are llama.cpp's own.
`)
	row := func(what string, err error) {
		if err == nil {
			t.Errorf("%s: no error", what)
			return
		}
		fmt.Fprintf(&doc, "| %s | %s |\n", what, strings.NewReplacer("|", `\|`, "\n", " ").Replace(err.Error()))
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "FILE")
	for _, group := range badFiles {
		fmt.Fprintf(&doc, "\n## %s\n\n| input | error |\n| --- | --- |\n", group.title)
		for _, bad := range group.files {
			var data []byte
			if bad.write != nil {
				data = bad.write()
			} else {
				f := rawBase(map[bool]string{true: "llama", false: bad.base}[bad.base == ""])
				bad.edit(f)
				data = f.bytes()
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			m, err := llama.Load(path, bad.load)
			if err == nil {
				m.Close()
			} else if strings.Contains(err.Error(), "gave up") {
				t.Errorf("%s: met an assertion of llama.cpp: %v", bad.what, err)
			}
			if err != nil {
				err = fmt.Errorf("%s", strings.ReplaceAll(err.Error(), path, "FILE"))
			}
			row(bad.what, err)
		}
	}
	fmt.Fprintf(&doc, "\n## Calls\n\n| call | error |\n| --- | --- |\n")
	for _, c := range badCalls(t) {
		row("`"+c.what+"`", c.err)
	}
	const golden = "../docs/bad-inputs.md"
	if *update {
		if err := os.WriteFile(golden, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(doc.String(), "\n")); d != "" {
		t.Errorf("docs/bad-inputs.md is not what the code does (go test ./llama -run TestBadInputs -update writes it):\n%s", d)
	}
}

// openRaw loads a file until the test ends.
func openRaw(t *testing.T, f *rawFile) *llama.Model {
	path := filepath.Join(t.TempDir(), "FILE")
	if err := os.WriteFile(path, f.bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return load(t, path)
}

// badCall is a wrong call and the error it gets.
type badCall struct {
	what string
	err  error
}

// badCalls makes them, on a model of 272 tokens with two sequences and a batch of 4.
func badCalls(t *testing.T) []badCall {
	open := func(base string) *llama.Model { return openRaw(t, rawBase(base)) }
	m := open("llama")
	c := newContext(t, m, llama.ContextParams{Sequences: 2, Batch: 4})
	var calls []badCall
	note := func(what string, err error) { calls = append(calls, badCall{what, err}) }
	context := func(what string, m *llama.Model, p llama.ContextParams) {
		p.Threads = 1
		c, err := m.NewContext(p)
		if err == nil {
			c.Close()
		}
		note("NewContext: "+what, err)
	}
	add := func(what string, token, pos, seq int32) {
		_, err := c.Add(token, pos, seq, true, 0)
		note("Add: "+what, err)
	}
	_, err := llama.Load(filepath.Join(t.TempDir(), "none.gguf"), llama.ModelParams{})
	if e, ok := err.(*llama.Error); ok {
		e.Path = "FILE"
	}
	note("Load: a file that is not there", err)

	context("-1 tokens of context", m, llama.ContextParams{Ctx: -1})
	huge := rawBase("llama")
	huge.set("llama.context_length", uint32(1<<31))
	context("a model that claims a context of 2^31 tokens, and no -c", openRaw(t, huge), llama.ContextParams{})
	context("2^30 tokens of context", m, llama.ContextParams{Ctx: 1 << 30})
	context("a batch of -1", m, llama.ContextParams{Batch: -1})
	context("257 sequences", m, llama.ContextParams{Sequences: 257})
	context("a layer that is not there", m, llama.ContextParams{Layers: []int{fuzzLayers + 1}})
	context("an unknown cache type", m, llama.ContextParams{CacheK: 99})
	context("a Q8_0 cache for narrow heads", m, llama.ContextParams{CacheK: llama.CacheQ8_0})

	add("a token outside the vocabulary", 272, 0, 0)
	add("token -1", -1, 0, 0)
	add("position -1", 1, -1, 0)
	add("sequence 2 of 2", 1, 0, 2)
	note("Decode: an empty batch", c.Decode())
	c.Add(1, 3, 0, true, 0)
	c.Add(1, 7, 0, true, 0)
	note("Decode: a gap in the positions", c.Decode())
	for i := range int32(4) {
		c.Add(1, i, 0, i == 0, 0)
	}
	add("a fifth token in a batch of 4", 1, 4, 0)
	c.Clear()
	_, err = c.Row(0)
	note("Row: before a decode", err)
	note("Fork: into sequence 2 of 2", c.Fork(0, 2))
	note("Trim: from position -1", c.Trim(0, -1))
	_, err = c.Len(9)
	note("Len: of sequence 9", err)

	for _, bad := range []badFile{
		{what: "an adapter for another architecture", edit: setting("general.architecture", "qwen2")},
		{what: "an adapter of integers", edit: tensorType("blk.0.attn_q.weight.lora_a", 26)},
		{what: "half a pair", edit: func(f *rawFile) { f.tensors = f.tensors[1:] }},
		{what: "a pair of another width", edit: tensorDims("blk.0.attn_q.weight.lora_a", 64, 4)},
	} {
		f := rawBase(adapterBase)
		bad.edit(f)
		path := filepath.Join(t.TempDir(), "FILE")
		if err := os.WriteFile(path, f.bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := m.LoadLoRA(path)
		if e, ok := err.(*llama.Error); ok {
			e.Path = "FILE"
		}
		note("LoadLoRA: "+bad.what, err)
	}

	learned := newContext(t, open("gpt2"), llama.ContextParams{Ctx: 256})
	_, err = learned.Add(1, fuzzCtx, 0, true, 0)
	note("Add: a position beyond those that a GPT-2 learned", err)

	_, err = open("bpe").Tokenize(strings.Repeat("a", 1<<21), true, true)
	note("Tokenize: a word of 2 MiB", err)
	_, err = m.Piece(272, true)
	note("Piece: a token outside the vocabulary", err)
	_, err = m.Detokenize([]int32{-1}, true)
	note("Detokenize: token -1", err)
	_, err = m.RenderChat([]llama.Message{{Role: "user", Content: "hi"}}, llama.Chat{Template: "no such template"})
	note("RenderChat: an unknown template", err)
	_, err = m.RenderChat(nil, llama.Chat{})
	note("RenderChat: no messages", err)
	note("Close: a model with open contexts", m.Close())
	_, err = open("none").Tokenize("a", true, true)
	note("Tokenize: a model without a tokenizer", err)

	closed := newContext(t, m, llama.ContextParams{})
	closed.Close()
	note("Decode: a closed context", closed.Decode())
	return calls
}
