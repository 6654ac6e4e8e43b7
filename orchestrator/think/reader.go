package think

import (
	"bytes"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
)

// Model is what marks need of a language model.
type Model interface {
	Piece(token int32, special bool) ([]byte, error)
}

// Marks are a format's in the tokens of a model. They may be used from several goroutines.
type Marks struct {
	Format  Format
	model   Model
	special map[int32]int32 // tokens that are marks or parts of them, as symbols
	known   []pattern
	first   map[int32]bool // symbols that a mark begins with
	close   []int32
	opening int32 // the token that alone opens a thought, or -1
}

// pattern is a mark in symbols: bytes, and tokens from 256 on, so that a text which spells a token that a model
// has is no mark.
type pattern struct {
	symbols []int32
	to      Part
	in      [4]bool
}

const tokens = 256

// Compile looks up a format's marks in a model's vocabulary, of which specials are the special tokens; end is its
// Close in tokens.
func Compile(f Format, m Model, specials []llama.Special, end []int32) *Marks {
	marks := compile(f, specials)
	marks.model, marks.close = m, end
	return marks
}

func compile(f Format, specials []llama.Special) *Marks {
	m := &Marks{Format: f, special: map[int32]int32{}, first: map[int32]bool{}, opening: -1}
	for _, k := range f.marks {
		p := pattern{to: k.to}
		spelled := true
		for at := 0; at < len(k.text); {
			best := llama.Special{}
			for _, s := range specials {
				if len(s.Text) > max(1, len(best.Text)) && strings.HasPrefix(k.text[at:], s.Text) {
					best = s
				}
			}
			if best.Text == "" {
				p.symbols = append(p.symbols, int32(k.text[at]))
				at++
				continue
			}
			m.special[best.ID] = tokens + best.ID
			p.symbols = append(p.symbols, tokens+best.ID)
			at += len(best.Text)
			spelled = false
		}
		for part := range p.in {
			p.in[part] = k.in == nil || slices.Contains(k.in, Part(part))
		}
		if k.to == Thinking && spelled {
			p.in[Answer] = false
		}
		if k.to == Thinking && len(p.symbols) == 1 && !spelled {
			m.opening = p.symbols[0] - tokens
		}
		m.first[p.symbols[0]] = true
		m.known = append(m.known, p)
	}
	return m
}

// Close are the tokens that end a thought.
func (m *Marks) Close() []int32 { return m.close }

// Opening is the token that opens a thought, -1 where that takes several.
func (m *Marks) Opening() int32 { return m.opening }

// Begin reads a response to a prompt from its first token on. Templates may end a prompt with the mark of a thought,
// open or closed already: then the response begins with it, or with the answer.
func (m *Marks) Begin(prompt []int32) Reader {
	r := Reader{m: m, fresh: true}
	var end []int32 // the prompt's, in symbols
	for _, token := range prompt[max(0, len(prompt)-64):] {
		end = append(end, m.symbols(token)...)
	}
	for len(end) > 0 && isSpace(end[len(end)-1]) {
		end = end[:len(end)-1]
	}
	longest := 0
	for _, p := range m.known {
		if n := len(p.symbols); n > longest && n <= len(end) && slices.Equal(end[len(end)-n:], p.symbols) {
			r.part, longest = p.to, n
		}
	}
	return r
}

func (m *Marks) symbols(token int32) []int32 {
	if s, ok := m.special[token]; ok {
		return []int32{s}
	}
	piece, _ := m.model.Piece(token, false) // a token that is none has no text
	out := make([]int32, len(piece))
	for i, b := range piece {
		out[i] = int32(b)
	}
	return out
}

func isSpace(symbol int32) bool {
	return symbol < tokens && bytes.IndexByte([]byte(" \t\r\n"), byte(symbol)) >= 0
}

// Reader follows a response token by token. A copy goes on by itself. The zero Reader follows nothing.
type Reader struct {
	m       *Marks
	part    Part
	pending []int32 // the beginning of what may become a mark
	held    []byte  // space before anything was said
	fresh   bool    // space that comes next is no part of the text
	thought int     // tokens
}

// Follows says whether there are marks to look for.
func (r *Reader) Follows() bool { return r.m != nil }

// Part is where the response is after the tokens so far.
func (r *Reader) Part() Part { return r.part }

// Thought is the number of tokens within thoughts so far, without marks.
func (r *Reader) Thought() int { return r.thought }

// Next is where the response would be after a token more.
func (r Reader) Next(token int32) Part {
	if r.m != nil {
		r.Push(token)
	}
	return r.part
}

// Push takes the next token, and gives the text that it adds to the thought and to the answer. What may turn out to be
// a mark is held back, and so is space at the beginning and after marks.
func (r *Reader) Push(token int32) (thought, answer []byte) {
	before := r.part
	for _, s := range r.m.symbols(token) {
		r.read(s, &thought, &answer)
	}
	if before == Thinking && r.part == Thinking {
		r.thought++
	}
	return thought, answer
}

// End is the text that was held back, where the response has ended.
func (r *Reader) End() (thought, answer []byte) {
	r.end(&thought, &answer)
	return thought, answer
}

func (r *Reader) end(thought, answer *[]byte) {
	for _, s := range r.pending {
		r.say(s, thought, answer)
	}
	r.pending = nil
	if r.part == Before {
		*answer = append(*answer, r.held...)
		r.held = nil
	}
}

// read takes a symbol. A mark is found where it begins first.
func (r *Reader) read(symbol int32, thought, answer *[]byte) {
	if len(r.pending) == 0 && !r.m.first[symbol] {
		r.say(symbol, thought, answer)
		return
	}
	r.pending = append(slices.Clip(r.pending), symbol)
	for len(r.pending) > 0 {
		begun := false
		for _, p := range r.m.known {
			switch n := len(r.pending); {
			case !p.in[r.part] || len(p.symbols) < n || !slices.Equal(p.symbols[:n], r.pending):
			case len(p.symbols) == n:
				r.part, r.fresh, r.pending, r.held = p.to, true, nil, nil
				return
			default:
				begun = true
			}
		}
		if begun {
			return
		}
		r.say(r.pending[0], thought, answer)
		r.pending = r.pending[1:]
	}
}

// say adds a symbol that belongs to no mark to the text of the part.
func (r *Reader) say(symbol int32, thought, answer *[]byte) {
	text := []byte{byte(symbol)}
	if symbol >= tokens {
		if r.m.model == nil {
			return
		}
		text, _ = r.m.model.Piece(symbol-tokens, false)
	}
	for _, b := range text {
		space := isSpace(int32(b))
		switch {
		case r.part == Between:
		case r.part == Before && space:
			r.held = append(slices.Clip(r.held), b)
		case r.part == Before:
			*answer = append(append(*answer, r.held...), b)
			r.part, r.held, r.fresh = Answer, nil, false
		case r.fresh && space:
		case r.part == Thinking:
			*thought = append(*thought, b)
			r.fresh = false
		default:
			*answer = append(*answer, b)
			r.fresh = false
		}
	}
}
