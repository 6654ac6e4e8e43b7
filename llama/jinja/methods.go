package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// method is v.name bound to v, nil if v has no such method. Those that would change a mapping do not exist, as in the
// sandbox that templates are written for, and of a list only append and pop do, which some use all the same.
func method(v any, name string) any {
	switch v := v.(type) {
	case string:
		if m := stringMethods[name]; m != nil {
			return &function{name, func(in *interp, a args) any { return m(in, v, a) }}
		}
	case *dict:
		if m := dictMethods[name]; m != nil {
			return &function{name, func(in *interp, a args) any { return m(in, v, a) }}
		}
	case *list:
		if m := listMethods[name]; m != nil {
			return &function{name, func(in *interp, a args) any { return m(in, v, a) }}
		}
	}
	return nil
}

var dictMethods = map[string]func(in *interp, d *dict, a args) any{
	"get": func(in *interp, d *dict, a args) any {
		p := a.take(in, "get", "key", "default?")
		if v, ok := in.get(d, p[0]); ok {
			return v
		}
		return given(p[1], nil)
	},
	"items":  func(in *interp, d *dict, a args) any { return in.pairs(d) },
	"keys":   func(in *interp, d *dict, a args) any { return in.newList(slices.Clone(d.keys), false) },
	"values": func(in *interp, d *dict, a args) any { return in.newList(slices.Clone(d.values), false) },
}

var listMethods = map[string]func(in *interp, l *list, a args) any{
	"append": func(in *interp, l *list, a args) any {
		p := a.take(in, "append", "object")
		in.fixed(l)
		in.made(16 * (len(l.items) + 1))
		l.items = append(slices.Clip(l.items), p[0]) // others may hold the same array
		return nil
	},
	"pop": func(in *interp, l *list, a args) any {
		p := a.take(in, "pop", "index?")
		in.fixed(l)
		i := in.intOf(given(p[0], int64(-1)), 0)
		if i < 0 {
			i += int64(len(l.items))
		}
		if i < 0 || i >= int64(len(l.items)) {
			in.fail("pop from a list of %d finds nothing there", len(l.items))
		}
		v := l.items[i]
		in.made(16 * len(l.items))
		l.items = slices.Concat(l.items[:i], l.items[i+1:])
		return v
	},
	"count": func(in *interp, l *list, a args) any {
		p := a.take(in, "count", "value")
		n := int64(0)
		for _, item := range l.items {
			if in.equal(item, p[0], 0) {
				n++
			}
		}
		return n
	},
	"index": func(in *interp, l *list, a args) any {
		p := a.take(in, "index", "value")
		for i, item := range l.items {
			if in.equal(item, p[0], 0) {
				return int64(i)
			}
		}
		in.fail("the list does not hold what index looks for")
		return nil
	},
}

// fixed fails if the list is a tuple.
func (in *interp) fixed(l *list) {
	if l.tuple {
		in.fail("a tuple cannot be changed")
	}
}

