package reward

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// A spec names rewards with their weights:
//
//	spec     = term { ("+" | "-") term }
//	term     = [ weight "*" ] kind [ ":" argument ]
//
// as in "0.7*sentiment + 0.3*length:60". An argument holds anything: it ends at the end of the
// spec, or at a plus or minus that stands between spaces before another term, which is a
// known kind or a number and "*". What looks like a term after all is kept by quotes: no
// argument ends inside a pair of ' or " that opens at its beginning or after anything but a
// letter, a digit or a backslash. An argument that is quoted as a whole loses the quotes; in
// double ones, \" and \\ are a quote and a backslash.
type term struct {
	weight         float64
	kind, argument string
}

var (
	weightPrefix = regexp.MustCompile(`^([^\s:*]+)\s*\*\s*`)
	kindPrefix   = regexp.MustCompile(`^[A-Za-z0-9_]+`)
	signPrefix   = regexp.MustCompile(`^\s*([+-])\s*`)
	signBetween  = regexp.MustCompile(`^\s+[+-]\s+`)
)

// parse reads a spec.
func parse(spec string) ([]term, error) {
	fail := func(at int, hint, format string, args ...any) error {
		args = append([]any{spec, utf8.RuneCountInString(spec[:at]) + 1}, args...)
		return fault.New("read the reward", "reward", nil, hint, "%q, character %d: "+format, args...)
	}
	known := strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")
	var terms []term
	at := len(spec) - len(strings.TrimLeftFunc(spec, unicode.IsSpace))
	for sign := 1.0; ; {
		t := term{weight: sign}
		if m := weightPrefix.FindStringSubmatch(spec[at:]); m != nil {
			w, err := strconv.ParseFloat(m[1], 64)
			if err != nil || math.IsNaN(w) || math.IsInf(w, 0) {
				return nil, fail(at, `a weight is a finite number, as in "0.7*sentiment"`, "%q is no weight", m[1])
			}
			t.weight *= w
			at += len(m[0])
		} else if strings.HasPrefix(spec[at:], "-") {
			t.weight = -t.weight
			at++
		}
		t.kind = kindPrefix.FindString(spec[at:])
		if t.kind == "" {
			return nil, fail(at, "choose one of: "+known, "a kind of reward is missing")
		}
		if _, ok := kinds[t.kind]; !ok {
			return nil, fail(at, "choose one of: "+known, "no kind of reward is called %q", t.kind)
		}
		at += len(t.kind)
		if strings.HasPrefix(spec[at:], ":") {
			end := at + 1 + argumentEnd(spec[at+1:])
			t.argument = strings.TrimSpace(spec[at+1 : end])
			if !kinds[t.kind].quotes {
				t.argument = unquote(t.argument)
			}
			at = end
		}
		terms = append(terms, t)
		if strings.TrimSpace(spec[at:]) == "" {
			return terms, nil
		}
		m := signPrefix.FindStringSubmatch(spec[at:])
		if m == nil {
			return nil, fail(at, `put " + " between rewards, and ":" before the argument of one`, "unexpected %q after %s", strings.TrimSpace(spec[at:]), t.kind)
		}
		at += len(m[0])
		if sign = 1; m[1] == "-" {
			sign = -1
		}
	}
}

// argumentEnd is where the argument at the beginning of s ends.
func argumentEnd(s string) int {
	before := ' '
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case unicode.IsSpace(r):
			if sign := signBetween.FindString(s[i:]); sign != "" && beginsTerm(s[i+len(sign):]) {
				return i
			}
		case (r == '\'' || r == '"') && !unicode.IsLetter(before) && !unicode.IsDigit(before) && before != '\\':
			if n := quoted(s[i:]); n > 0 {
				size = n
			}
		}
		before = r
		i += size
	}
	return len(s)
}

func beginsTerm(s string) bool {
	if m := weightPrefix.FindStringSubmatch(s); m != nil {
		_, err := strconv.ParseFloat(m[1], 64)
		return err == nil
	}
	s = strings.TrimPrefix(s, "-")
	name := kindPrefix.FindString(s)
	_, ok := kinds[name]
	rest := s[len(name):]
	return ok && (rest == "" || rest[0] == ':' || strings.TrimSpace(rest[:1]) == "")
}

// quoted is the length of the quoted text at the beginning of s, its quotes included; 0 where
// it does not end.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return i + 1
		case s[i] == '\\' && s[0] == '"':
			i++
		}
	}
	return 0
}

var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`)

// unquote takes the quotes off a text that is quoted as a whole.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '\'' && s[0] != '"' || quoted(s) != len(s) {
		return s
	}
	if s[0] == '"' {
		return unescape.Replace(s[1 : len(s)-1])
	}
	return s[1 : len(s)-1]
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// String is the term as parse reads it, beside others too.
func (t term) String() string {
	s := t.kind
	if t.argument != "" {
		argument := t.argument
		switch {
		case kinds[t.kind].quotes:
		case strings.Contains(argument, "'"):
			argument = `"` + escape.Replace(argument) + `"`
		case strings.Contains(argument, `"`) || argument != strings.TrimSpace(argument) || argumentEnd(argument) < len(argument):
			argument = "'" + argument + "'"
		}
		s += ":" + argument
	}
	if t.weight != 1 {
		s = strconv.FormatFloat(t.weight, 'g', -1, 64) + "*" + s
	}
	return s
}
