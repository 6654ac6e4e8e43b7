package llama

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

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

func checkVocabulary(f *gguf.File, pre string) error {
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
	if i := slices.Index(types, byteType); kind == "bert" && i >= 0 {
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
	if pre = cmp.Or(pre, f.Str(keyPre)); pre == "glm4" || pre == "chatglm-bpe" {
		defaults.bos = -1
	}
	bos, err1 := special("bos", defaults.bos)
	eos, err2 := special("eos", defaults.eos)
	_, err3 := special("unknown", defaults.unknown)
	_, err4 := special("seperator", defaults.separator) // llama.cpp's spelling
	_, err5 := special("padding", defaults.padding)
	_, err6 := special("mask", defaults.mask)
	for _, err := range []error{err1, err2, err3, err4, err5, err6} {
		if err != nil {
			return err
		}
	}
	for name, id := range map[string]int64{"bos": bos, "eos": eos} {
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
