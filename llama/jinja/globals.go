package jinja

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// globals are the names that every template can use.
var globals = map[string]any{
	"raise_exception": &function{"raise_exception", func(in *interp, a args) any {
		p := a.take(in, "raise_exception", "message")
		panic(&Error{Line: in.line, Msg: in.str(p[0]), Raised: true, Hint: otherChat})
	}},
	"strftime_now": &function{"strftime_now", func(in *interp, a args) any {
		p := a.take(in, "strftime_now", "format")
		return in.text(strftime(in.textOf(p[0]), in.now))
	}},
	"namespace": &function{"namespace", func(in *interp, a args) any {
		return &namespace{in.keywords("namespace", a)}
	}},
	"dict": &function{"dict", func(in *interp, a args) any {
		vars := in.keywords("dict", a)
		d := newDict(len(vars))
		for _, name := range a.names {
			in.put(d, name, vars[name])
		}
		return d
	}},
	"range": &function{"range", func(in *interp, a args) any {
		var n [3]int64
		for i, v := range a.pos {
			k, ok := v.(int64)
			if !ok || i == 3 {
				in.fail("range takes up to three integers")
			}
			n[i] = k
		}
		start, stop, step := n[0], n[1], n[2]
		switch len(a.pos) {
		case 0:
			in.fail("range takes up to three integers")
		case 1:
			start, stop, step = 0, n[0], 1
		case 2:
			step = 1
		}
		if step == 0 {
			in.fail("a range's step cannot be zero")
		}
		var items []any
		for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
			if len(items) == maxRange {
				in.fail("a range has more than %d elements", maxRange)
			}
			items = append(items, i)
			if next := i + step; (next > i) != (step > 0) {
				break
			}
		}
		in.made(16 * len(items)) // the integers
		return in.newList(items, false)
	}},
}

// keywords are the named arguments of a call that takes no others.
func (in *interp) keywords(fn string, a args) map[string]any {
	if len(a.pos) > 0 {
		in.fail("%s takes named arguments only", fn)
	}
	in.made(64 + 32*len(a.names))
	vars := make(map[string]any, len(a.names))
	for i, name := range a.names {
		vars[name] = a.named[i]
	}
	return vars
}

// missing stands for an optional argument that was not given.
type missing struct{}

// take gives the arguments of the named parameters. A parameter whose name ends in ? is
// optional: its argument may be missing{}.
func (a args) take(in *interp, fn string, params ...string) []any {
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = strings.TrimSuffix(p, "?")
	}
	values := make([]any, len(params))
	for i, v := range a.bind(in, fn, names) {
		switch {
		case v != nil:
			values[i] = *v
		case names[i] == params[i]:
			in.fail("%s needs the argument '%s'", fn, names[i])
		default:
			values[i] = missing{}
		}
	}
	return values
}

func (in *interp) textOf(v any) string {
	s, ok := v.(string)
	if !ok {
		in.operand(v)
		in.fail("a string is needed, not %s", typeName(v))
	}
	return s
}

// intOf is an argument that is an integer, or def where it is missing.
func (in *interp) intOf(v any, def int64) int64 {
	if v == (missing{}) {
		return def
	}
	n, ok := number(v).(int64)
	if !ok {
		in.fail("an integer is needed, not %s", typeName(v))
	}
	return n
}

// given is an argument, or def where it is missing.
func given(v, def any) any {
	if v == (missing{}) {
		return def
	}
	return v
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func (l *loop) attr(in *interp, name string) (any, bool) {
	n := len(l.items)
	element := func(i int) any {
		if i < 0 || i >= n {
			return undefined{"there is no such element around this pass of the loop"}
		}
		return l.items[i]
	}
	switch name {
	case "index":
		return int64(l.i + 1), true
	case "index0":
		return int64(l.i), true
	case "revindex":
		return int64(n - l.i), true
	case "revindex0":
		return int64(n - l.i - 1), true
	case "first":
		return l.i == 0, true
	case "last":
		return l.i == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(1), true // only recursive loops nest deeper
	case "depth0":
		return int64(0), true
	case "previtem":
		return element(l.i - 1), true
	case "nextitem":
		return element(l.i + 1), true
	case "cycle":
		return &function{"cycle", func(in *interp, a args) any {
			if len(a.pos) == 0 {
				in.fail("cycle needs arguments")
			}
			return a.pos[l.i%len(a.pos)]
		}}, true
	case "changed":
		return &function{"changed", func(in *interp, a args) any {
			now := in.newList(a.pos, true)
			same := in.equal(l.last, now, 0)
			l.last = now
			return !same
		}}, true
	}
	return nil, false
}

// layouts are the directives of strftime that package time knows, in the C locale. A minus
// after the percent sign drops the leading zero.
var layouts = map[string]string{
	"Y": "2006", "y": "06", "m": "01", "-m": "1", "d": "02", "-d": "2", "e": "_2", "j": "002",
	"B": "January", "b": "Jan", "h": "Jan", "A": "Monday", "a": "Mon",
	"H": "15", "I": "03", "-I": "3", "M": "04", "-M": "4", "S": "05", "-S": "5", "p": "PM",
	"F": "2006-01-02", "T": "15:04:05", "D": "01/02/06", "R": "15:04",
	"c": "Mon Jan _2 15:04:05 2006", "x": "01/02/06", "X": "15:04:05",
}

// strftime formats a time as C's function of that name. Directives it does not know stay.
func strftime(format string, t time.Time) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		directive := format[i : i+1]
		if directive == "-" && i+1 < len(format) {
			i++
			directive = format[i-1 : i+1]
		}
		switch layout, ok := layouts[directive]; {
		case ok:
			b.WriteString(t.Format(layout))
		case directive == "-H":
			fmt.Fprint(&b, t.Hour())
		case directive == "%":
			b.WriteByte('%')
		default:
			b.WriteString("%" + directive)
		}
	}
	return b.String()
}
