package reward

import (
	"fmt"
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
//	term     = [ weight "*" ] ( kind [ ":" argument ] | ensemble [ ":" number ] "(" spec { "," spec } ")" )
//
// as in "0.7*sentiment + 0.3*length:60". An argument holds anything: it ends at the end of the
// spec, or at a plus or minus that stands between spaces before another term, which is a
// known kind or a number and "*"; inside of an ensemble also at its closing parenthesis, or at a comma
// before another term. What looks like a term after all is kept by quotes: no
// argument ends inside a pair of ' or " that opens at its beginning or after anything but a
// letter, a digit or a backslash. An argument that is quoted as a whole loses the quotes; in
// double ones, \" and \\ are a quote and a backslash.
type term struct {
	weight         float64
	kind, argument string
	of             [][]term // the members of an ensemble
}

var (
	weightPrefix = regexp.MustCompile(`^([^\s:*(,]+)\s*\*\s*`)
	kindPrefix   = regexp.MustCompile(`^[A-Za-z0-9_]+`)
	signPrefix   = regexp.MustCompile(`^\s*([+-])\s*`)
	signBetween  = regexp.MustCompile(`^\s+[+-]\s+`)
	commaBetween = regexp.MustCompile(`^,\s*`)
)

// parse reads a spec.
func parse(spec string) ([]term, error) {
	p := parser{spec: spec}
	return p.terms(false)
}

// parser reads a spec from a place on.
type parser struct {
	spec string
	at   int
	deep int // ensembles that are open
}

// deepest is how many ensembles may hold one another.
const deepest = 50

func (p *parser) fail(hint, format string, args ...any) error {
	args = append([]any{discreet(p.spec), utf8.RuneCountInString(p.spec[:p.at]) + 1}, args...)
	return fault.New("read the reward", "reward", nil, hint, "%q, character %d: "+format, args...)
}

func (p *parser) rest() string { return p.spec[p.at:] }

// space skips white space.
func (p *parser) space() { p.at = len(p.spec) - len(strings.TrimLeftFunc(p.rest(), unicode.IsSpace)) }

// terms reads a sum, to its end or, inside of an ensemble, to the comma or parenthesis behind it.
func (p *parser) terms(inside bool) (terms []term, err error) {
	known := strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")
	p.space()
	for sign := 1.0; ; {
		t := term{weight: sign}
		if m := weightPrefix.FindStringSubmatch(p.rest()); m != nil {
			w, err := strconv.ParseFloat(m[1], 64)
			if err != nil || math.IsNaN(w) || math.IsInf(w, 0) {
				return nil, p.fail(`a weight is a finite number, as in "0.7*sentiment"`, "%q is no weight", m[1])
			}
			t.weight *= w
			p.at += len(m[0])
		} else if strings.HasPrefix(p.rest(), "-") {
			t.weight = -t.weight
			p.at++
		}
		t.kind = kindPrefix.FindString(p.rest())
		if t.kind == "" {
			return nil, p.fail("choose one of: "+known, "a kind of reward is missing")
		}
		if _, ok := kinds[t.kind]; !ok {
			return nil, p.fail("choose one of: "+known, "no kind of reward is called %q", t.kind)
		}
		p.at += len(t.kind)
		if kinds[t.kind].combine != nil {
			if err := p.members(&t); err != nil {
				return nil, err
			}
		} else if strings.HasPrefix(p.rest(), ":") {
			end := p.at + 1 + argumentEnd(p.spec[p.at+1:], inside)
			t.argument = strings.TrimSpace(p.spec[p.at+1 : end])
			if !kinds[t.kind].quotes {
				t.argument = unquote(t.argument)
			}
			p.at = end
		}
		terms = append(terms, t)
		m := signPrefix.FindStringSubmatch(p.rest())
		if m == nil {
			at := p.at
			if p.space(); p.rest() == "" || inside && strings.ContainsRune(",)", rune(p.rest()[0])) {
				return terms, nil
			}
			rest := p.rest()
			p.at = at
			return nil, p.fail(`put " + " between rewards, and ":" before the argument of one`, "unexpected %q after %s", strings.TrimSpace(rest), t.kind)
		}
		p.at += len(m[0])
		if sign = 1; m[1] == "-" {
			sign = -1
		}
	}
}

// members reads what follows the name of an ensemble.
func (p *parser) members(t *term) error {
	hint := fmt.Sprintf("give %s as %s", t.kind, kinds[t.kind].form)
	if p.deep++; p.deep > deepest {
		return p.fail("nest fewer", "more than %d ensembles hold one another", deepest)
	}
	defer func() { p.deep-- }()
	if strings.HasPrefix(p.rest(), ":") {
		end := strings.IndexByte(p.rest(), '(')
		if end < 0 {
			return p.fail(hint, "%s has no members", t.kind)
		}
		t.argument = strings.TrimSpace(p.rest()[1:end])
		p.at += end
	}
	if !strings.HasPrefix(p.rest(), "(") {
		return p.fail(hint, "%s has no members", t.kind)
	}
	for {
		p.at++
		member, err := p.terms(true)
		if err != nil {
			return err
		}
		t.of = append(t.of, member)
		switch {
		case strings.HasPrefix(p.rest(), ")"):
			p.at++
			return nil
		case p.rest() == "":
			return p.fail(hint, "the parenthesis of %s is not closed", t.kind)
		}
	}
}

// argumentEnd is where the argument at the beginning of s ends.
func argumentEnd(s string, inside bool) int {
	before, depth := ' ', 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case unicode.IsSpace(r):
			if sign := signBetween.FindString(s[i:]); sign != "" && beginsTerm(s[i+len(sign):]) {
				return i
			}
		case r == '(':
			depth++
		case r == ')':
			if depth--; depth < 0 && inside {
				return i
			}
		case r == ',' && inside && depth <= 0 && beginsTerm(s[i+len(commaBetween.FindString(s[i:])):]):
			return i
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

// beginsTerm says whether a term stands at the beginning of s, in an ensemble or not.
func beginsTerm(s string) bool {
	if m := weightPrefix.FindStringSubmatch(s); m != nil {
		_, err := strconv.ParseFloat(m[1], 64)
		return err == nil
	}
	s = strings.TrimPrefix(s, "-")
	name := kindPrefix.FindString(s)
	k, ok := kinds[name]
	rest := s[len(name):]
	if k.combine != nil {
		return rest != "" && (rest[0] == ':' || rest[0] == '(')
	}
	return ok && (rest == "" || strings.ContainsRune(":,)", rune(rest[0])) || strings.TrimSpace(rest[:1]) == "")
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
func (t term) String() string { return t.text(false) }

// text is String, inside of an ensemble or not.
func (t term) text(inside bool) string {
	s := t.kind
	if t.argument != "" {
		argument := t.argument
		switch {
		case kinds[t.kind].quotes || t.of != nil:
		case strings.Contains(argument, "'"):
			argument = `"` + escape.Replace(argument) + `"`
		case strings.Contains(argument, `"`) || argument != strings.TrimSpace(argument) || argumentEnd(argument, false) < len(argument) || inside && argumentEnd(argument+")", true) != len(argument):
			argument = "'" + argument + "'"
		}
		s += ":" + argument
	}
	if t.of != nil {
		members := make([]string, len(t.of))
		for i, of := range t.of {
			members[i] = spell(of, true)
		}
		s += "(" + strings.Join(members, ", ") + ")"
	}
	if t.weight != 1 {
		s = strconv.FormatFloat(t.weight, 'g', -1, 64) + "*" + s
	}
	return s
}

// spell is a sum as parse reads it.
func spell(terms []term, inside bool) string {
	var s []string
	for _, t := range terms {
		s = append(s, t.text(inside))
	}
	return strings.Join(s, " + ")
}
