package jinja

import "slices"

// parser builds the statements of a template by recursive descent. Its grammar is
// that of Jinja2's parser.
type parser struct {
	tokens []token
	pos    int
	depth  int
	loops  int // that enclose the current tag, within its macro
}

// parse is the template as a list of statements.
func parse(src string) []stmt {
	p := &parser{tokens: lex(src)}
	body, _ := p.body()
	return body
}

func (p *parser) peek() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

func (p *parser) fail(t token, want string) {
	panic(errorAt(t.line, "expected %s, got %v", want, t))
}

// is says whether the next token is this operator or keyword.
func (p *parser) is(k kind, text string) bool {
	t := p.peek()
	return t.kind == k && t.text == text
}

// skip takes the operator or keyword if it is next.
func (p *parser) skip(k kind, text string) bool {
	if p.is(k, text) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expect(k kind, text string) token {
	t := p.next()
	if t.kind != k || text != "" && t.text != text {
		p.fail(t, token{kind: k, text: text}.String())
	}
	return t
}

func (p *parser) name() string {
	t := p.next()
	if t.kind != tokName {
		p.fail(t, "a name")
	}
	return t.text
}

// nest guards the recursion; the caller defers what it returns.
func (p *parser) nest() func() {
	if p.depth++; p.depth > maxNesting {
		panic(errorAt(p.peek().line, "nested more than %d levels deep", maxNesting))
	}
	return func() { p.depth-- }
}

// body takes statements up to a tag that is in ends, whose name it takes and returns. With no
// ends, the body goes to the end of the template.
func (p *parser) body(ends ...string) ([]stmt, string) {
	defer p.nest()()
	var body []stmt
	for {
		switch t := p.next(); t.kind {
		case tokEOF:
			if len(ends) > 0 {
				p.fail(t, "{% "+ends[len(ends)-1]+" %}")
			}
			return body, ""
		case tokData:
			body = append(body, textStmt(t.text))
		case tokVarBegin:
			body = append(body, &outputStmt{t.line, p.tuple(true)})
			p.expect(tokVarEnd, "")
		case tokBlockBegin:
			name := p.name()
			if slices.Contains(ends, name) {
				return body, name
			}
			body = append(body, p.tag(name, t.line))
		}
	}
}

// block is the body of a tag whose own end comes next.
func (p *parser) block(ends ...string) ([]stmt, string) {
	p.expect(tokBlockEnd, "")
	return p.body(ends...)
}

func (p *parser) tag(name string, line int) stmt {
	var s stmt
	switch name {
	case "if":
		s = p.ifTag(line)
	case "for":
		s = p.forTag(line)
	case "set":
		s = p.setTag(line)
	case "macro":
		s = p.macroTag(line)
	case "filter":
		s = p.filterTag(line)
	case "generation":
		body, _ := p.block("endgeneration")
		s = bodyStmt(body)
	case "break", "continue":
		if p.loops == 0 {
			panic(errorAt(line, "%s outside a loop", name))
		}
		s = controlStmt(breaks)
		if name == "continue" {
			s = controlStmt(continues)
		}
	default:
		panic(errorAt(line, "the tag '%s' is unknown or not supported here", name))
	}
	p.expect(tokBlockEnd, "")
	return s
}

func (p *parser) ifTag(line int) stmt {
	s := &ifStmt{line: line}
	for {
		cond := p.tuple(false)
		body, end := p.block("elif", "else", "endif")
		s.conds, s.bodies = append(s.conds, cond), append(s.bodies, body)
		switch end {
		case "else":
			s.orElse, _ = p.block("endif")
			return s
		case "endif":
			return s
		}
	}
}

func (p *parser) forTag(line int) stmt {
	s := &forStmt{line: line, target: p.target(false)}
	p.expect(tokName, "in")
	s.iter = p.tuple(false)
	if p.skip(tokName, "if") {
		s.cond = p.expression()
	}
	if p.is(tokName, "recursive") {
		panic(errorAt(line, "recursive loops are not supported"))
	}
	p.loops++
	var end string
	s.body, end = p.block("else", "endfor")
	p.loops--
	if end == "else" {
		s.orElse, _ = p.block("endfor")
	}
	return s
}

func (p *parser) setTag(line int) stmt {
	s := &setStmt{line: line, target: p.target(true)}
	if p.skip(tokOp, "=") {
		s.value = p.tuple(true)
		return s
	}
	s.body, _ = p.block("endset")
	return s
}

// filterTag is a body that goes through filters.
func (p *parser) filterTag(line int) stmt {
	text := &captureExpr{}
	var e expr = text
	for {
		e = p.filter(line, e)
		if !p.skip(tokOp, "|") {
			break
		}
	}
	loops := p.loops
	p.loops = 0
	text.body, _ = p.block("endfilter")
	p.loops = loops
	return &outputStmt{line, e}
}

func (p *parser) macroTag(line int) stmt {
	s := &macroStmt{line: line, name: p.name()}
	p.expect(tokOp, "(")
	for !p.is(tokOp, ")") {
		if len(s.params) > 0 {
			p.expect(tokOp, ",")
		}
		s.params = append(s.params, p.name())
		var def expr
		if p.skip(tokOp, "=") {
			def = p.expression()
		} else if n := len(s.defaults); n > 0 && s.defaults[n-1] != nil {
			p.fail(p.peek(), "a default")
		}
		s.defaults = append(s.defaults, def)
	}
	p.expect(tokOp, ")")
	loops := p.loops
	p.loops = 0
	s.body, _ = p.block("endmacro")
	p.loops = loops
	return s
}

// target is what a set or a for assigns to: a name, an attribute of a namespace, or
// several of these.
func (p *parser) target(attributes bool) expr {
	paren := p.skip(tokOp, "(")
	var list []expr
	for {
		line := p.peek().line
		name := p.name()
		var t expr = &nameExpr{line, name}
		if attributes && p.skip(tokOp, ".") {
			t = &attrExpr{line, t, p.name()}
		}
		list = append(list, t)
		if !p.skip(tokOp, ",") {
			if paren {
				p.expect(tokOp, ")")
			}
			if len(list) == 1 {
				return t
			}
			return &listExpr{list, true}
		}
	}
}
