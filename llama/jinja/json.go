package jinja

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonWriter writes JSON the way Python's json.dumps does: a space after commas and colons,
// keys in their own order, and nothing escaped that need not be.
type jsonWriter struct {
	in         *interp
	b          strings.Builder
	ascii      bool   // escape all that is not ASCII
	sorted     bool   // keys in alphabetical order
	indent     string // of one level, if lines
	lines      bool
	comma, sep string
}

func filterJSON(in *interp, v any, a args) any {
	p := a.take(in, "tojson", "ensure_ascii?", "indent?", "separators?", "sort_keys?")
	w := &jsonWriter{in: in, ascii: truth(given(p[0], false)), sorted: truth(given(p[3], false)), comma: ", ", sep: ": "}
	switch indent := given(p[1], nil).(type) {
	case nil:
	case string:
		w.lines, w.indent = true, indent
	default:
		w.lines, w.indent = true, strings.Repeat(" ", int(min(max(in.intOf(indent, 0), 0), 64)))
	}
	if w.lines {
		w.comma = ","
	}
	if s, ok := given(p[2], nil).(*list); ok && len(s.items) == 2 {
		w.comma, w.sep = in.textOf(s.items[0]), in.textOf(s.items[1])
	}
	w.value(v, 0)
	return w.b.String()
}

func (w *jsonWriter) value(v any, depth int) {
	w.in.nested(depth)
	w.in.made(16)
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		w.b.WriteString(strconv.FormatBool(v))
	case int64:
		w.b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			w.in.fail("JSON has no number for %s", floatString(v))
		}
		w.b.WriteString(floatString(v))
	case string:
		w.str(v)
	case *list:
		w.group("[", "]", len(v.items), depth, func(i int) { w.value(v.items[i], depth+1) })
	case *dict:
		order := make([]int, len(v.keys))
		for i := range order {
			order[i] = i
		}
		if w.sorted {
			slices.SortStableFunc(order, func(i, j int) int { return w.in.compare(v.keys[i], v.keys[j], 0) })
		}
		w.group("{", "}", len(order), depth, func(i int) {
			w.key(v.keys[order[i]])
			w.b.WriteString(w.sep)
			w.value(v.values[order[i]], depth+1)
		})
	default:
		w.in.operand(v)
		w.in.fail("%s cannot be written as JSON", typeName(v))
	}
}

// key writes a mapping's key; those that are no strings become one.
func (w *jsonWriter) key(k any) {
	if s, ok := k.(string); ok {
		w.str(s)
		return
	}
	w.b.WriteByte('"')
	w.value(k, 0)
	w.b.WriteByte('"')
}

func (w *jsonWriter) group(left, right string, n, depth int, element func(i int)) {
	w.b.WriteString(left)
	for i := range n {
		if i > 0 {
			w.b.WriteString(w.comma)
			w.in.made(len(w.comma))
		}
		w.newline(depth + 1)
		element(i)
	}
	if n > 0 {
		w.newline(depth)
	}
	w.b.WriteString(right)
}

func (w *jsonWriter) newline(depth int) {
	if w.lines {
		w.in.made(1 + depth*len(w.indent))
		w.b.WriteString("\n" + strings.Repeat(w.indent, depth))
	}
}

func (w *jsonWriter) str(s string) {
	w.in.made(len(s))
	w.b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.b.WriteByte('\\')
			w.b.WriteRune(r)
		case r == '\n':
			w.b.WriteString(`\n`)
		case r == '\r':
			w.b.WriteString(`\r`)
		case r == '\t':
			w.b.WriteString(`\t`)
		case r == '\b':
			w.b.WriteString(`\b`)
		case r == '\f':
			w.b.WriteString(`\f`)
		case r < 0x20 || w.ascii && r >= 0x7f && r < 0x10000:
			w.escape(r)
		case w.ascii && r > utf8.RuneSelf:
			high, low := utf16.EncodeRune(r)
			w.escape(high)
			w.escape(low)
		default:
			w.b.WriteRune(r)
		}
	}
	w.b.WriteByte('"')
}

func (w *jsonWriter) escape(r rune) {
	w.b.WriteString(`\u` + strconv.FormatInt(int64(r)+0x10000, 16)[1:])
}
