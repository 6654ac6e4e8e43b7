package llama

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"bytes"
	"slices"
	"sync/atomic"
	"unicode/utf8"
	"unsafe"
)

// maxGrammarPiece is the length in bytes of the longest token that a grammar can be
// used with: llama.cpp recurses over a token's characters.
const maxGrammarPiece = 4096

// Grammar follows a text as it is generated, and says which tokens it may go on with
// (the sampler of llama_sampler_init_grammar). It belongs to one goroutine at a time.
//
//	g, err := m.NewGrammar(`root ::= "yes" | "no"`, "")
//	...
//	err = g.Mask(row.Top, allowed)  // which of the candidates may come next
//	err = g.Accept(token)           // the one that was chosen
//
// llama.cpp keeps every reading of a text apart. A grammar that can read the same
// characters in several ways, as ([a-z] | [a-z0-9])* can, makes a mask slow,
// exponentially in the length of a token; and if rules that stand in themselves can,
// in the length of the text. [CheckGrammar] does not see that.
type Grammar struct {
	c     *C.ivo_grammar
	model *Model
	gbnf  *gbnf
	named []int32 // tokens that the grammar names
	inUse atomic.Bool
	text  int    // bytes accepted
	tail  []byte // the last of them where a character is not complete
}

// NewGrammar makes a grammar of a GBNF text in which rule root ("" for "root") describes
// the whole response (llama_sampler_init_grammar). [CheckGrammar] says what is refused;
// beyond that, tokens that the grammar names must be in the vocabulary.
func (m *Model) NewGrammar(text, root string) (*Grammar, error) {
	const op = "grammar"
	if err := m.checkTexts(op); err != nil {
		return nil, err
	}
	checked, err := parseGBNF(text, root)
	if err != nil {
		return nil, err
	}
	g := &Grammar{model: m, gbnf: checked}
	if g.named, err = m.nameTokens(checked); err != nil {
		return nil, err
	}
	for id, piece := range m.tok.pieces {
		if len(piece) > maxGrammarPiece {
			return nil, failf(op, "this vocabulary cannot be used with a grammar", "token %d has %d bytes", id, len(piece))
		}
	}
	if root == "" {
		root = "root"
	}
	if _, ok := checked.ids["root"]; !ok {
		text += "\nroot ::= " + root + "\n" // llama.cpp wants one, whatever it is told to begin with
	}
	ctext, croot := C.CString(text), C.CString(root)
	defer C.free(unsafe.Pointer(ctext))
	defer C.free(unsafe.Pointer(croot))
	if err := m.enter(op); err != nil {
		return nil, err
	}
	defer m.leave()
	takeErrors()
	if g.c = C.ivo_grammar_new(m.c, ctext, croot); g.c == nil {
		return nil, failf(op, "", "llama.cpp refuses it: %s", takeErrors())
	}
	m.refs.Add(1)
	return g, nil
}

// nameTokens finds the tokens that a grammar names, and returns those that it asks for.
func (m *Model) nameTokens(g *gbnf) (named []int32, err error) {
	for i, t := range g.tokens {
		id := t.id
		if id < 0 {
			ids, err := m.Tokenize(t.text, false, true)
			if err != nil {
				return nil, err
			}
			if len(ids) != 1 {
				return nil, g.errorf(t.at, "text is written in quotes", "%s is not a token of this model", t.text)
			}
			id = ids[0]
		}
		g.tokens[i].id = id
		switch {
		case int(id) >= m.info.Vocab:
			return nil, g.errorf(t.at, "", "token %d is not one of %d", id, m.info.Vocab)
		case t.not:
		case m.tok.eog[id]:
			return nil, g.errorf(t.at, "it may come where the grammar ends; leave it out", "token %s ends the response", t.text)
		default:
			named = append(named, id)
		}
	}
	return named, nil
}

// Mask says of each token whether it may come next: allowed[i] of tokens[i]
// (llama_sampler_apply). A token that ends a generation may come where the grammar is
// complete. Other tokens without a text may come only where the grammar names them, and
// a token that would make the text invalid UTF-8 never.
func (g *Grammar) Mask(tokens []int32, allowed []bool) error {
	const op = "grammar mask"
	if err := g.enter(op); err != nil {
		return err
	}
	defer g.leave()
	if len(allowed) != len(tokens) {
		return failf(op, "", "%d values for %d tokens", len(allowed), len(tokens))
	}
	return g.mask(op, tokens, allowed)
}

