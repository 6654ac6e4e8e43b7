package prompt

import (
	"fmt"
	"path/filepath"
	"slices"

	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

// Special tokens of the families whose templates the tests have, as their models mark them.
var (
	controlTexts = []string{
		"<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>",
		"[INST]", "[/INST]", "[[INST]]", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>", "<|sep|>", "<|é|>",
	}
	addedTexts = []string{"<think>", "<tool_call>", "<|im"}
)

const (
	normalType, unknownType, controlType, addedType = int32(1), int32(2), int32(3), int32(4)
)

// vocabularies are tokenizers without models: of the lab, with special tokens in the place of
// words; the same under a name for which llama.cpp lets some tokens take white space along;
// and a byte-level one.
var vocabularies = map[string]func() ([]gguf.KV, error){
	"sentencepiece": func() ([]gguf.KV, error) { return labVocabulary("lab") },
	"stripping":     func() ([]gguf.KV, error) { return labVocabulary("phi-3") },
	"bytes":         func() ([]gguf.KV, error) { return byteVocabulary(), nil },
}

func labVocabulary(name string) ([]gguf.KV, error) {
	f, err := gguf.Read(filepath.Join("..", "..", "testdata", "lab", "summarize-s.gguf"))
	if err != nil {
		return nil, err
	}
	var kvs []gguf.KV
	for _, kv := range f.KVs {
		switch kv.Key {
		case "tokenizer.ggml.tokens":
			tokens := slices.Clone(kv.Value.([]string))
			copy(tokens[len(tokens)-len(controlTexts)-len(addedTexts):], slices.Concat(controlTexts, addedTexts))
			kv.Value = tokens
		case "tokenizer.ggml.token_type":
			types := slices.Clone(kv.Value.([]int32))
			for i := range addedTexts {
				types[len(types)-1-i] = addedType
			}
			for i := range controlTexts {
				types[len(types)-1-len(addedTexts)-i] = controlType
			}
			kv.Value = types
		case "general.name":
			kv.Value = name
		}
		kvs = append(kvs, kv)
	}
	return kvs, nil
}

// byteVocabulary is GPT-2's alphabet with a few merges.
func byteVocabulary() []gguf.KV {
	var tokens []string
	for b := range 256 {
		// GPT-2 writes the bytes that do not print as characters from 256 on.
		r := rune(b)
		if b < 0x21 || b > 0x7e && b < 0xa1 || b == 0xad {
			r = rune(256 + b)
		}
		tokens = append(tokens, string(r))
	}
	// The characters from 256 on stand in the order of their bytes.
	next := rune(256)
	for b := range 256 {
		if b < 0x21 || b > 0x7e && b < 0xa1 || b == 0xad {
			tokens[b] = string(next)
			next++
		}
	}
	var merges []string
	for _, m := range [][2]string{{"Ġ", "b"}, {"h", "i"}, {"e", "r"}, {"Ġ", "t"}, {"<", "|"}, {"|", ">"}, {"i", "m"}, {"e", "n"}, {"en", "d"}, {"Ċ", "Ċ"}, {">", "Ċ"}, {"Ġb", "e"}} {
		merges = append(merges, m[0]+" "+m[1])
		tokens = append(tokens, m[0]+m[1])
	}
	types := slices.Repeat([]int32{normalType}, len(tokens))
	eos := uint32(len(tokens) + slices.Index(controlTexts, "<|endoftext|>"))
	tokens = slices.Concat(tokens, controlTexts, addedTexts)
	types = slices.Concat(types, slices.Repeat([]int32{controlType}, len(controlTexts)), slices.Repeat([]int32{addedType}, len(addedTexts)))
	return []gguf.KV{
		{Key: "general.architecture", Value: "llama"},
		{Key: "general.name", Value: "bytes"},
		{Key: "tokenizer.ggml.model", Value: "gpt2"},
		{Key: "tokenizer.ggml.pre", Value: "llama-bpe"},
		{Key: "tokenizer.ggml.tokens", Value: tokens},
		{Key: "tokenizer.ggml.token_type", Value: types},
		{Key: "tokenizer.ggml.merges", Value: merges},
		{Key: "tokenizer.ggml.bos_token_id", Value: eos},
		{Key: "tokenizer.ggml.eos_token_id", Value: eos},
		{Key: "tokenizer.ggml.add_bos_token", Value: true},
	}
}

// tokenizer loads one of the vocabularies with a chat template.
func tokenizer(t testing.TB, name, template string) *llama.Model {
	t.Helper()
	kvs, err := vocabularies[name]()
	if err != nil {
		t.Fatal(err)
	}
	if template != "" {
		kvs = append(kvs, gguf.KV{Key: "tokenizer.chat_template", Value: template})
	}
	path := filepath.Join(t.TempDir(), fmt.Sprintf("%s.gguf", name))
	if err := gguf.Write(path, kvs, nil); err != nil {
		t.Fatal(err)
	}
	m, err := llama.Load(path, llama.ModelParams{VocabOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}
