package jinja

// A stmt is a piece of a template's body.
type stmt interface{ exec(*interp) control }

// control says how a statement ended: at its end, or by break or continue.
type control uint8

const (
	breaks control = iota + 1
	continues
)

type (
	textStmt    string
	controlStmt control
	bodyStmt    []stmt // of a generation tag
	outputStmt  struct {
		line  int
		value expr
	}
	ifStmt struct {
		line   int
		conds  []expr
		bodies [][]stmt
		orElse []stmt
	}
	forStmt struct {
		line         int
		target       expr
		iter, cond   expr
		body, orElse []stmt
	}
	setStmt struct {
		line   int
		target expr
		value  expr // nil: the value is what body writes
		body   []stmt
	}
	macroStmt struct {
		line     int
		name     string
		params   []string
		defaults []expr // nil where there is none
		body     []stmt
	}
)

func (s textStmt) exec(in *interp) control {
	in.write(string(s))
	return 0
}

func (s controlStmt) exec(*interp) control { return control(s) }

func (s bodyStmt) exec(in *interp) (c control) {
	in.within(&scope{map[string]any{}, in.scope}, func() { c = in.run(s) })
	return c
}

func (s *outputStmt) exec(in *interp) control {
	in.line = s.line
	in.write(in.str(in.eval(s.value)))
	return 0
}

func (s *ifStmt) exec(in *interp) control {
	for i, cond := range s.conds {
		in.line = s.line
		if truth(in.eval(cond)) {
			return in.run(s.bodies[i])
		}
	}
	return in.run(s.orElse)
}

func (s *forStmt) exec(in *interp) (c control) {
	in.line = s.line
	items := in.elements(in.eval(s.iter))
	if s.cond != nil {
		var kept []any
		for _, item := range items {
			in.within(&scope{map[string]any{}, in.scope}, func() {
				in.assign(s.target, item)
				if truth(in.eval(s.cond)) {
					kept = append(kept, item)
				}
			})
		}
		in.made(16 * len(kept))
		items = kept
	}
	if len(items) == 0 {
		in.within(&scope{map[string]any{}, in.scope}, func() { c = in.run(s.orElse) })
		return c
	}
	l := &loop{items: items, last: undefined{}}
	for i, item := range items {
		l.i = i
		in.work(frame)
		in.line = s.line
		// Each pass has a scope of its own: what it sets is gone in the next one.
		in.within(&scope{map[string]any{"loop": l}, in.scope}, func() {
			in.assign(s.target, item)
			c = in.run(s.body)
		})
		if c == breaks {
			break
		}
	}
	return 0
}

func (s *setStmt) exec(in *interp) (c control) {
	in.line = s.line
	if s.value != nil {
		in.assign(s.target, in.eval(s.value))
		return 0
	}
	var text string
	in.within(&scope{map[string]any{}, in.scope}, func() { text, c = in.capture(s.body) })
	if c == 0 {
		in.assign(s.target, text)
	}
	return c
}

func (s *macroStmt) exec(in *interp) control {
	home := in.scope
	in.scope.vars[s.name] = &function{s.name, func(in *interp, a args) any {
		in.work(frame)
		vars := make(map[string]any, len(s.params))
		for i, v := range a.bind(in, s.name, s.params) {
			if v != nil {
				vars[s.params[i]] = *v
			}
		}
		line := in.line
		var text string
		in.within(&scope{vars, home}, func() {
			for i, name := range s.params {
				if _, given := vars[name]; given {
					continue
				}
				vars[name] = undefined{"the parameter '" + name + "' of " + s.name + "() was not given"}
				if s.defaults[i] != nil {
					vars[name] = in.eval(s.defaults[i])
				}
			}
			text, _ = in.capture(s.body)
		})
		in.line = line
		return text
	}}
	return 0
}

// assign sets a variable of the current scope, an attribute of a namespace, or several.
func (in *interp) assign(target expr, v any) {
	switch t := target.(type) {
	case *nameExpr:
		in.scope.vars[t.name] = v
	case *attrExpr:
		ns, ok := in.eval(t.object).(*namespace)
		if !ok {
			in.fail("attributes can be set on a namespace only")
		}
		ns.vars[t.name] = v
	case *listExpr:
		items := in.elements(v)
		if len(items) != len(t.items) {
			in.fail("%d values for %d names", len(items), len(t.items))
		}
		for i, part := range t.items {
			in.assign(part, items[i])
		}
	}
}