func (g *Grammar) mask(op string, tokens []int32, allowed []bool) error {
	for _, t := range tokens {
		if err := g.model.checkToken(op, t); err != nil {
			return err
		}
	}
	if g.text >= g.gbnf.maxText {
		return failf(op, "rewrite rules that end in themselves and then something optional: for r ::= a r b? write r ::= a r | a r b",
			"the grammar is too deep for a text of %d bytes", g.text)
	}
	if len(tokens) == 0 {
		return nil
	}
	if !C.ivo_grammar_mask(g.c, (*C.int32_t)(unsafe.Pointer(&tokens[0])), C.int32_t(len(tokens)), (*C.bool)(unsafe.Pointer(&allowed[0]))) {
		return failf(op, "", "llama.cpp failed: %s", takeErrors())
	}
	for i, t := range tokens {
		if allowed[i] && !g.model.tok.eog[t] {
			allowed[i] = g.sound(t)
		}
	}
	return nil
}

// sound says whether a token that llama.cpp allows makes a text that is right.
func (g *Grammar) sound(token int32) bool {
	piece := g.model.tok.pieces[token]
	if len(piece) == 0 && !slices.Contains(g.named, token) {
		return false // llama.cpp takes a control token for its name, which no response shows
	}
	if bytes.IndexByte(piece, 0) >= 0 {
		return false // llama.cpp reads no further
	}
	if _, ok := join(g.tail, piece); !ok {
		return false
	}
	if len(g.gbnf.tokens) == 0 {
		return true
	}
	// A token reference matches what is left of a token's text as well, until the token
	// is accepted, which then fails.
	c := C.ivo_grammar_clone(g.c)
	if c == nil {
		return false
	}
	defer C.ivo_grammar_free(c)
	return bool(C.ivo_grammar_accept(c, C.int32_t(token)))
}

// join adds a piece to the bytes of a character that is not complete: ok says whether
// all can be UTF-8, tail is what again is not complete.
func join(tail, piece []byte) (_ []byte, ok bool) {
	text := piece
	if len(tail) > 0 {
		text = slices.Concat(tail, piece)
	}
	for utf8.FullRune(text) {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			return nil, false
		}
		text = text[n:]
	}
	return text, true
}

// Accept goes on by a token (llama_sampler_accept). A token that [Grammar.Mask] would
// not allow is an error and changes nothing.
func (g *Grammar) Accept(token int32) error {
	const op = "grammar accept"
	if err := g.enter(op); err != nil {
		return err
	}
	defer g.leave()
	var allowed [1]bool
	if err := g.mask(op, []int32{token}, allowed[:]); err != nil {
		return err
	}
	piece := g.model.tok.pieces[token]
	if !allowed[0] {
		return failf(op, "choose among the tokens that Mask allows", "token %d (%q) may not come next", token, piece)
	}
	if !C.ivo_grammar_accept(g.c, C.int32_t(token)) {
		g.free() // the state is lost
		return failf(op, "", "llama.cpp failed: %s", takeErrors())
	}
	if !g.model.tok.eog[token] {
		g.tail, _ = join(g.tail, piece)
		g.text += len(piece)
	}
	return nil
}

// Clone makes a grammar in the same state, for a text that goes another way
// (llama_sampler_clone). It copies the rules: a clone costs what the grammar is large.
func (g *Grammar) Clone() (*Grammar, error) {
	const op = "grammar clone"
	if err := g.enter(op); err != nil {
		return nil, err
	}
	defer g.leave()
	c := C.ivo_grammar_clone(g.c)
	if c == nil {
		return nil, failf(op, "", "llama.cpp failed: %s", takeErrors())
	}
	g.model.refs.Add(1)
	return &Grammar{c: c, model: g.model, gbnf: g.gbnf, named: g.named, text: g.text, tail: g.tail}, nil
}

// Close frees the grammar (llama_sampler_free). A second Close does nothing.
func (g *Grammar) Close() error {
	if !g.inUse.CompareAndSwap(false, true) {
		return &Error{Op: "close grammar", Err: ErrBusy, Hint: "a grammar belongs to one goroutine at a time"}
	}
	defer g.leave()
	g.free()
	return nil
}

func (g *Grammar) free() {
	if g.c != nil {
		C.ivo_grammar_free(g.c)
		g.c = nil
		g.model.refs.Add(-1)
	}
}

// enter claims the grammar for one call.
func (g *Grammar) enter(op string) error {
	if !g.inUse.CompareAndSwap(false, true) {
		return &Error{Op: op, Err: ErrBusy, Hint: "a grammar belongs to one goroutine at a time"}
	}
	if g.c == nil {
		g.leave()
		return &Error{Op: op, Err: ErrClosed}
	}
	return nil
}

func (g *Grammar) leave() { g.inUse.Store(false) }
