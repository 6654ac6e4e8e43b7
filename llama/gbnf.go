package llama

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a grammar. llama.cpp has few of its own: it recurses as deep, allocates as
// much and computes as long as a grammar makes it.
const (
	maxGrammarText     = 1 << 20 // bytes
	maxGrammarNesting  = 128     // parentheses in parentheses
	maxGrammarElements = 1 << 19 // of all rules, once repetitions are written out
)

// Elements of a rule's body: the ids of other rules, the ends of alternatives, and below
// them terminals by their numbers: gbnfTerminal - i is terminal i.
const (
	gbnfAlternative = -1
	gbnfTerminal    = -2
)

// gbnfSymbol is a terminal: a character of a class, or a token.
type gbnfSymbol struct {
	ranges   []rune // pairs of the first and the last character
	not      bool   // any character but these
	token    int    // index of the token, which it is instead; -1 of a class
	elements int    // that llama.cpp makes of it
}

// gbnf is a checked grammar in the form that llama.cpp gives it: groups and repetitions
// become rules of their own, numbered in order of appearance.
type gbnf struct {
	text   string
	rules  []gbnfRule
	ids    map[string]int32 // rules by name
	tokens []gbnfToken
	// terminals by number, those of single characters once each.
	terminals []gbnfSymbol
	// maxText is the length in bytes of the longest text that llama.cpp can follow
	// without risk to its stack.
	maxText int
}

type gbnfRule struct {
	name  string // of the rule in the text that it is or is a part of
	named bool   // not a group or a repetition
	used  int    // offset in the text of the first mention
	at    int    // offset of the definition, -1 without one
	body  []int32
}

// gbnfToken is a reference to a token: <text>, <[id]>, !<text> or !<[id]>.
type gbnfToken struct {
	at   int
	text string // with its angle brackets
	id   int32  // -1 where it is to be found by the text
	not  bool   // any other token
}

// CheckGrammar says whether [Model.NewGrammar] can use a grammar: a text in llama.cpp's
// GBNF whose rule root ("" for "root") describes the whole response. It needs no model,
// and so leaves open whether the model has the tokens that the grammar names as <token>.
//
// Errors begin with line:column, counted from 1 in characters. Beside mistakes of
// syntax, rules that are missing, rules that begin with themselves and grammars that no text
// satisfies, what llama.cpp could not survive is an error: repetitions and nestings beyond measure, and rules whose
// expansion takes too many steps.
func CheckGrammar(text, root string) error {
	g, err := parseGBNF(text, root)
	if err == nil {
		_, err = g.prune(cmp.Or(root, "root"))
	}
	return err
}

// parseGBNF reads a grammar and checks it.
func parseGBNF(text, root string) (*gbnf, error) {
	p := gbnfParser{gbnf: gbnf{text: text, ids: make(map[string]int32)}, chars: make(map[rune]int32)}
	p.grammar()
	if p.err != nil {
		return nil, p.err
	}
	first := -1
	for i, r := range p.rules {
		if r.at < 0 && (first < 0 || r.used < p.rules[first].used) {
			first = i
		}
	}
	if first >= 0 {
		r := p.rules[first]
		return nil, p.errorf(r.used, "define it with "+r.name+" ::= ...", "there is no rule %s", r.name)
	}
	if root == "" {
		root = "root"
	}
	if _, ok := p.ids[root]; !ok {
		return nil, failf("grammar", "begin with "+root+" ::= ...", "there is no rule %s", root)
	}
	if err := p.bound(); err != nil {
		return nil, err
	}
	return &p.gbnf, nil
}

// errorf is an error at an offset in the text.
func (g *gbnf) errorf(at int, hint, format string, args ...any) error {
	column := 1 + utf8.RuneCountInString(g.text[1+strings.LastIndexAny(g.text[:at], "\r\n"):at])
	return failf("grammar", hint, "%d:%d: %s", g.line(at), column, fmt.Sprintf(format, args...))
}

func (g *gbnf) line(at int) int {
	before := g.text[:at]
	return 1 + strings.Count(before, "\n") + strings.Count(before, "\r") - strings.Count(before, "\r\n")
}