var stringMethods = map[string]func(in *interp, s string, a args) any{
	"capitalize": plain(capitalize),
	"lower":      plain(strings.ToLower),
	"title":      plain(titleRuns),
	"upper":      plain(strings.ToUpper),
	"isalpha":    every(unicode.IsLetter),
	"isdigit":    every(unicode.IsDigit),
	"isspace":    every(isSpace),
	"strip":      stripper(strings.TrimFunc),
	"lstrip":     stripper(strings.TrimLeftFunc),
	"rstrip":     stripper(strings.TrimRightFunc),
	"startswith": affix(strings.HasPrefix),
	"endswith":   affix(strings.HasSuffix),
	"find":       finder(strings.Index),
	"rfind":      finder(strings.LastIndex),
	"split":      func(in *interp, s string, a args) any { return in.split(s, a, false) },
	"rsplit":     func(in *interp, s string, a args) any { return in.split(s, a, true) },
	"count": func(in *interp, s string, a args) any {
		in.scan(s)
		return int64(strings.Count(s, in.textOf(a.take(in, "count", "sub")[0])))
	},
	"join": func(in *interp, s string, a args) any {
		items := in.elements(a.take(in, "join", "iterable")[0])
		parts := make([]string, len(items))
		size := len(s) * len(items)
		for i, item := range items {
			parts[i] = in.textOf(item)
			size += len(parts[i])
		}
		in.made(size)
		return strings.Join(parts, s)
	},
	"removeprefix": func(in *interp, s string, a args) any {
		in.scan(s)
		return strings.TrimPrefix(s, in.textOf(a.take(in, "removeprefix", "prefix")[0]))
	},
	"removesuffix": func(in *interp, s string, a args) any {
		in.scan(s)
		return strings.TrimSuffix(s, in.textOf(a.take(in, "removesuffix", "suffix")[0]))
	},
	"replace": func(in *interp, s string, a args) any {
		p := a.take(in, "replace", "old", "new", "count?")
		return in.replace(s, in.textOf(p[0]), in.textOf(p[1]), int(in.intOf(p[2], -1)))
	},
	"splitlines": func(in *interp, s string, a args) any {
		a.take(in, "splitlines")
		in.made(2 * len(s))
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
		in.made(32 * (1 + strings.Count(s, "\n")))
		var lines []any
		for line := range strings.Lines(s) {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
		return in.newList(lines, false)
	},
}

func plain(f func(string) string) func(*interp, string, args) any {
	return func(in *interp, s string, a args) any {
		a.take(in, "the method")
		return in.text(f(s))
	}
}

// titleRuns is Python's str.title: a capital at the start of every run of letters.
func titleRuns(s string) string {
	letter := false
	return strings.Map(func(r rune) rune {
		was := letter
		letter = unicode.IsLetter(r)
		if was {
			return unicode.ToLower(r)
		}
		return unicode.ToTitle(r)
	}, s)
}

func every(is func(rune) bool) func(*interp, string, args) any {
	return func(in *interp, s string, a args) any {
		in.scan(s)
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0
	}
}

func stripper(trim func(string, func(rune) bool) string) func(*interp, string, args) any {
	return func(in *interp, s string, a args) any {
		return in.strip(s, a.take(in, "strip", "chars?")[0], trim)
	}
}

// strip trims white space, or the characters given.
func (in *interp) strip(s string, chars any, trim func(string, func(rune) bool) string) string {
	in.scan(s)
	set, ok := given(chars, nil).(string)
	if !ok {
		return trim(s, isSpace)
	}
	in.work(len(s) / 8 * (len(set) / 8))
	return trim(s, func(r rune) bool { return strings.ContainsRune(set, r) })
}

// affix is startswith or endswith, of one text or of any in a tuple.
func affix(has func(s, part string) bool) func(*interp, string, args) any {
	return func(in *interp, s string, a args) any {
		p := a.take(in, "the method", "part")
		if l, ok := p[0].(*list); ok && l.tuple {
			for _, part := range l.items {
				in.work(1)
				if has(s, in.textOf(part)) {
					return true
				}
			}
			return false
		}
		part := in.textOf(p[0])
		in.scan(part)
		return has(s, part)
	}
}

func finder(index func(s, part string) int) func(*interp, string, args) any {
	return func(in *interp, s string, a args) any {
		in.scan(s)
		i := index(s, in.textOf(a.take(in, "find", "sub")[0]))
		if i > 0 {
			i = utf8.RuneCountInString(s[:i])
		}
		return int64(i)
	}
}

// split is str.split and, from the right, str.rsplit.
func (in *interp) split(s string, a args, right bool) any {
	p := a.take(in, "split", "sep?", "maxsplit?")
	limit := int(min(max(in.intOf(p[1], -1), -1), int64(len(s))))
	in.scan(s)
	var parts []string
	switch sep := given(p[0], nil).(type) {
	case nil:
		if right && limit >= 0 {
			in.fail("rsplit with a limit needs a separator")
		}
		for limit != 0 {
			s = strings.TrimLeftFunc(s, isSpace)
			i := strings.IndexFunc(s, isSpace)
			if i < 0 {
				break
			}
			in.made(32)
			parts, s = append(parts, s[:i]), s[i:]
			limit--
		}
		if s = strings.TrimLeftFunc(s, isSpace); s != "" {
			parts = append(parts, s)
		}
	case string:
		if sep == "" {
			in.fail("split needs a separator that is not empty")
		}
		in.made(32 * (1 + strings.Count(s, sep)))
		if !right || limit < 0 {
			if limit >= 0 {
				limit++ // Go counts the parts
			}
			parts = strings.SplitN(s, sep, limit)
			break
		}
		for ; limit > 0; limit-- {
			i := strings.LastIndex(s, sep)
			if i < 0 {
				break
			}
			parts, s = append(parts, s[i+len(sep):]), s[:i]
		}
		parts = append(parts, s)
		slices.Reverse(parts)
	default:
		in.fail("split needs a string, not %s", typeName(sep))
	}
	items := make([]any, len(parts))
	for i, part := range parts {
		items[i] = part
	}
	return in.newList(items, false)
}
