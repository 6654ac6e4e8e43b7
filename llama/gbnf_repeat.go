package llama

import (
	"math"
	"slices"
)

// maxGrammarRepeats is above what is repeated, in rules, times how often. It is
// llama.cpp's own bound; older releases have it for a single repetition only.
const maxGrammarRepeats = 2000

// repeat rewrites the item at the end of body as llama.cpp does: the least number of
// copies, and for what goes beyond them rules that end in each other.
func (p *gbnfParser) repeat(body []int32, from, least, most, made int, rule string, at int) []int32 {
	item := slices.Clone(body[from:])
	if n := made * max(1, most, least); n >= maxGrammarRepeats {
		p.fail(at, "repeat less, or without an upper bound", "%d repetitions are too many; less than %d are allowed", n, maxGrammarRepeats)
		return body
	}
	optional := most - least
	if most < 0 {
		optional = 1
	}
	if n := p.size(item); !p.grow((least-1)*n + optional*(n+2) + 1) {
		return body
	}
	body = body[:from]
	for range least {
		body = append(body, item...)
	}
	for i := range optional {
		id := p.add(rule, false, at)
		more := make([]int32, 0, len(item)+2)
		more = append(more, item...)
		switch {
		case most < 0:
			more = append(more, id)
		case i > 0:
			more = append(more, id-1)
		}
		p.define(id, at, append(more, gbnfAlternative))
	}
	if optional > 0 {
		body = append(body, int32(len(p.rules)-1))
	}
	return body
}

// times reads * + ? {m} {m,} or {m,n}; most is -1 without an upper bound.
func (p *gbnfParser) times(nested bool) (least, most int) {
	at, c := p.pos, p.peek(0)
	p.pos++
	p.space(nested)
	switch c {
	case '*':
		return 0, -1
	case '+':
		return 1, -1
	case '?':
		return 0, 1
	}
	least = p.number("a number of repetitions", maxGrammarRepeats)
	p.space(nested)
	most = least
	if p.peek(0) == ',' {
		p.pos++
		p.space(nested)
		most = -1
		if isDigit(p.peek(0)) {
			most = p.number("a number of repetitions", maxGrammarRepeats)
			p.space(nested)
		}
	}
	switch {
	case p.err != nil:
	case p.peek(0) != '}':
		p.expected("}", "repetitions are {m}, {m,} or {m,n}")
	case most >= 0 && most < least:
		p.fail(at, "write the smaller number first", "at least %d and at most %d repetitions", least, most)
	default:
		p.pos++
		p.space(nested)
	}
	return least, most
}

// number reads digits.
func (p *gbnfParser) number(what string, most int64) int {
	at, n := p.pos, int64(0)
	for isDigit(p.peek(0)) {
		n = min(10*n+int64(p.peek(0)-'0'), math.MaxInt32+1)
		p.pos++
	}
	switch {
	case p.pos == at:
		p.expected(what, "")
	case n > most:
		p.fail(at, "", "%s is too large; %d is the most", p.text[at:p.pos], most)
	}
	return int(n)
}
