package jinja

import "math"

// An expr is an expression of a template.
type expr interface{ eval(*interp) any }

type (
	constExpr struct{ value any }
	nameExpr  struct {
		line int
		name string
	}
	listExpr struct {
		items []expr
		tuple bool
	}
	dictExpr struct {
		line         int
		keys, values []expr
	}
	condExpr  struct{ cond, then, orElse expr } // orElse may be nil
	logicExpr struct {
		left, right expr
		or          bool
	}
	notExpr  struct{ operand expr }
	signExpr struct {
		line    int
		minus   bool
		operand expr
	}
	binaryExpr struct {
		line        int
		op          string
		left, right expr
	}
	compareExpr struct {
		line  int
		first expr
		ops   []string
		rest  []expr
	}
	attrExpr struct {
		line   int
		object expr
		name   string
	}
	itemExpr struct {
		line        int
		object, key expr
	}
	sliceExpr struct {
		line   int
		object expr
		part   [3]expr // start, stop, step, each may be nil
	}
	argExprs struct {
		pos, named []expr
		names      []string
	}
	callExpr struct {
		line int
		fn   expr
		args argExprs
	}
	filterExpr struct {
		line    int
		operand expr
		name    string
		args    argExprs
	}
	captureExpr struct{ body []stmt } // what they write, of a filter tag
	testExpr    struct {
		line    int
		operand expr
		not     bool
		name    string
		args    argExprs
	}
)

func (e constExpr) eval(*interp) any { return e.value }

func (e *nameExpr) eval(in *interp) any {
	if v, ok := in.scope.lookup(e.name); ok {
		return v
	}
	return undefined{"'" + e.name + "' is undefined"}
}

func (e *listExpr) eval(in *interp) any {
	items := make([]any, len(e.items))
	for i, item := range e.items {
		items[i] = in.eval(item)
	}
	return in.newList(items, e.tuple)
}

func (e *dictExpr) eval(in *interp) any {
	d := newDict(len(e.keys))
	for i, key := range e.keys {
		k := in.eval(key)
		v := in.eval(e.values[i])
		in.line = e.line
		in.put(d, k, v)
	}
	return d
}

func (e *condExpr) eval(in *interp) any {
	switch {
	case truth(in.eval(e.cond)):
		return in.eval(e.then)
	case e.orElse != nil:
		return in.eval(e.orElse)
	}
	return undefined{"a conditional without else is undefined"}
}

func (e *logicExpr) eval(in *interp) any {
	left := in.eval(e.left)
	if truth(left) == e.or {
		return left
	}
	return in.eval(e.right)
}

func (e *notExpr) eval(in *interp) any { return !truth(in.eval(e.operand)) }

func (e *signExpr) eval(in *interp) any {
	v := in.eval(e.operand)
	in.line = e.line
	n := number(v)
	switch {
	case n == nil:
		in.operand(v)
		in.fail("%s has no sign", typeName(v))
	case !e.minus:
		return n
	}
	if i, ok := n.(int64); ok {
		return in.integer(-i, i != math.MinInt64)
	}
	return -float(n)
}

func (e *compareExpr) eval(in *interp) any {
	left := in.eval(e.first)
	for i, op := range e.ops {
		right := in.eval(e.rest[i])
		in.line = e.line
		if !in.relation(op, left, right) {
			return false
		}
		left = right
	}
	return true
}

func (in *interp) relation(op string, left, right any) bool {
	switch op {
	case "==":
		return in.equal(left, right, 0)
	case "!=":
		return !in.equal(left, right, 0)
	case "in":
		return in.contains(right, left)
	case "not in":
		return !in.contains(right, left)
	}
	in.operand(left)
	in.operand(right)
	c := in.compare(left, right, 0)
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func (e *attrExpr) eval(in *interp) any {
	v := in.eval(e.object)
	in.line = e.line
	return in.attr(v, e.name)
}

func (e *itemExpr) eval(in *interp) any {
	v, key := in.eval(e.object), in.eval(e.key)
	in.line = e.line
	return in.item(v, key)
}

func (e *sliceExpr) eval(in *interp) any {
	v := in.eval(e.object)
	var part [3]*int64
	for i, p := range e.part {
		if p == nil {
			continue
		}
		switch n := in.eval(p).(type) {
		case nil:
		case int64:
			part[i] = &n
		default:
			in.line = e.line
			in.fail("%s cannot be a slice's bound", typeName(n))
		}
	}
	in.line = e.line
	return in.slice(v, part)
}

// args are the arguments of a call.
type args struct {
	pos, named []any
	names      []string
}

func (in *interp) evalArgs(e argExprs) args {
	a := args{names: e.names}
	for _, p := range e.pos {
		a.pos = append(a.pos, in.eval(p))
	}
	for _, p := range e.named {
		a.named = append(a.named, in.eval(p))
	}
	in.made(16 * (len(a.pos) + len(a.named)))
	return a
}

// bind gives each parameter its argument, nil if it has none.
func (a args) bind(in *interp, fn string, params []string) []*any {
	if len(a.pos) > len(params) {
		in.fail("%s takes at most %d arguments, not %d", fn, len(params), len(a.pos))
	}
	bound := make([]*any, len(params))
	for i := range a.pos {
		bound[i] = &a.pos[i]
	}
next:
	for i, name := range a.names {
		for k, param := range params {
			if param == name && bound[k] == nil {
				bound[k] = &a.named[i]
				continue next
			}
		}
		in.fail("%s has no parameter '%s', or has it twice", fn, name)
	}
	return bound
}

func (e *callExpr) eval(in *interp) any {
	fn := in.eval(e.fn)
	a := in.evalArgs(e.args)
	in.line = e.line
	in.operand(fn)
	f, ok := fn.(*function)
	if !ok {
		in.fail("%s cannot be called", typeName(fn))
	}
	return f.call(in, a)
}

func (e *filterExpr) eval(in *interp) any {
	v := in.eval(e.operand)
	a := in.evalArgs(e.args)
	in.line = e.line
	return in.filter(e.name, v, a)
}

func (e *captureExpr) eval(in *interp) (v any) {
	in.within(&scope{map[string]any{}, in.scope}, func() { v, _ = in.capture(e.body) })
	return v
}

func (e *testExpr) eval(in *interp) any {
	v := in.eval(e.operand)
	a := in.evalArgs(e.args)
	in.line = e.line
	return in.test(e.name, v, a) != e.not
}
