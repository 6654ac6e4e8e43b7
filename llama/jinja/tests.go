package jinja

import "strings"

// tests are the tests by name: v is name(a).
var tests = map[string]func(in *interp, v any, a args) bool{
	"boolean":  func(_ *interp, v any, _ args) bool { return v == true || v == false },
	"callable": func(_ *interp, v any, _ args) bool { _, ok := v.(*function); return ok },
	"defined":  func(_ *interp, v any, _ args) bool { _, not := v.(undefined); return !not },
	"divisibleby": func(in *interp, v any, a args) bool {
		return in.rest(v, a.take(in, "divisibleby", "num")[0]) == 0
	},
	"even":  func(in *interp, v any, _ args) bool { return in.rest(v, int64(2)) == 0 },
	"false": func(_ *interp, v any, _ args) bool { return v == false },
	"float": func(_ *interp, v any, _ args) bool { _, ok := v.(float64); return ok },
	"in": func(in *interp, v any, a args) bool {
		return in.contains(a.take(in, "in", "seq")[0], v)
	},
	"integer": func(_ *interp, v any, _ args) bool { _, ok := v.(int64); return ok },
	"iterable": func(_ *interp, v any, _ args) bool {
		switch v.(type) {
		case string, undefined, *list, *dict:
			return true
		}
		return false
	},
	"lower":   func(in *interp, v any, _ args) bool { return in.hasCase(v, strings.ToLower) },
	"mapping": func(_ *interp, v any, _ args) bool { _, ok := v.(*dict); return ok },
	"none":    func(_ *interp, v any, _ args) bool { return v == nil },
	"number":  func(_ *interp, v any, _ args) bool { return number(v) != nil },
	"odd":     func(in *interp, v any, _ args) bool { return in.rest(v, int64(2)) == 1 },
	"sameas": func(in *interp, v any, a args) bool {
		return v == a.take(in, "sameas", "other")[0]
	},
	"sequence": func(_ *interp, v any, _ args) bool {
		switch v.(type) {
		case string, undefined, *list, *dict:
			return true
		}
		return false
	},
	"string":    func(_ *interp, v any, _ args) bool { _, ok := v.(string); return ok },
	"true":      func(_ *interp, v any, _ args) bool { return v == true },
	"undefined": func(_ *interp, v any, _ args) bool { _, ok := v.(undefined); return ok },
	"upper":     func(in *interp, v any, _ args) bool { return in.hasCase(v, strings.ToUpper) },
}

// The relations have tests too, for select and its like.
func init() {
	for op, names := range map[string][]string{
		"==": {"eq", "equalto", "=="}, "!=": {"ne", "!="},
		"<": {"lt", "lessthan", "<"}, "<=": {"le", "<="},
		">": {"gt", "greaterthan", ">"}, ">=": {"ge", ">="},
	} {
		for _, name := range names {
			tests[name] = func(in *interp, v any, a args) bool {
				return in.relation(op, v, a.take(in, name, "other")[0])
			}
		}
	}
}

func (in *interp) test(name string, v any, a args) bool {
	t := tests[name]
	if t == nil {
		in.fail("the test '%s' is unknown or not supported here", name)
	}
	return t(in, v, a)
}

// rest is v % n.
func (in *interp) rest(v, n any) float64 {
	x, y := number(v), number(n)
	if x == nil || y == nil {
		in.operand(v)
		in.fail("numbers are needed, not %s and %s", typeName(v), typeName(n))
	}
	return float(in.arithmetic("%", x, y))
}

// hasCase says whether v has letters with two cases, all of them in the one that to makes.
func (in *interp) hasCase(v any, to func(string) string) bool {
	s := in.text(in.str(v))
	return to(s) == s && (strings.ToLower(s) != s || strings.ToUpper(s) != s)
}
