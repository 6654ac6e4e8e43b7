package jinja

import (
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"
)

func (e *binaryExpr) eval(in *interp) any {
	left, right := in.eval(e.left), in.eval(e.right)
	in.line = e.line
	if e.op == "~" {
		return in.text(in.str(left) + in.str(right))
	}
	in.operand(left)
	in.operand(right)
	if x, y := number(left), number(right); x != nil && y != nil {
		return in.arithmetic(e.op, x, y)
	}
	switch e.op {
	case "+":
		switch l := left.(type) {
		case string:
			if r, ok := right.(string); ok {
				if safe(e.left) || safe(e.right) {
					l, r = escaped(e.left, l), escaped(e.right, r)
				}
				return in.text(l + r)
			}
		case *list:
			if r, ok := right.(*list); ok && l.tuple == r.tuple {
				items := make([]any, 0, len(l.items)+len(r.items))
				return in.newList(append(append(items, l.items...), r.items...), l.tuple)
			}
		}
	case "*":
		if n, ok := number(left).(int64); ok {
			return in.repeat(right, n, left)
		}
		if n, ok := number(right).(int64); ok {
			return in.repeat(left, n, right)
		}
	}
	in.fail("%s %s %s is not possible", typeName(left), e.op, typeName(right))
	return nil
}

// safe says whether an expression gives a text that Jinja2 marks as safe HTML: one that went
// through safe, or what was added to such a text. It looks at the expression alone; where a
// variable stands between, the mark is lost.
func safe(e expr) bool {
	switch e := e.(type) {
	case *filterExpr:
		return e.name == "safe"
	case *binaryExpr:
		return e.op == "+" && (safe(e.left) || safe(e.right))
	}
	return false
}

var html = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

// escaped is the text of an expression as it is added to a safe one (markupsafe.Markup.__add__).
func escaped(e expr, text string) string {
	if safe(e) {
		return text
	}
	return html.Replace(text)
}

// operand refuses undefined values where Jinja does.
func (in *interp) operand(v any) {
	if u, ok := v.(undefined); ok {
		in.fail("%s", u.why)
	}
}

// integer is n if it is what the operation gave.
func (in *interp) integer(n int64, ok bool) any {
	if !ok {
		in.fail("an integer is out of range")
	}
	return n
}

func (in *interp) repeat(v any, n int64, count any) any {
	n = max(n, 0)
	switch v := v.(type) {
	case string:
		in.made(product(len(v), n))
		return strings.Repeat(v, int(n))
	case *list:
		in.made(product(16*len(v.items), n))
		items := make([]any, 0, len(v.items)*int(n))
		for range n {
			if len(v.items) == 0 {
				break
			}
			items = append(items, v.items...)
		}
		return &list{items, v.tuple}
	}
	in.fail("%s * %s is not possible", typeName(v), typeName(count))
	return nil
}

// product is a*b, both not negative, or what exceeds every bound.
func product(a int, b int64) int {
	if hi, lo := bits.Mul64(uint64(a), uint64(b)); hi == 0 && lo <= math.MaxInt32 {
		return int(lo)
	}
	return math.MaxInt32
}

// arithmetic is that of Python: / gives a float, // and % round down.
func (in *interp) arithmetic(op string, x, y any) any {
	a, isInt := x.(int64)
	b, bothInt := y.(int64)
	if !isInt || !bothInt {
		return in.floats(op, float(x), float(y))
	}
	switch op {
	case "+":
		return in.integer(a+b, (a+b > a) == (b > 0))
	case "-":
		return in.integer(a-b, (a-b < a) == (b > 0))
	case "*":
		if a == 0 || b == 0 {
			return int64(0)
		}
		c := a * b
		return in.integer(c, c/b == a && (a != -1 || b != math.MinInt64) && (b != -1 || a != math.MinInt64))
	case "**":
		if b < 0 {
			return in.floats(op, float(x), float(y))
		}
		return in.power(a, b)
	case "/":
		return in.floats(op, float(x), float(y))
	}
	if b == 0 {
		in.fail("division by zero")
	}
	quotient, rest := a/b, a%b
	if rest != 0 && (rest < 0) != (b < 0) {
		quotient, rest = quotient-1, rest+b
	}
	if op == "//" {
		return in.integer(quotient, a != math.MinInt64 || b != -1)
	}
	return rest
}

