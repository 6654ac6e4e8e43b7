package jsongrammar

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// formats are the strings of a format. Of months all have 28 days and those that are sure more.
var formats = map[string]string{
	"date":      "rdate",
	"time":      "rtime",
	"date-time": `rdate "T" rtime`,
	"uuid":      `hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}`,
}

var formatRules = map[string]string{
	"rdate": `[0-9]{4} "-" (("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01]) | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30") | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))`,
	"rtime": `([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])`,
}

// text is the strings of a schema.
func (c *converter) text(s *object, path string) (string, error) {
	from, to, err := bounds(s, "minLength", "maxLength", path)
	if err != nil {
		return "", err
	}
	for _, key := range []string{"pattern", "format"} {
		if !s.has(key) {
			continue
		}
		for _, other := range []string{"minLength", "maxLength", "format"} {
			if other != key && s.has(other) {
				return "", unsupported(path, "say it all in the pattern", "%q beside %q is not supported", other, key)
			}
		}
	}
	switch {
	case s.has("pattern"):
		body, err := c.pattern(s.get("pattern"), path+"/pattern")
		if err != nil {
			return "", err
		}
		return c.rule(path, `"\"" `+body+` "\""`), nil
	case s.has("format"):
		name, _ := s.get("format").(string)
		body, ok := formats[name]
		if !ok {
			return "", unsupported(path+"/format", "leave it out, or write a pattern; date, time, date-time and uuid are known", "the format %s is not supported", text(s.get("format")))
		}
		c.builtin("hex")
		for rule, text := range formatRules {
			if strings.Contains(body, rule) && c.rules[rule] == "" {
				c.order = append(c.order, rule)
				c.rules[rule] = text
			}
		}
		return c.rule(path, `"\"" `+body+` "\""`), nil
	case from == 0 && to < 0:
		return c.builtin("string"), nil
	}
	return c.rule(path, `"\"" `+times(c.builtin("char"), from, to)+` "\""`), nil
}

// pattern is the inside of a string that a regular expression matches from its beginning to its end.
func (c *converter) pattern(pattern any, path string) (string, error) {
	p, ok := pattern.(string)
	re, err := syntax.Parse(p, syntax.Perl)
	if !ok || err != nil {
		return "", unsupported(path, "write one without assertions and references", "%s is no regular expression that is supported", text(pattern))
	}
	if n := len(re.Sub); re.Op != syntax.OpConcat || re.Sub[0].Op != syntax.OpBeginText || re.Sub[n-1].Op != syntax.OpEndText {
		return "", unsupported(path, "begin with ^ and end with $, around all of it", "%s matches parts of a text", text(pattern))
	}
	re.Sub = re.Sub[1 : len(re.Sub)-1]
	return expression(re, path)
}

// expression is a regular expression as a grammar has it, in parentheses where it needs them.
func expression(re *syntax.Regexp, path string) (string, error) {
	var subs []string
	for _, sub := range re.Sub {
		s, err := expression(sub, path)
		if err != nil {
			return "", err
		}
		subs = append(subs, s)
	}
	if re.Flags&syntax.FoldCase != 0 && re.Op == syntax.OpLiteral {
		return "", unsupported(path, "name both cases", "case cannot be ignored")
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		return `""`, nil
	case syntax.OpLiteral:
		var parts []string
		for _, r := range re.Rune {
			parts = append(parts, class([]rune{r, r}))
		}
		return "(" + strings.Join(parts, " ") + ")", nil
	case syntax.OpCharClass:
		if s := class(re.Rune); s != "" {
			return s, nil
		}
	case syntax.OpAnyChar:
		return class([]rune{0, utf8.MaxRune}), nil
	case syntax.OpAnyCharNotNL:
		return class([]rune{0, '\n' - 1, '\n' + 1, '\r' - 1, '\r' + 1, 0x2027, 0x202A, utf8.MaxRune}), nil
	case syntax.OpCapture:
		return subs[0], nil
	case syntax.OpConcat:
		if len(subs) == 0 {
			return `""`, nil
		}
		return "(" + strings.Join(subs, " ") + ")", nil
	case syntax.OpAlternate:
		return "(" + strings.Join(subs, " | ") + ")", nil
	case syntax.OpStar:
		return subs[0] + "*", nil
	case syntax.OpPlus:
		return subs[0] + "+", nil
	case syntax.OpQuest:
		return subs[0] + "?", nil
	case syntax.OpRepeat:
		return times(subs[0], re.Min, re.Max), nil
	}
	return "", unsupported(path, "write a simpler one", "%q is not supported within a pattern", re.String())
}

// class is the characters of some ranges as a JSON string has them: those that need an escape are alternatives, as far
// as they have a short one. It is empty where none is left.
func class(ranges []rune) string {
	var plain strings.Builder
	var parts []string
	escapes := map[rune]string{'"': `"\\\""`, '\\': `"\\\\"`, '\b': `"\\b"`, '\f': `"\\f"`, '\n': `"\\n"`, '\r': `"\\r"`, '\t': `"\\t"`}
	add := func(low, high rune) {
		if low <= high {
			fmt.Fprintf(&plain, `\U%08X-\U%08X`, low, high)
		}
	}
	for i := 0; i < len(ranges); i += 2 {
		low, high := ranges[i], ranges[i+1]
		for _, r := range []rune{'\b', '\t', '\n', '\f', '\r', '"', '\\'} {
			if low <= r && r <= high {
				parts = append(parts, escapes[r])
			}
		}
		low = max(low, ' ')
		for _, r := range []rune{'"', '\\'} {
			if low <= r && r <= high {
				add(low, r-1)
				low = r + 1
			}
		}
		add(low, high)
	}
	if plain.Len() > 0 {
		parts = append([]string{"[" + plain.String() + "]"}, parts...)
	}
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return "(" + strings.Join(parts, " | ") + ")"
}

// most is the largest number that is written where nothing bounds it.
const most = 1e15 - 1

// number is the numbers of a schema within its bounds, of 15 digits at most on either side of the point.
func (c *converter) number(s *object, of, path string) (string, error) {
	low, high, openLow, openHigh := -float64(most), float64(most), false, false
	bounded := false
	for _, b := range []struct {
		key         string
		upper, open bool
	}{{"minimum", false, false}, {"exclusiveMinimum", false, true}, {"maximum", true, false}, {"exclusiveMaximum", true, true}} {
		if !s.has(b.key) {
			continue
		}
		bounded = true
		n, _ := s.get(b.key).(json.Number)
		x, err := n.Float64()
		switch {
		case err != nil || math.Abs(x) > most:
			return "", unsupported(path+"/"+b.key, "give a number of at most 15 digits", "%s is %s", b.key, text(s.get(b.key)))
		case !b.upper && (x > low || x == low && b.open):
			low, openLow = x, b.open
		case b.upper && (x < high || x == high && b.open):
			high, openHigh = x, b.open
		}
	}
	if !bounded {
		return c.builtin(of), nil
	}
	var parts []string
	if of == "integer" {
		parts = signed(low, high, openLow, openHigh, wholes)
	} else {
		parts = signed(low, high, openLow, openHigh, decimals)
	}
	if len(parts) == 0 {
		return "", unsupported(path, "widen them", "no number that can be written lies within its bounds")
	}
	return c.either(len(parts), path, func(i int) (string, error) { return parts[i], nil })
}

// signed are the numbers of an interval by those of intervals of magnitudes.
func signed(low, high float64, openLow, openHigh bool, of func(low, high float64, openLow, openHigh bool) []string) (parts []string) {
	if high > 0 || high == 0 && !openHigh {
		from, open := low, openLow
		if low < 0 {
			from, open = 0, false
		}
		parts = of(from, high, open, openHigh)
	}
	if low < 0 {
		to, open := -high, openHigh
		if high >= 0 {
			to, open = 0, true // 0 has no sign
		}
		for _, p := range of(to, -low, open, openLow) {
			parts = append(parts, `"-" `+p)
		}
	}
	return parts
}

// wholes are the whole numbers of an interval of magnitudes.
func wholes(low, high float64, openLow, openHigh bool) []string {
	from, to := math.Ceil(low), math.Floor(high)
	if openLow && from == low {
		from++
	}
	if openHigh && to == high {
		to--
	}
	if from > to {
		return nil
	}
	return []string{between(int64(from), int64(to))}
}

// decimals are numbers of an interval of magnitudes: those with whole numbers' decimals all of which lie in it.
func decimals(low, high float64, openLow, openHigh bool) (parts []string) {
	const some, nonzero = `("." [0-9]{1,15})?`, `"." [0-9]{0,14} [1-9]`
	from, last := math.Ceil(low), math.Floor(high)
	if openLow && from == low && from+1 <= high {
		parts = append(parts, between(int64(from), int64(from))+" "+nonzero)
	}
	if openLow && from == low {
		from++
	}
	if from <= last-1 {
		parts = append(parts, between(int64(from), int64(last-1))+" "+some)
	}
	if from <= last && !(openHigh && last == high) {
		parts = append(parts, between(int64(last), int64(last)))
	}
	return parts
}

// between is the digits of the whole numbers from a to b, in parentheses where it needs them; 0 <= a <= b.
func between(a, b int64) string {
	var parts []string
	for n := len(strconv.FormatInt(a, 10)); n <= len(strconv.FormatInt(b, 10)); n++ {
		low, high := int64(math.Pow10(n-1)), int64(math.Pow10(n))-1
		if n == 1 {
			low = 0
		}
		parts = append(parts, digits(strconv.FormatInt(max(a, low), 10), strconv.FormatInt(min(b, high), 10)))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "(" + strings.Join(parts, " | ") + ")"
}

// digits is the numbers between two of as many digits.
func digits(a, b string) string {
	n := len(a)
	switch {
	case n == 0:
		return `""`
	case strings.Trim(a, "0") == "" && strings.Trim(b, "9") == "":
		return fmt.Sprintf("[0-9]{%d}", n)
	case n == 1:
		return fmt.Sprintf("[%s-%s]", a, b)
	case a[0] == b[0]:
		return fmt.Sprintf(`("%c" %s)`, a[0], digits(a[1:], b[1:]))
	}
	low, high := a[0], b[0]
	var parts []string
	if strings.Trim(a[1:], "0") != "" {
		parts = append(parts, fmt.Sprintf(`"%c" %s`, low, digits(a[1:], strings.Repeat("9", n-1))))
		low++
	}
	if strings.Trim(b[1:], "9") != "" {
		parts = append(parts, fmt.Sprintf(`"%c" %s`, high, digits(strings.Repeat("0", n-1), b[1:])))
		high--
	}
	if low <= high {
		parts = append(parts, fmt.Sprintf("[%c-%c] [0-9]{%d}", low, high, n-1))
	}
	return "(" + strings.Join(parts, " | ") + ")"
}
