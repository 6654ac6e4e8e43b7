package jinja

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	tokEOF kind = iota
	tokData
	tokVarBegin
	tokVarEnd
	tokBlockBegin
	tokBlockEnd
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

type token struct {
	kind kind
	text string // of data, names and operators; of strings, unescaped
	num  any    // int64 or float64
	line int
}

func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "the end of the template"
	case tokData:
		return "text"
	case tokVarBegin:
		return "{{"
	case tokVarEnd:
		return "}}"
	case tokBlockBegin:
		return "{%"
	case tokBlockEnd:
		return "%}"
	case tokInt, tokFloat:
		return "a number"
	case tokString:
		return strconv.Quote(t.text)
	}
	return "'" + t.text + "'"
}

var (
	floatRe = regexp.MustCompile(`^(\d+_)*\d+((\.(\d+_)*\d+)?[eE][+\-]?(\d+_)*\d+|\.(\d+_)*\d+)`)
	intRe   = regexp.MustCompile(`^(0[bB](_?[01])+|0[oO](_?[0-7])+|0[xX](_?[\da-fA-F])+|[1-9](_?\d)*|0(_?0)*)`)
	rawRe   = regexp.MustCompile(`^\s*raw\s*(-%}\s*|%})`)
	endRaw  = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*(\+%}|-%}\s*|%}\n?)`)
)

// lexer cuts a template into tokens. White space around tags is dealt with here, as
// Jinja2's lexer does with trim_blocks and lstrip_blocks: a minus sign strips all of it,
// a newline right after a block tag or comment goes, and so does the indentation before one.
type lexer struct {
	src       string
	pos, line int
	lineStart bool   // the last tag ended at a line's end
	open      []byte // brackets to close within the current tag
	tokens    []token
}

func lex(src string) []token {
	src = strings.ReplaceAll(src, "\r\n", "\n")
	src = strings.ReplaceAll(src, "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.pos < len(l.src) {
		l.text()
	}
	l.emit(tokEOF, "")
	return l.tokens
}

func (l *lexer) emit(k kind, text string) {
	l.tokens = append(l.tokens, token{kind: k, text: text, line: l.line})
}

// advance moves on to position to, counting lines.
func (l *lexer) advance(to int) {
	l.line += strings.Count(l.src[l.pos:to], "\n")
	l.pos = to
}

func (l *lexer) fail(format string, args ...any) {
	panic(errorAt(l.line, format, args...))
}

// text takes the text up to the next tag, and the tag.
func (l *lexer) text() {
	i := l.pos
	for {
		k := strings.IndexByte(l.src[i:], '{')
		if k < 0 || i+k+1 == len(l.src) {
			l.emit(tokData, l.src[l.pos:])
			l.advance(len(l.src))
			return
		}
		if i += k; strings.IndexByte("{%#", l.src[i+1]) >= 0 {
			break
		}
		i++
	}
	tag, after, sign := l.src[i+1], i+2, byte(0)
	if after < len(l.src) && (l.src[after] == '-' || l.src[after] == '+') {
		sign = l.src[after]
		after++
	}
	if text := l.stripBefore(l.src[l.pos:i], sign, tag != '{'); text != "" {
		l.emit(tokData, text)
	}
	l.advance(after)
	switch {
	case tag == '#':
		l.comment()
	case tag == '{':
		l.emit(tokVarBegin, "")
		l.tag(tokVarEnd, "}}")
	case rawRe.MatchString(l.src[after:]):
		l.raw()
	default:
		l.emit(tokBlockBegin, "")
		l.tag(tokBlockEnd, "%}")
	}
	l.lineStart = l.src[l.pos-1] == '\n'
}

// stripBefore is the text before a tag without the white space that the tag strips.
func (l *lexer) stripBefore(text string, sign byte, block bool) string {
	switch {
	case sign == '-':
		return strings.TrimRightFunc(text, isSpace)
	case sign == '+' || !block:
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || l.lineStart) && strings.TrimLeftFunc(text[start:], isSpace) == "" {
		return text[:start]
	}
	return text
}

// end takes the end of a tag at the current position, if there is one, with the white
// space that it strips.
func (l *lexer) end(mark string) bool {
	rest := l.src[l.pos:]
	block := mark != "}}"
	switch {
	case strings.HasPrefix(rest, "-"+mark):
		rest = strings.TrimLeftFunc(rest[1+len(mark):], isSpace)
	case block && strings.HasPrefix(rest, "+"+mark):
		rest = rest[1+len(mark):]
	case strings.HasPrefix(rest, mark):
		rest = rest[len(mark):]
		if block {
			rest = strings.TrimPrefix(rest, "\n")
		}
	default:
		return false
	}
	l.advance(len(l.src) - len(rest))
	return true
}

func (l *lexer) comment() {
	k := strings.Index(l.src[l.pos:], "#}")
	if k < 0 {
		l.fail("a comment is not closed")
	}
	to := l.pos + k
	if k > 0 && (l.src[to-1] == '-' || l.src[to-1] == '+') {
		to--
	}
	l.advance(to)
	l.end("#}")
}

func (l *lexer) raw() {
	l.advance(l.pos + len(rawRe.FindString(l.src[l.pos:])))
	m := endRaw.FindStringSubmatchIndex(l.src[l.pos:])
	if m == nil {
		l.fail("a raw block is not closed")
	}
	var sign byte
	if m[2] < m[3] {
		sign = l.src[l.pos+m[2]]
	}
	l.lineStart = l.src[l.pos-1] == '\n'
	if text := l.stripBefore(l.src[l.pos:l.pos+m[0]], sign, true); text != "" {
		l.emit(tokData, text)
	}
	l.advance(l.pos + m[1])
}

// tag takes the tokens of a tag up to its end.
func (l *lexer) tag(end kind, mark string) {
	l.open = l.open[:0]
	for {
		rest := strings.TrimLeftFunc(l.src[l.pos:], isSpace)
		l.advance(len(l.src) - len(rest))
		if rest == "" {
			l.fail("a tag is not closed, %s is missing", mark)
		}
		// Within brackets }} closes two of them: {{ {'a': {}} }}.
		if len(l.open) == 0 && l.end(mark) {
			l.emit(end, "")
			return
		}
		l.token(rest)
	}
}

var closing = map[string]byte{")": '(', "]": '[', "}": '{'}

func (l *lexer) token(rest string) {
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case r == '_' || unicode.IsLetter(r):
		n := len(rest) - len(strings.TrimLeftFunc(rest, isWord))
		l.emit(tokName, rest[:n])
		l.advance(l.pos + n)
	case '0' <= r && r <= '9':
		l.number(rest)
	case r == '"' || r == '\'':
		l.str(rest)
	default:
		op := rest[:1]
		if len(rest) > 1 {
			switch rest[:2] {
			case "//", "**", "==", "!=", ">=", "<=":
				op = rest[:2]
			}
		}
		if !strings.Contains("+-*/%~[](){}<>=.:|,;", op[:1]) && op != "!=" {
			l.fail("unexpected character %q", r)
		}
		switch op {
		case "(", "[", "{":
			l.open = append(l.open, op[0])
		case ")", "]", "}":
			n := len(l.open)
			if n == 0 || l.open[n-1] != closing[op] {
				l.fail("unexpected '%s'", op)
			}
			l.open = l.open[:n-1]
		}
		l.emit(tokOp, op)
		l.pos += len(op)
	}
}

func (l *lexer) number(rest string) {
	t := token{kind: tokInt, line: l.line}
	text := floatRe.FindString(rest)
	var err error
	if text != "" && l.src[l.pos-1] != '.' { // messages.0.1 holds no float
		t.kind = tokFloat
		t.num, err = strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	} else {
		text = intRe.FindString(rest)
		t.num, err = strconv.ParseInt(text, 0, 64)
	}
	if err != nil {
		l.fail("the number %s is out of range", text)
	}
	l.tokens = append(l.tokens, t)
	l.pos += len(text)
}

func (l *lexer) str(rest string) {
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case rest[0]:
			l.emit(tokString, l.unescape(rest[1:i]))
			l.advance(l.pos + i + 1)
			return
		}
	}
	l.fail("a string is not closed")
}

var escapes = map[byte]string{'\\': "\\", '\'': "'", '"': `"`, '\n': "", 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v"}

// unescape resolves the escapes of a Python string literal; unknown ones stay as they are.
func (l *lexer) unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if plain, ok := escapes[s[i]]; ok {
			b.WriteString(plain)
			continue
		}
		digits, base := 0, 16
		switch c := s[i]; {
		case c == 'x':
			digits = 2
		case c == 'u':
			digits = 4
		case c == 'U':
			digits = 8
		case '0' <= c && c <= '7':
			base = 8
			for digits < 3 && i+digits < len(s) && '0' <= s[i+digits] && s[i+digits] <= '7' {
				digits++
			}
			i-- // the digits begin here, not after a letter
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
			continue
		}
		if i+digits >= len(s) {
			l.fail("a string ends within an escape")
		}
		code, err := strconv.ParseUint(s[i+1:i+1+digits], base, 32)
		if err != nil || code > unicode.MaxRune {
			l.fail("no character has the escape %q", s[i:i+1+digits])
		}
		b.WriteRune(rune(code))
		i += digits
	}
	return b.String()
}

// isSpace is Python's str.isspace for one character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }
