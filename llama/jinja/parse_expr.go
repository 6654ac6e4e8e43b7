package jinja

// expression is one expression, with the conditional (a if b else c).
func (p *parser) expression() expr {
	defer p.nest()()
	e := p.or()
	for p.skip(tokName, "if") {
		c := &condExpr{cond: p.or(), then: e}
		if p.skip(tokName, "else") {
			c.orElse = p.expression()
		}
		e = c
	}
	return e
}

// tuple is an expression, or several with commas between them. Within if and for, whose
// own words follow, it has no conditional.
func (p *parser) tuple(conditional bool) expr {
	one := p.or
	if conditional {
		one = p.expression
	}
	e := one()
	if !p.is(tokOp, ",") {
		return e
	}
	list := []expr{e}
	for p.skip(tokOp, ",") {
		if t := p.peek(); t.kind != tokName && t.kind != tokString && t.kind != tokInt && t.kind != tokFloat && (t.kind != tokOp || closing[t.text] != 0) {
			break // a comma at the end
		}
		list = append(list, one())
	}
	return &listExpr{list, true}
}

func (p *parser) or() expr {
	e := p.and()
	for p.skip(tokName, "or") {
		e = &logicExpr{e, p.and(), true}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.skip(tokName, "and") {
		e = &logicExpr{e, p.not(), false}
	}
	return e
}

func (p *parser) not() expr {
	if p.skip(tokName, "not") {
		defer p.nest()()
		return &notExpr{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	first := p.sum()
	var c *compareExpr
	for {
		t := p.peek()
		op := ""
		switch {
		case t.kind == tokOp && (t.text == "==" || t.text == "!=" || t.text == "<" || t.text == "<=" || t.text == ">" || t.text == ">="):
			op = t.text
		case t.kind == tokName && t.text == "in":
			op = "in"
		case t.kind == tokName && t.text == "not" && p.tokens[p.pos+1].kind == tokName && p.tokens[p.pos+1].text == "in":
			op = "not in"
			p.pos++
		}
		if op == "" {
			break
		}
		p.pos++
		if c == nil {
			c = &compareExpr{line: t.line, first: first}
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, p.sum())
	}
	if c == nil {
		return first
	}
	return c
}

// binary is a chain of left-associative operators.
func (p *parser) binary(operand func() expr, ops ...string) expr {
	e := operand()
next:
	for {
		for _, op := range ops {
			if line := p.peek().line; p.skip(tokOp, op) {
				e = &binaryExpr{line, op, e, operand()}
				continue next
			}
		}
		return e
	}
}

func (p *parser) sum() expr     { return p.binary(p.concat, "+", "-") }
func (p *parser) concat() expr  { return p.binary(p.product, "~") }
func (p *parser) product() expr { return p.binary(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr   { return p.binary(func() expr { return p.unary(true) }, "**") }

// unary is a signed or plain operand; a filter applies to the sign too.
func (p *parser) unary(filters bool) expr {
	defer p.nest()()
	line := p.peek().line
	var e expr
	switch {
	case p.skip(tokOp, "-"):
		e = &signExpr{line, true, p.unary(false)}
	case p.skip(tokOp, "+"):
		e = &signExpr{line, false, p.unary(false)}
	default:
		e = p.primary()
	}
	e = p.postfix(e)
	if filters {
		e = p.filters(e)
	}
	return e
}

func (p *parser) primary() expr {
	defer p.nest()()
	t := p.next()
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True":
			return constExpr{true}
		case "false", "False":
			return constExpr{false}
		case "none", "None":
			return constExpr{nil}
		}
		return &nameExpr{t.line, t.text}
	case tokInt, tokFloat:
		return constExpr{t.num}
	case tokString:
		s := t.text
		for p.peek().kind == tokString { // as in Python, neighbours are one string
			s += p.next().text
		}
		return constExpr{s}
	case tokOp:
		switch t.text {
		case "(":
			if p.skip(tokOp, ")") {
				return &listExpr{nil, true}
			}
			e := p.tuple(true)
			p.expect(tokOp, ")")
			return e
		case "[":
			return &listExpr{p.items("]", p.expression), false}
		case "{":
			d := &dictExpr{line: t.line}
			p.items("}", func() expr {
				d.keys = append(d.keys, p.expression())
				p.expect(tokOp, ":")
				d.values = append(d.values, p.expression())
				return nil
			})
			return d
		}
	}
	p.fail(t, "an expression")
	return nil
}

// items are what stands between commas up to a closing bracket; a comma may stand last.
func (p *parser) items(end string, one func() expr) []expr {
	var list []expr
	for !p.skip(tokOp, end) {
		list = append(list, one())
		if !p.is(tokOp, end) {
			p.expect(tokOp, ",")
		}
	}
	return list
}

// postfix is e with the attributes, subscripts and calls that follow it.
func (p *parser) postfix(e expr) expr {
	for {
		line := p.peek().line
		switch {
		case p.skip(tokOp, "."):
			if t := p.peek(); t.kind == tokInt {
				p.pos++
				e = &itemExpr{line, e, constExpr{t.num}}
				continue
			}
			e = &attrExpr{line, e, p.name()}
		case p.skip(tokOp, "["):
			e = p.subscript(line, e)
		case p.is(tokOp, "("):
			e = &callExpr{line, e, p.arguments()}
		default:
			return e
		}
	}
}

func (p *parser) subscript(line int, e expr) expr {
	var part [3]expr
	colons := 0
	for !p.skip(tokOp, "]") {
		if p.is(tokOp, ":") && colons < 2 {
			p.pos++
			colons++
			continue
		}
		if part[colons] != nil {
			p.fail(p.peek(), "']'")
		}
		part[colons] = p.expression()
	}
	if colons > 0 {
		return &sliceExpr{line, e, part}
	}
	if part[0] == nil {
		p.fail(p.peek(), "an index")
	}
	return &itemExpr{line, e, part[0]}
}

// arguments are those of a call, with its parentheses.
func (p *parser) arguments() (a argExprs) {
	defer p.nest()()
	p.expect(tokOp, "(")
	p.items(")", func() expr {
		if t := p.peek(); t.kind == tokName && p.tokens[p.pos+1].kind == tokOp && p.tokens[p.pos+1].text == "=" {
			p.pos += 2
			a.names, a.named = append(a.names, t.text), append(a.named, p.expression())
			return nil
		}
		if len(a.names) > 0 {
			p.fail(p.peek(), "a named argument")
		}
		a.pos = append(a.pos, p.expression())
		return nil
	})
	return a
}

// filters is e with the filters, tests and calls that follow it.
func (p *parser) filters(e expr) expr {
	for {
		line := p.peek().line
		switch {
		case p.skip(tokOp, "|"):
			e = p.filter(line, e)
		case p.skip(tokName, "is"):
			e = p.test(line, e)
		case p.is(tokOp, "("):
			e = &callExpr{line, e, p.arguments()}
		default:
			return e
		}
	}
}

// filter is e with the filter that comes next.
func (p *parser) filter(line int, e expr) expr {
	f := &filterExpr{line: line, operand: e, name: p.name()}
	if p.is(tokOp, "(") {
		f.args = p.arguments()
	}
	return f
}

// test is what follows the word is. Its one argument may come without parentheses.
func (p *parser) test(line int, e expr) expr {
	t := &testExpr{line: line, operand: e, not: p.skip(tokName, "not"), name: p.name()}
	switch next := p.peek(); next.kind {
	case tokOp:
		switch next.text {
		case "(":
			t.args = p.arguments()
			return t
		case "[", "{":
		default:
			return t
		}
	case tokName:
		switch next.text {
		case "else", "or", "and", "if", "in", "not", "is":
			return t
		}
	case tokString, tokInt, tokFloat:
	default:
		return t
	}
	t.args.pos = []expr{p.postfix(p.primary())}
	return t
}
