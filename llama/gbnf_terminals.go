package llama

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// literal reads "text": a terminal a character.
func (p *gbnfParser) literal(body []int32) []int32 {
	at := p.pos
	for p.pos++; p.peek(0) != '"'; {
		if p.pos == len(p.text) {
			p.fail(at, "", `the text that begins here has no closing "`)
		}
		if p.err != nil {
			return body
		}
		body = append(body, p.character(p.char()))
	}
	p.pos++
	return body
}

// class reads [characters and ranges] or [^characters and ranges].
func (p *gbnfParser) class(body []int32) []int32 {
	at, class := p.pos, gbnfSymbol{token: -1}
	p.pos++
	if p.peek(0) == '^' {
		class.not = true
		p.pos++
	}
	for p.peek(0) != ']' {
		if p.pos == len(p.text) {
			p.fail(at, `write ] as \] if it is meant`, "the class of characters that begins here has no closing ]")
		}
		if p.err != nil {
			return body
		}
		first := p.pos
		low := p.char()
		high := low
		class.elements++
		if p.peek(0) == '-' && p.peek(1) != ']' && p.peek(1) != 0 {
			p.pos++
			if high = p.char(); high < low && p.err == nil {
				p.fail(first, "put the smaller character first", "the range goes backwards")
			}
			class.elements++
		}
		class.ranges = append(class.ranges, low, high)
	}
	if class.elements == 0 {
		p.fail(at, "any character is a . without brackets", "an empty class of characters")
		return body
	}
	p.pos++
	return append(body, p.terminal(class))
}

// char reads a character or an escape.
func (p *gbnfParser) char() rune {
	at := p.pos
	r, n := utf8.DecodeRuneInString(p.text[at:])
	p.pos += n
	if r != '\\' {
		return r
	}
	c := p.peek(0)
	p.pos++
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case '\\', '"', '[', ']':
		return rune(c)
	case 'x':
		return p.hex(at, 2)
	case 'u':
		return p.hex(at, 4)
	case 'U':
		return p.hex(at, 8)
	}
	p.fail(at, `the escapes are \n \r \t \\ \" \[ \] \xNN \uNNNN \UNNNNNNNN`, "unknown escape")
	return 0
}

// hex reads the digits of the escape that begins at offset at.
func (p *gbnfParser) hex(at, digits int) rune {
	end := min(p.pos+digits, len(p.text))
	n, err := strconv.ParseUint(p.text[p.pos:end], 16, 32)
	switch {
	case err != nil || end-p.pos < digits:
		p.fail(at, "", "expected %d hexadecimal digits", digits)
	case n > utf8.MaxRune:
		p.fail(at, "", "there is no character U+%X", n)
	default:
		p.pos = end
	}
	return rune(n)
}

// token reads <text>, <[id]>, !<text> or !<[id]>.
func (p *gbnfParser) token() {
	at := p.pos
	not := p.peek(0) == '!'
	if not {
		p.pos++
	}
	const forms = "tokens are written <text> or <[id]>, and any other token !<text> or !<[id]>"
	if p.peek(0) != '<' {
		p.expected("<", forms)
		return
	}
	t := gbnfToken{at: at, id: -1, not: not}
	start := p.pos
	if p.peek(1) == '[' {
		p.pos += 2
		t.id = int32(p.number("the id of a token", math.MaxInt32))
		if p.err != nil {
			return
		}
		if !strings.HasPrefix(p.text[p.pos:], "]>") {
			p.expected("]>", forms)
			return
		}
		p.pos += 2
	} else {
		n := strings.IndexAny(p.text[p.pos:], ">\r\n")
		if n < 0 || p.text[p.pos+n] != '>' {
			p.fail(at, forms, "the token that begins here has no closing >")
			return
		}
		p.pos += n + 1
	}
	t.text = p.text[start:p.pos]
	p.tokens = append(p.tokens, t)
}
