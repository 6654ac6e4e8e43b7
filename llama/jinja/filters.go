package jinja

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// filters are the filters by name: v | name(a).
var filters map[string]func(in *interp, v any, a args) any

// Filled here because some filters apply others.
func init() {
	filters = map[string]func(in *interp, v any, a args) any{
		"abs":        filterAbs,
		"attr":       func(in *interp, v any, a args) any { return in.attr(v, in.textOf(a.take(in, "attr", "name")[0])) },
		"capitalize": stringFilter(capitalize),
		"count":      filterLength,
		"d":          filterDefault,
		"default":    filterDefault,
		"dictsort":   filterDictsort,
		"first":      func(in *interp, v any, a args) any { return in.at(v, 0) },
		"float":      filterFloat,
		"indent":     filterIndent,
		"int":        filterInt,
		"items":      filterItems,
		"join":       filterJoin,
		"last":       func(in *interp, v any, a args) any { return in.at(v, -1) },
		"length":     filterLength,
		"list":       func(in *interp, v any, a args) any { return in.newList(slices.Clone(in.elements(v)), false) },
		"lower":      stringFilter(strings.ToLower),
		"map":        filterMap,
		"max":        func(in *interp, v any, a args) any { return in.extreme("max", v, a, 1) },
		"min":        func(in *interp, v any, a args) any { return in.extreme("min", v, a, -1) },
		"reject":     func(in *interp, v any, a args) any { return in.sift("reject", v, a, false, false) },
		"rejectattr": func(in *interp, v any, a args) any { return in.sift("rejectattr", v, a, true, false) },
		"replace":    filterReplace,
		"reverse":    filterReverse,
		"round":      filterRound,
		"safe":       func(in *interp, v any, a args) any { return in.str(v) },
		"select":     func(in *interp, v any, a args) any { return in.sift("select", v, a, false, true) },
		"selectattr": func(in *interp, v any, a args) any { return in.sift("selectattr", v, a, true, true) },
		"sort":       filterSort,
		"string":     func(in *interp, v any, a args) any { return in.str(v) },
		"sum":        filterSum,
		"title":      stringFilter(titleWords),
		"tojson":     filterJSON,
		"trim":       filterTrim,
		"unique":     filterUnique,
		"upper":      stringFilter(strings.ToUpper),
	}
}

func (in *interp) filter(name string, v any, a args) any {
	f := filters[name]
	if f == nil {
		in.fail("the filter '%s' is unknown or not supported here", name)
	}
	return f(in, v, a)
}

func stringFilter(f func(string) string) func(*interp, any, args) any {
	return func(in *interp, v any, a args) any {
		a.take(in, "the filter")
		return in.text(f(in.str(v)))
	}
}

// capitalize is Python's str.capitalize.
func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(s[n:])
}

