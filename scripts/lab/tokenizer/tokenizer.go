// Package tokenizer builds the vocabulary of the lab's models from a corpus, as the
// metadata that llama.cpp's SentencePiece tokenizer (tokenizer.ggml.model "llama")
// reads. It does not tokenize: that is llama.cpp's work, so that training and
// decoding see the same tokens.
//
// Merges are learned by byte pair encoding (Sennrich et al. 2016) within words: a
// word is a run of letters with the space before it. Whatever is no letter stays a
// token of its own, and text outside the corpus falls back to bytes, so any UTF-8
// goes in. As in SentencePiece the sign U+2581 stands for the space and comes back
// as one.
package tokenizer

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"unicode"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// Newline is the id of the line break, a byte token that is never merged. It is the
// vocabulary's end-of-turn token: a response is one line.
const Newline = firstByte + '\n'

// Ids of the special tokens, and of the first byte token.
const (
	unknown   = 0
	bos       = 1
	eos       = 2
	firstByte = 3
)

// llama.cpp's token types (enum llama_token_type).
const (
	normalType  = int32(1)
	unknownType = int32(2)
	controlType = int32(3)
	byteType    = int32(6)
)

const space = '▁'

// vocabulary is the three parallel arrays of the metadata.
type vocabulary struct {
	tokens []string
	scores []float32
	types  []int32
}

func (v *vocabulary) add(token string, score float32, kind int32) {
	v.tokens = append(v.tokens, token)
	v.scores = append(v.scores, score)
	v.types = append(v.types, kind)
}

// Train learns a vocabulary of exactly size tokens and returns it as GGUF metadata:
// the three special tokens, 256 bytes, the corpus's characters, and merges, whose
// scores fall with their rank. Where the corpus needs fewer, common English words fill
// the vocabulary.
func Train(corpus iter.Seq[string], size int) ([]gguf.KV, error) {
	counts := map[string]int{}
	characters := map[rune]bool{space: true}
	for text := range corpus {
		for _, word := range split(text) {
			counts[string(word)]++
		}
		for _, r := range text {
			if r != ' ' && r != '\n' {
				characters[r] = true
			}
		}
	}
	for word := range counts {
		counts[word] *= len(common) // any word of the corpus before all of the others
	}
	for _, word := range split(common) {
		counts[string(word)]++
	}
	var v vocabulary
	v.add("<unk>", 0, unknownType)
	v.add("<s>", 0, controlType)
	v.add("</s>", 0, controlType)
	for b := range 256 {
		v.add(fmt.Sprintf("<0x%02X>", b), 0, byteType)
	}
	for _, r := range slices.Sorted(maps.Keys(characters)) {
		v.add(string(r), 0, normalType)
	}
	merges := size - len(v.tokens)
	if merges < 0 {
		return nil, fmt.Errorf("tokenizer: %d tokens do not hold the bytes and the corpus's %d characters (ask for at least %d)", size, len(characters), len(v.tokens))
	}
	learned := learn(counts, merges)
	if len(learned) < merges {
		return nil, fmt.Errorf("tokenizer: there are only %d merges to learn, %d are wanted (give more text, or ask for at most %d tokens)", len(learned), merges, size-merges+len(learned))
	}
	for rank, token := range learned {
		v.add(token, -float32(rank+1), normalType)
	}
	return []gguf.KV{
		{Key: "tokenizer.ggml.model", Value: "llama"},
		{Key: "tokenizer.ggml.tokens", Value: v.tokens},
		{Key: "tokenizer.ggml.scores", Value: v.scores},
		{Key: "tokenizer.ggml.token_type", Value: v.types},
		{Key: "tokenizer.ggml.unknown_token_id", Value: uint32(unknown)},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(bos)},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(eos)},
		{Key: "tokenizer.ggml.eot_token_id", Value: uint32(Newline)},
		{Key: "tokenizer.ggml.add_bos_token", Value: true},
		{Key: "tokenizer.ggml.add_eos_token", Value: false},
		{Key: "tokenizer.ggml.add_space_prefix", Value: true},
	}, nil
}

// split returns the words of a text, each with the space before it, if there is one.
// A space is put before the text, as llama.cpp does.
func split(text string) [][]rune {
	var words [][]rune
	var word []rune
	flush := func() {
		if len(word) > 1 {
			words = append(words, word)
		}
		word = nil
	}
	for _, r := range " " + text {
		switch {
		case r == ' ':
			flush()
			word = []rune{space}
		case unicode.IsLetter(r):
			word = append(word, r)
		default:
			flush()
		}
	}
	flush()
	return words
}

type pair struct{ left, right string }

// learn returns the first n merges of byte pair encoding over counted words. Ties go
// to the pair that sorts first, so the same corpus gives the same vocabulary.
func learn(counts map[string]int, n int) []string {
	type word struct {
		symbols []string
		count   int
	}
	var words []word
	for _, w := range slices.Sorted(maps.Keys(counts)) {
		var symbols []string
		for _, r := range w {
			symbols = append(symbols, string(r))
		}
		words = append(words, word{symbols, counts[w]})
	}
	var merges []string
	known := map[string]bool{}
	for len(merges) < n {
		pairs := map[pair]int{}
		for _, w := range words {
			for i := range w.symbols[1:] {
				pairs[pair{w.symbols[i], w.symbols[i+1]}] += w.count
			}
		}
		if len(pairs) == 0 {
			break
		}
		best := slices.MaxFunc(slices.Collect(maps.Keys(pairs)), func(a, b pair) int {
			return cmp.Or(pairs[a]-pairs[b], cmp.Compare(b.left, a.left), cmp.Compare(b.right, a.right))
		})
		for i, w := range words {
			words[i].symbols = merge(w.symbols, best)
		}
		// Two pairs may give the same token; it is one entry of the vocabulary.
		if token := best.left + best.right; !known[token] {
			known[token] = true
			merges = append(merges, token)
		}
	}
	return merges
}

// merge joins each occurrence of the pair, from left to right, in place.
func merge(symbols []string, p pair) []string {
	out := symbols[:0]
	for i := 0; i < len(symbols); i++ {
		if i+1 < len(symbols) && symbols[i] == p.left && symbols[i+1] == p.right {
			out = append(out, p.left+p.right)
			i++
			continue
		}
		out = append(out, symbols[i])
	}
	return out
}
