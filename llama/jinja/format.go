package jinja

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// formatter fills the fields of a format string, as Python's str.format does.
type formatter struct {
	in   *interp
	a    args
	next int // the field without a name that comes next; -1 where fields are numbered
}

// Added here because attributes that a field names may be methods.
func init() {
	stringMethods["format"] = func(in *interp, s string, a args) any {
		f := &formatter{in: in, a: a}
		return f.fill(s, 0)
	}
}

func (f *formatter) fill(s string, depth int) string {
	in := f.in
	if depth > 1 && s != "" {
		in.fail("a format has fields within fields within fields")
	}
	in.scan(s)
	var b strings.Builder
	write := func(s string) {
		in.made(len(s))
		b.WriteString(s)
	}
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			write(s)
			break
		}
		write(s[:i])
		brace := s[i]
		s = s[i+1:]
		switch {
		case s != "" && s[0] == brace:
			write(string(brace))
			s = s[1:]
			continue
		case brace == '}':
			in.fail("a format has a single '}' (write two)")
		}
		end, open := 0, 1
		for ; end < len(s); end++ {
			if s[end] == '{' {
				open++
			} else if s[end] == '}' {
				if open--; open == 0 {
					break
				}
			}
		}
		if end == len(s) {
			in.fail("a format has a '{' that is not closed (write two for the character)")
		}
		write(f.field(s[:end], depth))
		s = s[end+1:]
	}
	return b.String()
}

// field is what stands for {name!conversion:spec}.
func (f *formatter) field(field string, depth int) string {
	in := f.in
	name, spec, _ := strings.Cut(field, ":")
	name, conversion, converted := strings.Cut(name, "!")
	v := f.value(name)
	if converted {
		switch conversion {
		case "s":
			v = in.str(v)
		case "r":
			var b strings.Builder
			in.repr(&b, v, 0)
			v = b.String()
		default:
			in.fail("a format has the conversion '%s', which is none of s and r", conversion)
		}
	}
	return f.format(v, f.fill(spec, depth+1))
}

// value is what a field's name stands for: a number, a name or nothing, then attributes and
// elements.
func (f *formatter) value(name string) any {
	in := f.in
	first := name
	if i := strings.IndexAny(name, ".["); i >= 0 {
		first = name[:i]
	}
	rest := name[len(first):]
	var v any
	n, err := strconv.Atoi(first)
	if first == "" {
		n, err = f.next, nil
		if n < 0 {
			in.fail("a format has fields with and without numbers")
		}
		f.next++
	} else if err == nil {
		if f.next > 0 {
			in.fail("a format has fields with and without numbers")
		}
		f.next = -1
	}
	switch {
	case err == nil && n >= 0 && n < len(f.a.pos):
		v = f.a.pos[n]
	case err == nil:
		in.fail("a format has a field %d, which was not given", n)
	default:
		found := false
		for i, given := range f.a.names {
			if given == first {
				v, found = f.a.named[i], true
			}
		}
		if !found {
			in.fail("a format has a field '%s', which was not given", first)
		}
	}
	for rest != "" {
		var key any
		if rest[0] == '.' {
			end := len(rest)
			if i := strings.IndexAny(rest[1:], ".["); i >= 0 {
				end = 1 + i
			}
			key, rest = rest[1:end], rest[end:]
			v = in.attr(v, key.(string))
			continue
		}
		k, after, ok := strings.Cut(rest[1:], "]")
		if rest[0] != '[' || !ok {
			in.fail("a format has a field that cannot be read: '%s'", name)
		}
		key, rest = k, after
		if n, err := strconv.ParseInt(k, 10, 64); err == nil {
			key = n
		}
		v = in.item(v, key)
	}
	return v
}