// titleWords is Jinja's title: a capital after white space, a dash or an opening bracket.
func titleWords(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		was := start
		start = isSpace(r) || strings.ContainsRune("-({[<", r)
		if was {
			return unicode.ToUpper(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func filterAbs(in *interp, v any, a args) any {
	switch n := number(v).(type) {
	case int64:
		return in.integer(max(n, -n), n != math.MinInt64)
	case float64:
		return math.Abs(n)
	}
	in.operand(v)
	in.fail("abs takes a number, not %s", typeName(v))
	return nil
}

func filterLength(in *interp, v any, a args) any { return int64(in.length(v)) }

func filterDefault(in *interp, v any, a args) any {
	p := a.take(in, "default", "default_value?", "boolean?")
	if _, ok := v.(undefined); ok || truth(given(p[1], false)) && !truth(v) {
		return given(p[0], "")
	}
	return v
}

// at is the first or last element of v.
func (in *interp) at(v any, i int) any {
	if s, ok := v.(string); ok {
		return in.character(s, int64(i))
	}
	items := in.elements(v)
	if len(items) == 0 {
		return undefined{"there is no element in " + typeName(v) + " that is empty"}
	}
	if i < 0 {
		i += len(items)
	}
	return items[i]
}

func filterItems(in *interp, v any, a args) any {
	switch v := v.(type) {
	case undefined:
		return in.newList(nil, false)
	case *dict:
		return in.pairs(v)
	}
	in.fail("items takes a mapping, not %s", typeName(v))
	return nil
}

// pairs are the (key, value) tuples of d.
func (in *interp) pairs(d *dict) *list {
	items := make([]any, len(d.keys))
	for i, key := range d.keys {
		items[i] = in.newList([]any{key, d.values[i]}, true)
	}
	return in.newList(items, false)
}

func filterJoin(in *interp, v any, a args) any {
	p := a.take(in, "join", "d?", "attribute?")
	items := in.elements(v)
	parts := make([]string, len(items))
	separator := in.str(given(p[0], ""))
	size := len(separator) * len(items)
	for i, item := range items {
		if p[1] != (missing{}) {
			item = in.path(item, p[1])
		}
		parts[i] = in.str(item)
		size += len(parts[i])
	}
	in.made(size)
	return strings.Join(parts, separator)
}

// path follows an attribute argument such as "function.name".
func (in *interp) path(v, attribute any) any {
	if _, ok := attribute.(int64); ok {
		return in.item(v, attribute)
	}
	path := in.textOf(attribute)
	in.scan(path)
	for part := range strings.SplitSeq(path, ".") {
		var key any = part
		if n, err := strconv.ParseInt(part, 10, 64); err == nil && n >= 0 {
			key = n
		}
		v = in.item(v, key)
	}
	return v
}

func filterMap(in *interp, v any, a args) any {
	if !truth(v) {
		return in.newList(nil, false)
	}
	items := in.elements(v)
	mapped := make([]any, len(items))
	if len(a.pos) == 0 {
		p := a.take(in, "map", "attribute", "default?")
		for i, item := range items {
			mapped[i] = in.path(item, p[0])
			if _, ok := mapped[i].(undefined); ok {
				mapped[i] = given(p[1], mapped[i])
			}
		}
		return in.newList(mapped, false)
	}
	name := in.textOf(a.pos[0])
	a.pos = a.pos[1:]
	for i, item := range items {
		in.work(1)
		mapped[i] = in.filter(name, item, a)
	}
	return in.newList(mapped, false)
}

// sift is select, reject and their forms for an attribute: the elements for which a test
// gives want, or, without a test, those that are true.
func (in *interp) sift(name string, v any, a args, attribute, want bool) any {
	if !truth(v) {
		return in.newList(nil, false)
	}
	var attr any
	if attribute {
		if len(a.pos) == 0 {
			in.fail("%s needs an attribute", name)
		}
		attr, a.pos = a.pos[0], a.pos[1:]
	}
	test := ""
	if len(a.pos) > 0 {
		test, a.pos = in.textOf(a.pos[0]), a.pos[1:]
	}
	var kept []any
	for _, item := range in.elements(v) {
		in.work(1)
		x := item
		if attribute {
			x = in.path(item, attr)
		}
		ok := truth(x)
		if test != "" {
			ok = in.test(test, x, a)
		}
		if ok == want {
			kept = append(kept, item)
		}
	}
	return in.newList(kept, false)
}

func filterReplace(in *interp, v any, a args) any {
	p := a.take(in, "replace", "old", "new", "count?")
	return in.replace(in.str(v), in.str(p[0]), in.str(p[1]), int(in.intOf(p[2], -1)))
}

func (in *interp) replace(s, old, with string, count int) string {
	in.scan(s)
	if n := strings.Count(s, old); count < 0 || n < count {
		count = n
	}
	in.made(len(s) + product(len(with), int64(count)))
	return strings.Replace(s, old, with, count)
}

func filterReverse(in *interp, v any, a args) any {
	if s, ok := v.(string); ok {
		in.made(5 * len(s))
		runes := []rune(s)
		slices.Reverse(runes)
		return string(runes)
	}
	items := slices.Clone(in.elements(v))
	slices.Reverse(items)
	return in.newList(items, false)
}

func filterRound(in *interp, v any, a args) any {
	p := a.take(in, "round", "precision?", "method?")
	n := number(v)
	if n == nil {
		in.operand(v)
		in.fail("round takes a number, not %s", typeName(v))
	}
	if i, ok := n.(int64); ok && p[1] == (missing{}) {
		return i
	}
	scale := math.Pow10(int(min(max(in.intOf(p[0], 0), -300), 300)))
	x := float(n) * scale
	switch in.str(given(p[1], "common")) {
	case "ceil":
		x = math.Ceil(x)
	case "floor":
		x = math.Floor(x)
	default:
		x = math.RoundToEven(x)
	}
	return x / scale
}

func filterTrim(in *interp, v any, a args) any {
	p := a.take(in, "trim", "chars?")
	return in.strip(in.str(v), p[0], strings.TrimFunc)
}

func filterIndent(in *interp, v any, a args) any {
	p := a.take(in, "indent", "width?", "first?", "blank?")
	s := in.str(v)
	var pad string
	switch w := given(p[0], int64(4)).(type) {
	case string:
		pad = w
	default:
		n := in.intOf(w, 0)
		in.made(product(1, max(n, 0)))
		pad = strings.Repeat(" ", int(max(n, 0)))
	}
	lines := strings.Split(s, "\n")
	in.made(product(len(pad)+16, int64(len(lines))) + len(s))
	for i, line := range lines {
		if i == 0 && !truth(given(p[1], false)) || line == "" && i > 0 && !truth(given(p[2], false)) {
			continue
		}
		lines[i] = pad + line
	}
	return strings.Join(lines, "\n")
}

func filterInt(in *interp, v any, a args) any {
	p := a.take(in, "int", "default?")
	in.operand(v)
	switch n := v.(type) {
	case bool:
		return number(n)
	case int64:
		return n
	case float64:
		if math.Abs(n) < 1<<63 {
			return int64(n)
		}
	case string:
		in.scan(n)
		n = strings.TrimSpace(n)
		if i, err := strconv.ParseInt(n, 10, 64); err == nil {
			return i
		}
		if f, err := strconv.ParseFloat(n, 64); err == nil && math.Abs(f) < 1<<63 {
			return int64(f)
		}
	}
	return given(p[0], int64(0))
}

func filterFloat(in *interp, v any, a args) any {
	p := a.take(in, "float", "default?")
	in.operand(v)
	if n := number(v); n != nil {
		return float(n)
	}
	if s, ok := v.(string); ok {
		in.scan(s)
		if f, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil {
			return f
		}
	}
	return given(p[0], 0.0)
}

func filterSum(in *interp, v any, a args) any {
	p := a.take(in, "sum", "attribute?", "start?")
	total := given(p[1], int64(0))
	for _, item := range in.elements(v) {
		if p[0] != (missing{}) {
			item = in.path(item, p[0])
		}
		x, y := number(total), number(item)
		if x == nil || y == nil {
			in.fail("sum adds numbers, not %s", typeName(item))
		}
		in.work(1)
		total = in.arithmetic("+", x, y)
	}
	return total
}
