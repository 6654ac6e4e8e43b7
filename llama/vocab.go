package llama

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"bytes"
	"math"
	"slices"
	"sync"
	"unsafe"
)

type vocabulary struct {
	none         bool // token ids without texts
	kind         VocabType
	special      SpecialTokens
	addBOS       bool
	eog          []bool
	pieces       [][]byte // of each token, control tokens empty
	chatTemplate string
	sorted       sortedPieces
}

// sortedPieces are the tokens that write something and do not end a response, by their texts.
type sortedPieces struct {
	once   sync.Once
	order  []int32
	shared []int32 // bytes that a token's text has in common with the one before
}

func (m *Model) sortedPieces() *sortedPieces {
	v := &m.tok.sorted
	v.once.Do(func() {
		for token, piece := range m.tok.pieces {
			if writes(piece) && !m.tok.eog[token] {
				v.order = append(v.order, int32(token))
			}
		}
		slices.SortStableFunc(v.order, func(a, b int32) int { return bytes.Compare(m.tok.pieces[a], m.tok.pieces[b]) })
		v.shared = make([]int32, len(v.order))
		for i := 1; i < len(v.order); i++ {
			a, b, n := m.tok.pieces[v.order[i-1]], m.tok.pieces[v.order[i]], 0
			for n < min(len(a), len(b)) && a[n] == b[n] {
				n++
			}
			v.shared[i] = int32(n)
		}
	})
	return v
}

// VocabType is the kind of a tokenizer (enum llama_vocab_type).
type VocabType int32

const (
	VocabNone          VocabType = 0
	VocabSentencePiece VocabType = 1 // byte fallback, as Llama's
	VocabBPE           VocabType = 2 // byte-level BPE, as GPT-2's
	VocabWordPiece     VocabType = 3 // as BERT's
	VocabUnigram       VocabType = 4 // as T5's
	VocabRWKV          VocabType = 5
	VocabPLaMo2        VocabType = 6
)

// SpecialTokens are the ids of tokens with a meaning, -1 where the vocabulary has none.
type SpecialTokens struct {
	BOS       int32 // begin of sequence (llama_vocab_bos)
	EOS       int32 // end of sequence (llama_vocab_eos)
	EOT       int32 // end of turn (llama_vocab_eot)
	Newline   int32 // llama_vocab_nl
	Pad       int32 // llama_vocab_pad
	Separator int32 // llama_vocab_sep
	Mask      int32 // llama_vocab_mask
	// Fill in the middle: the text before, the text after, the text to write
	// (llama_vocab_fim_pre, llama_vocab_fim_suf, llama_vocab_fim_mid).
	FIMPrefix, FIMSuffix, FIMMiddle int32
}

// TokenAttr says what a token is (enum llama_token_attr): a set of bits.
type TokenAttr int32

const (
	AttrUnknown     TokenAttr = 1 << iota // stands for what the vocabulary cannot write
	AttrUnused                            // a placeholder
	AttrNormal                            // text
	AttrControl                           // steers the model, prints nothing
	AttrUserDefined                       // added text that is never split
	AttrByte                              // one byte
	AttrNormalized
	AttrLStrip // takes the white space before it
	AttrRStrip // takes the white space after it
	AttrSingleWord
)

// Token is an entry of the vocabulary.
type Token struct {
	Text  string // as stored: with the tokenizer's marks for spaces and bytes
	Score float32
	Attr  TokenAttr
}

// Special are the special tokens of the vocabulary; see [SpecialTokens] for the functions.
func (m *Model) Special() SpecialTokens { return m.tok.special }

// VocabType is the kind of the model's tokenizer (llama_vocab_type).
func (m *Model) VocabType() VocabType { return m.tok.kind }

// Token is an entry of the vocabulary (llama_vocab_get_text, llama_vocab_get_score,
// llama_vocab_get_attr). Its text as it appears in a response is [Model.Piece].
func (m *Model) Token(token int32) (Token, error) {
	if err := m.checkTexts("token"); err != nil {
		return Token{}, err
	}
	if err := m.checkToken("token", token); err != nil {
		return Token{}, err
	}
	if err := m.enter("token"); err != nil {
		return Token{}, err
	}
	defer m.leave()
	var t C.ivo_token
	C.ivo_token_get(m.c, C.int32_t(token), &t)
	return Token{C.GoString(t.text), float32(t.score), TokenAttr(t.attr)}, nil
}

// BOS is the begin-of-sequence token, -1 if there is none (llama_vocab_bos).
func (m *Model) BOS() int32 { return m.tok.special.BOS }

// EOS is the end-of-sequence token, -1 if there is none (llama_vocab_eos).
func (m *Model) EOS() int32 { return m.tok.special.EOS }

// EOT is the end-of-turn token, -1 if there is none (llama_vocab_eot).
func (m *Model) EOT() int32 { return m.tok.special.EOT }

// AddBOS says whether the model wants its BOS token before a prompt
// (llama_vocab_get_add_bos).
func (m *Model) AddBOS() bool { return m.tok.addBOS }

// IsEOG says whether the token ends a generation (EOS, EOT and their like;
// llama_vocab_is_eog). An id outside the vocabulary does not.
func (m *Model) IsEOG(token int32) bool {
	return token >= 0 && int(token) < len(m.tok.eog) && m.tok.eog[token]
}