// gbnfParser reads a grammar. The first error sticks and moves pos to the end.
type gbnfParser struct {
	gbnf
	pos      int
	nesting  int
	elements int
	err      error
	chars    map[rune]int32 // terminals of one character
}

// terminal is the element of a new terminal.
func (p *gbnfParser) terminal(s gbnfSymbol) int32 {
	p.terminals = append(p.terminals, s)
	return gbnfTerminal - int32(len(p.terminals)-1)
}

// character is the element of a terminal of one character.
func (p *gbnfParser) character(r rune) int32 {
	e, ok := p.chars[r]
	if !ok {
		e = p.terminal(gbnfSymbol{ranges: []rune{r, r}, token: -1, elements: 1})
		p.chars[r] = e
	}
	return e
}

func (p *gbnfParser) fail(at int, hint, format string, args ...any) {
	if p.err == nil {
		p.err = p.errorf(at, hint, format, args...)
	}
	p.pos = len(p.text)
}

// expected fails at the current position.
func (p *gbnfParser) expected(what, hint string) {
	if p.pos == len(p.text) {
		p.fail(p.pos, hint, "expected %s, found the end of the grammar", what)
		return
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	p.fail(p.pos, hint, "expected %s, found %q", what, r)
}

// peek is the byte i places ahead, 0 past the end.
func (p *gbnfParser) peek(i int) byte {
	if p.pos+i >= len(p.text) {
		return 0
	}
	return p.text[p.pos+i]
}

// grammar reads the whole text.
func (p *gbnfParser) grammar() {
	if len(p.text) > maxGrammarText {
		p.err = failf("grammar", "write a smaller one", "%d bytes; %d are allowed", len(p.text), maxGrammarText)
		return
	}
	for i, r := range p.text {
		if r == 0 {
			p.fail(i, `write it as \x00`, "a zero byte")
			return
		}
		if r == utf8.RuneError && !strings.HasPrefix(p.text[i:], string(utf8.RuneError)) {
			p.fail(i, "save it as UTF-8", "not valid UTF-8")
			return
		}
	}
	for p.space(true); p.pos < len(p.text); p.space(true) {
		p.rule()
	}
}

// space skips blanks and comments, and line ends where they mean nothing.
func (p *gbnfParser) space(newlines bool) {
	for {
		switch p.peek(0) {
		case '\r', '\n':
			if !newlines {
				return
			}
		case '#':
			for c := p.peek(1); c != 0 && c != '\r' && c != '\n'; c = p.peek(1) {
				p.pos++
			}
		case ' ', '\t':
		default:
			return
		}
		p.pos++
	}
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || isDigit(c)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (p *gbnfParser) name() string {
	start := p.pos
	for isNameByte(p.peek(0)) {
		p.pos++
	}
	return p.text[start:p.pos]
}

// lookup is the id of a named rule.
func (p *gbnfParser) lookup(name string, at int) int32 {
	id, ok := p.ids[name]
	if !ok {
		id = p.add(name, true, at)
		p.ids[name] = id
	}
	return id
}

func (p *gbnfParser) add(name string, named bool, at int) int32 {
	p.rules = append(p.rules, gbnfRule{name: name, named: named, used: at, at: -1})
	return int32(len(p.rules) - 1)
}

func (p *gbnfParser) define(id int32, at int, body []int32) {
	p.rules[id].at, p.rules[id].body = at, body
}

// rule reads name ::= alternatives.
func (p *gbnfParser) rule() {
	at := p.pos
	name := p.name()
	if name == "" {
		hint := "names are made of letters, digits and -"
		if p.peek(0) == '|' {
			hint = "an alternative on a line of its own must stand in parentheses, or leave the | on the line before"
		}
		p.expected("the name of a rule", hint)
		return
	}
	p.space(false)
	if !strings.HasPrefix(p.text[p.pos:], "::=") {
		p.expected("::= after the name "+name, "a rule is name ::= what it stands for; names are made of letters, digits and -")
		return
	}
	p.pos += 3
	id := p.lookup(name, at)
	if first := p.rules[id].at; first >= 0 {
		p.fail(at, "join the two with |", "rule %s is already defined on line %d", name, p.line(first))
		return
	}
	p.space(true)
	body := p.alternatives(name, false)
	switch c := p.peek(0); {
	case c == '\r' || c == '\n' || p.pos == len(p.text):
		p.define(id, at, body)
	case c == ')':
		p.expected("the end of the rule", "no parenthesis is open")
	case c == '_':
		p.expected("the end of the rule", "names are made of letters, digits and -")
	default:
		p.expected("the end of the rule", "one rule a line; lines go on in parentheses and after |")
	}
}

// alternatives reads sequences with | between them, the body of a rule.
func (p *gbnfParser) alternatives(rule string, nested bool) []int32 {
	body := p.sequence(nil, rule, nested)
	for p.peek(0) == '|' {
		p.pos++
		p.space(true)
		p.grow(1)
		body = p.sequence(append(body, gbnfAlternative), rule, nested)
	}
	return body
}

// size is the number of elements that llama.cpp makes of a sequence.
func (p *gbnfParser) size(seq []int32) (n int) {
	for _, e := range seq {
		if e <= gbnfTerminal {
			n += p.terminals[gbnfTerminal-e].elements
		} else {
			n++
		}
	}
	return n
}

// grow counts new elements and says whether there is room.
func (p *gbnfParser) grow(n int) bool {
	if p.elements += n; p.elements > maxGrammarElements {
		p.fail(p.pos, "repeat less", "the grammar is too large once its repetitions are written out: more than %d elements", maxGrammarElements)
		return false
	}
	return true
}

// sequence reads items up to | or ) or the end of the rule and appends them to body.
func (p *gbnfParser) sequence(body []int32, rule string, nested bool) []int32 {
	item, made := len(body), 1 // where the last item begins, and of how many rules it is made
	for p.pos < len(p.text) {
		at, from, rules := p.pos, len(body), 1
		switch c := p.peek(0); {
		case c == '"':
			body = p.literal(body)
		case c == '[':
			body = p.class(body)
		case c == '.':
			p.pos++
			body = append(body, p.terminal(gbnfSymbol{ranges: []rune{0, utf8.MaxRune}, token: -1, elements: 1}))
		case c == '<' || c == '!':
			p.token()
			body = append(body, p.terminal(gbnfSymbol{token: len(p.tokens) - 1, elements: 1}))
		case isNameByte(c):
			name := p.name()
			p.space(nested)
			if strings.HasPrefix(p.text[p.pos:], "::=") {
				p.fail(at, `an empty text is ""; a group that goes over lines ends in )`, "rule %s begins before rule %s has ended", name, rule)
				return body
			}
			body = append(body, p.lookup(name, at))
		case c == '(':
			before := len(p.rules)
			id := p.group(rule)
			rules = len(p.rules) - before
			body = append(body, id)
		case c == '*' || c == '+' || c == '?' || c == '{':
			least, most := p.times(nested)
			if p.err != nil {
				return body
			}
			if item == len(body) {
				p.fail(at, "", "expected something to repeat before %q", c)
				return body
			}
			body = p.repeat(body, item, least, most, made, rule, at)
			made *= max(1, most, least)
			continue
		default:
			return body
		}
		item, made = from, rules
		p.grow(p.size(body[from:]))
		p.space(nested)
	}
	return body
}

// group reads ( alternatives ) as a rule of its own.
func (p *gbnfParser) group(rule string) int32 {
	at := p.pos
	if p.nesting++; p.nesting > maxGrammarNesting {
		p.fail(at, "give the inner ones names", "more than %d parentheses in each other", maxGrammarNesting)
		return 0
	}
	p.pos++
	p.space(true)
	id := p.add(rule, false, at)
	p.define(id, at, p.alternatives(rule, true))
	if p.peek(0) != ')' {
		p.expected(fmt.Sprintf("the ) of the group that begins on line %d", p.line(at)), "")
		return id
	}
	p.pos++
	p.nesting--
	return id
}
