package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// str is a value as it is printed.
func (in *interp) str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case undefined:
		return ""
	}
	var b strings.Builder
	in.repr(&b, v, 0)
	return b.String()
}

// repr writes a value as Python's repr does.
func (in *interp) repr(b *strings.Builder, v any, depth int) {
	in.nested(depth)
	start := b.Len()
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case undefined:
		b.WriteString("Undefined")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(floatString(v))
	case string:
		quote(b, v)
	case *list:
		left, right := "[", "]"
		if v.tuple {
			left, right = "(", ")"
			if len(v.items) == 1 {
				right = ",)"
			}
		}
		b.WriteString(left)
		for i, item := range v.items {
			if i > 0 {
				b.WriteString(", ")
			}
			in.repr(b, item, depth+1)
		}
		b.WriteString(right)
		start = b.Len() - 2
	case *dict:
		b.WriteString("{")
		for i, key := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			in.repr(b, key, depth+1)
			b.WriteString(": ")
			in.repr(b, v.values[i], depth+1)
		}
		b.WriteString("}")
		start = b.Len() - 2
	case *function:
		fmt.Fprintf(b, "<function %s>", v.name)
	case *namespace:
		b.WriteString("<Namespace>")
	case *loop:
		fmt.Fprintf(b, "<LoopContext %d/%d>", v.i+1, len(v.items))
	}
	in.made(b.Len() - start + 2)
}

// floatString is Python's repr of a float: the shortest decimal that reads back the same.
func floatString(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+"))
	case f != 0 && (math.Abs(f) < 1e-4 || math.Abs(f) >= 1e16):
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote writes Python's repr of a string.
func quote(b *strings.Builder, s string) {
	q := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		q = '"'
	}
	b.WriteRune(q)
	for _, r := range s {
		switch {
		case r == q || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteRune(q)
}