// Tokenize turns UTF-8 text into token ids (llama_tokenize). special adds the BOS or
// EOS token if the model is configured so; parse recognises special tokens written
// out in the text, which untrusted text should not be allowed to do.
func (m *Model) Tokenize(text string, special, parse bool) ([]int32, error) {
	if err := m.checkTexts("tokenize"); err != nil {
		return nil, err
	}
	if len(text) > math.MaxInt32/4 {
		return nil, failf("tokenize", "split the text", "a text of %d bytes is too long", len(text))
	}
	if err := m.enter("tokenize"); err != nil {
		return nil, err
	}
	defer m.leave()
	var stack C.size_t
	if run := longestRun(text); m.tok.kind == VocabBPE && run > 128 {
		// llama.cpp's regular expressions recurse over the characters of a match.
		if run > maxRun {
			return nil, failf("tokenize", "break it with spaces or line ends", "a run of %d bytes without white space, or of nothing else, is too long", run)
		}
		stack = (1<<20 + 2048*C.size_t(run)) &^ (1<<16 - 1) // whole pages: macOS takes no others
	}
	ctext := C.CString(text)
	defer C.free(unsafe.Pointer(ctext))
	out := make([]int32, len(text)+2)
	for range 2 {
		n := C.ivo_tokenize(m.c, ctext, C.int32_t(len(text)), (*C.int32_t)(unsafe.Pointer(&out[0])), C.int32_t(len(out)), C.bool(special), C.bool(parse), stack)
		switch {
		case n == math.MinInt32:
			return nil, failf("tokenize", "", "llama.cpp failed: %s", takeErrors())
		case n >= 0:
			return out[:n], nil
		}
		out = make([]int32, -n)
	}
	return nil, failf("tokenize", "", "llama.cpp gave no stable token count")
}

// maxRun is the longest run that is tokenized: its stack takes 2 GiB of addresses.
const maxRun = 1 << 20

// longestRun is the length in bytes of the longest part of a text that is all white
// space or without any. What is not ASCII may be either.
func longestRun(text string) int {
	longest, space, other := 0, 0, 0
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 0x80:
			space++
			other++
		case c == ' ' || c >= '\t' && c <= '\r':
			space++
			other = 0
		default:
			other++
			space = 0
		}
		longest = max(longest, space, other)
	}
	return longest
}

// Piece is the text of one token (llama_token_to_piece): bytes that may be a part of
// a UTF-8 character, not to be written to. special renders control tokens, which are
// otherwise empty.
func (m *Model) Piece(token int32, special bool) ([]byte, error) {
	if err := m.checkTexts("piece"); err != nil {
		return nil, err
	}
	if err := m.checkToken("piece", token); err != nil {
		return nil, err
	}
	if !special {
		return m.tok.pieces[token], nil // decoding asks for every token: no crossing to C
	}
	return m.readPiece(token, special)
}

// readPiece asks llama.cpp for the text of a token of the vocabulary.
func (m *Model) readPiece(token int32, special bool) ([]byte, error) {
	if err := m.enter("piece"); err != nil {
		return nil, err
	}
	defer m.leave()
	buf := make([]byte, 64)
	for range 2 {
		n := C.ivo_piece(m.c, C.int32_t(token), (*C.char)(unsafe.Pointer(&buf[0])), C.int32_t(len(buf)), C.bool(special))
		switch {
		case n == math.MinInt32:
			return nil, failf("piece", "", "llama.cpp failed: %s", takeErrors())
		case n >= 0:
			return buf[:n], nil
		}
		buf = make([]byte, -n)
	}
	return nil, failf("piece", "", "llama.cpp gave no stable length")
}

// Detokenize is the inverse of [Model.Tokenize] (llama_detokenize).
func (m *Model) Detokenize(tokens []int32, special bool) (string, error) {
	if err := m.checkTexts("detokenize"); err != nil {
		return "", err
	}
	if len(tokens) == 0 {
		return "", nil
	}
	for _, t := range tokens {
		if err := m.checkToken("detokenize", t); err != nil {
			return "", err
		}
	}
	if err := m.enter("detokenize"); err != nil {
		return "", err
	}
	defer m.leave()
	buf := make([]byte, 8*len(tokens)+64)
	for range 2 {
		n := C.ivo_detokenize(m.c, (*C.int32_t)(unsafe.Pointer(&tokens[0])), C.int32_t(len(tokens)), (*C.char)(unsafe.Pointer(&buf[0])), C.int32_t(len(buf)), C.bool(special))
		switch {
		case n == math.MinInt32:
			return "", failf("detokenize", "", "llama.cpp failed: %s", takeErrors())
		case n >= 0:
			return string(buf[:n]), nil
		}
		buf = make([]byte, -n)
	}
	return "", failf("detokenize", "", "llama.cpp gave no stable length")
}

// checkTexts refuses what a closed model, or one without a tokenizer, cannot do.
func (m *Model) checkTexts(op string) error {
	switch {
	case m.closed.Load():
		return &Error{Op: op, Err: ErrClosed}
	case m.tok.none:
		return failf(op, "convert the model with its vocabulary", "the model has no tokenizer")
	}
	return nil
}

func (m *Model) checkToken(op string, token int32) error {
	if token < 0 || int(token) >= m.info.Vocab {
		return failf(op, "token ids come from this model's own vocabulary", "token %d is not one of %d", token, m.info.Vocab)
	}
	return nil
}