// format writes a value by a specification [[fill]align][sign][0][width][,][.precision][type].
func (f *formatter) format(v any, spec string) string {
	in := f.in
	if spec == "" {
		return in.str(v)
	}
	whole := spec
	fill, align := " ", byte(0)
	if _, n := utf8.DecodeRuneInString(spec); len(spec) > n && strings.IndexByte("<>=^", spec[n]) >= 0 {
		fill, align, spec = spec[:n], spec[n], spec[n+1:]
	} else if strings.IndexByte("<>=^", spec[0]) >= 0 {
		align, spec = spec[0], spec[1:]
	}
	take := func(set string) byte {
		if spec != "" && strings.IndexByte(set, spec[0]) >= 0 {
			c := spec[0]
			spec = spec[1:]
			return c
		}
		return 0
	}
	digits := func() int {
		n := len(spec) - len(strings.TrimLeft(spec, "0123456789"))
		if n == 0 {
			return -1
		}
		k, err := strconv.Atoi(spec[:n])
		if err != nil || k > maxRange {
			in.fail("a format is wider than %d characters", maxRange)
		}
		spec = spec[n:]
		return k
	}
	sign := take("+- ")
	if take("0") != 0 && align == 0 {
		fill, align = "0", '='
	}
	width := digits()
	comma := take(",_")
	precision := -1
	if take(".") != 0 {
		if precision = digits(); precision < 0 {
			in.fail("the format '%s' is not known here", whole)
		}
	}
	kind := take("sdefgx%")
	if spec != "" {
		in.fail("the format '%s' is not known here", whole)
	}

	text, minus := "", ""
	x := number(v)
	switch _, isText := v.(string); {
	case isText && (kind == 0 || kind == 's') && sign == 0 && comma == 0 && align != '=':
		text = v.(string)
		if r := []rune(text); precision >= 0 && len(r) > precision {
			text = string(r[:precision])
		}
	case x == nil || kind == 's':
		in.fail("the format '%s' does not suit %s", whole, typeName(v))
	default:
		text = f.number(x, kind, precision, whole)
		if rest, ok := strings.CutPrefix(text, "-"); ok {
			minus, text = "-", rest
		} else if sign == '+' || sign == ' ' {
			minus = string(sign)
		}
		if comma != 0 {
			whole, fraction, point := strings.Cut(text, ".")
			for i := len(whole) - 3; i > 0; i -= 3 {
				whole = whole[:i] + string(comma) + whole[i:]
			}
			if text = whole; point {
				text += "." + fraction
			}
		}
		if align == 0 {
			align = '>'
		}
	}
	pad := max(0, width-utf8.RuneCountInString(minus+text))
	in.made(pad * len(fill))
	switch align {
	case '=':
		return minus + strings.Repeat(fill, pad) + text
	case '>':
		return strings.Repeat(fill, pad) + minus + text
	case '^':
		return strings.Repeat(fill, pad/2) + minus + text + strings.Repeat(fill, pad-pad/2)
	}
	return minus + text + strings.Repeat(fill, pad)
}

// number writes a number in one of Python's types of presentation.
func (f *formatter) number(x any, kind byte, precision int, spec string) string {
	if n, ok := x.(int64); ok {
		switch {
		case precision < 0 && (kind == 0 || kind == 'd'):
			return strconv.FormatInt(n, 10)
		case precision < 0 && kind == 'x':
			return strconv.FormatInt(n, 16)
		}
	}
	v := float(x)
	if precision > 400 || math.IsNaN(v) || math.IsInf(v, 0) {
		f.in.fail("the format '%s' is not known here", spec)
	}
	places := precision
	if places < 0 {
		places = 6
	}
	switch kind {
	case 0:
		if precision < 0 {
			return floatString(v)
		}
	case 'f':
		return strconv.FormatFloat(v, 'f', places, 64)
	case '%':
		return strconv.FormatFloat(100*v, 'f', places, 64) + "%"
	case 'e':
		return strconv.FormatFloat(v, 'e', places, 64)
	}
	f.in.fail("the format '%s' is not known here", spec)
	return ""
}