func (in *interp) power(a, b int64) any {
	result := int64(1)
	if a == 1 || b == 0 {
		return result
	}
	if a == -1 {
		return 1 - 2*(b&1)
	}
	if a == 0 {
		return int64(0)
	}
	for range b { // at most 63 times: the result leaves the range
		result = in.arithmetic("*", result, a).(int64)
	}
	return result
}

func (in *interp) floats(op string, a, b float64) any {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "**":
		if v := math.Pow(a, b); !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v
		}
		in.fail("a power is out of range")
	}
	if b == 0 {
		in.fail("division by zero")
	}
	switch op {
	case "/":
		return a / b
	case "//":
		return math.Floor(a / b)
	}
	rest := math.Mod(a, b)
	if rest == 0 {
		return math.Copysign(0, b)
	}
	if (rest < 0) != (b < 0) {
		rest += b
	}
	return rest
}

// contains is Python's in.
func (in *interp) contains(v, part any) bool {
	switch v := v.(type) {
	case string:
		s, ok := part.(string)
		if !ok {
			in.operand(part)
			in.fail("%s cannot be in a string", typeName(part))
		}
		in.scan(v)
		return strings.Contains(v, s)
	case *dict:
		_, ok := in.get(v, part)
		return ok
	}
	for _, item := range in.elements(v) {
		if in.equal(item, part, 0) {
			return true
		}
	}
	return false
}

// attr is v.name: a method or field first, then an element.
func (in *interp) attr(v any, name string) any {
	in.operand(v)
	if m := method(v, name); m != nil {
		return m
	}
	switch v := v.(type) {
	case *namespace:
		if x, ok := v.vars[name]; ok {
			return x
		}
	case *loop:
		if x, ok := v.attr(in, name); ok {
			return x
		}
	case *dict:
		if x, ok := in.get(v, name); ok {
			return x
		}
	}
	return undefined{typeName(v) + " has no attribute '" + name + "'"}
}

// item is v[key]: an element first, then an attribute.
func (in *interp) item(v, key any) any {
	in.operand(v)
	if d, ok := v.(*dict); ok {
		if x, ok := in.get(d, key); ok {
			return x
		}
	}
	switch k := key.(type) {
	case string:
		return in.attr(v, k)
	case int64:
		switch v := v.(type) {
		case *list:
			if k < 0 {
				k += int64(len(v.items))
			}
			if 0 <= k && k < int64(len(v.items)) {
				return v.items[k]
			}
		case string:
			return in.character(v, k)
		}
		return undefined{typeName(v) + " has no element " + in.str(key)}
	}
	return undefined{typeName(v) + " has no such element"}
}

func (in *interp) character(s string, k int64) any {
	in.scan(s)
	if k < 0 {
		k += int64(utf8.RuneCountInString(s))
	}
	for _, r := range s {
		if k == 0 {
			return string(r)
		}
		k--
	}
	return undefined{"a string has no such character"}
}

// slice is v[start:stop:step].
func (in *interp) slice(v any, part [3]*int64) any {
	in.operand(v)
	var items []any
	var runes []rune
	n := 0
	switch v := v.(type) {
	case *list:
		items, n = v.items, len(v.items)
	case string:
		in.made(4 * len(v))
		runes = []rune(v)
		n = len(runes)
	default:
		in.fail("%s cannot be sliced", typeName(v))
	}
	step := int64(1)
	if part[2] != nil {
		step = *part[2]
	}
	if step == 0 {
		in.fail("a slice's step cannot be zero")
	}
	bound := func(p *int64, missing, low, high int64) int64 {
		if p == nil {
			return missing
		}
		i := *p
		if i < 0 {
			i += int64(n)
		}
		return min(max(i, low), high)
	}
	size := int64(n)
	start, stop := bound(part[0], 0, 0, size), bound(part[1], size, 0, size)
	if step < 0 {
		start, stop = bound(part[0], size-1, -1, size-1), bound(part[1], -1, -1, size-1)
	}
	step = min(max(step, -size-1), size+1) // no overflow below
	var picked []any
	var text []rune
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if runes != nil {
			text = append(text, runes[i])
		} else {
			picked = append(picked, items[i])
		}
	}
	if l, ok := v.(*list); ok {
		return in.newList(picked, l.tuple)
	}
	return in.text(string(text))
}
