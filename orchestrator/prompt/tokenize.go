package prompt

import (
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
)

// span is a part of a text, in bytes. Spellings of special tokens that touch it are text.
type span struct{ from, to int }

// tokenize is a text in tokens, those that the tokenizer adds included, with the special
// tokens that it spells outside of the literal spans. A BOS token that the text begins with
// where the tokenizer adds one is left out: templates write it, and a doubled one is nothing
// that a model has seen.
func (e *Encoder) tokenize(text string, literal []span) ([]int32, error) {
	for e.bos != "" && strings.HasPrefix(text, e.bos) && !touches(literal, span{0, len(e.bos)}) {
		n := len(e.bos)
		text = text[n:]
		moved := make([]span, 0, len(literal))
		for _, s := range literal {
			moved = append(moved, span{s.from - n, s.to - n})
		}
		literal = moved
	}
	if !e.spellsIn(text, literal) {
		return e.model.Tokenize(text, true, true)
	}
	return e.join(text, literal)
}

// join is the tokens of a text's fragments, put together.
func (e *Encoder) join(text string, literal []span) ([]int32, error) {
	out := slices.Clone(e.added[0])
	for _, f := range e.split(text, literal) {
		if f.token >= 0 {
			out = append(out, f.token)
			continue
		}
		tokens, err := e.model.Tokenize(text[f.from:f.to], false, false)
		if err != nil {
			return nil, err
		}
		out = append(out, tokens...)
	}
	return append(out, e.added[1]...), nil
}

// spellsIn says whether a special token is spelled where it is to stay text.
func (e *Encoder) spellsIn(text string, literal []span) bool {
	if len(literal) == 0 {
		return false
	}
	for _, s := range e.specials {
		if !s.Parsed() {
			continue
		}
		for i := 0; ; i++ {
			k := strings.Index(text[i:], s.Text)
			if k < 0 {
				break
			}
			i += k
			if touches(literal, span{i, i + len(s.Text)}) {
				return true
			}
		}
	}
	return false
}

func touches(spans []span, s span) bool {
	return slices.ContainsFunc(spans, func(t span) bool { return s.from < t.to && t.from < s.to })
}

// fragment is a special token, or a part of a text that has none (token -1).
type fragment struct {
	span
	token int32
}

// split finds the special tokens of a text as llama.cpp does (tokenizer_st_partition): the
// longest spellings first, from left to right, each within what is still text; except those
// that stay text.
func (e *Encoder) split(text string, literal []span) []fragment {
	frags := []fragment{{span{0, len(text)}, -1}}
	for _, s := range e.specials {
		if !strings.Contains(text, s.Text) {
			continue
		}
		var out []fragment
		for _, f := range frags {
			if f.token >= 0 {
				out = append(out, f)
				continue
			}
			for from := f.from; ; {
				k := strings.Index(text[from:f.to], s.Text)
				if k < 0 {
					break
				}
				at := span{from + k, from + k + len(s.Text)}
				if s.Parsed() && touches(literal, at) {
					from += k + 1
					continue
				}
				left := text[f.from:at.from]
				if s.Attr&llama.AttrLStrip != 0 {
					left = strings.TrimRight(left, space)
				}
				if left != "" {
					out = append(out, fragment{span{f.from, f.from + len(left)}, -1})
				}
				out = append(out, fragment{at, s.ID})
				if f.from = at.to; s.Attr&llama.AttrRStrip != 0 {
					f.from = f.to - len(strings.TrimLeft(text[f.from:f.to], space))
				}
				from = f.from
			}
			if f.from < f.to {
				out = append(out, f)
			}
		}
		frags = out
	}
	return frags
}

// space is what C's isspace knows.
const space = " \t\n\v\f\r"
