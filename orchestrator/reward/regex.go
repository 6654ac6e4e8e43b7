package reward

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// openRegex makes "regex:PATTERN", 1 where the pattern matches anywhere in the response, else 0.
// PATTERN is a regular expression of Go (RE2: no back references and no look-around, linear
// time); (?i) at its beginning ignores case, ^ and $ are the ends of the response, (?s) lets a dot match
// line breaks. "regex" alone takes each record's own field "pattern". An empty response has 0
// unless the pattern matches nothing at all.
func openRegex(argument string, _ Options) (Model, error) {
	r := rule{info: Info{Name: name("regex", argument), Fingerprint: "regex 1 " + argument, Hi: 1}}
	if argument != "" {
		re, err := regexp.Compile(argument)
		if err != nil {
			return nil, badPattern(argument, err)
		}
		r.score = func(it Item) (float64, error) { return indicator(re.MatchString(it.Response)), nil }
		return r, nil
	}
	r.needs = func(p prompt.Record) error { _, err := recordPattern(p); return err }
	r.score = func(it Item) (float64, error) {
		re, err := recordPattern(it.Prompt)
		if err != nil {
			return 0, err
		}
		return indicator(re.MatchString(it.Response)), nil
	}
	return r, nil
}

func recordPattern(p prompt.Record) (*regexp.Regexp, error) {
	var pattern string
	if err := json.Unmarshal(p.Fields["pattern"], &pattern); err != nil || pattern == "" {
		return nil, fault.New("", "reward", nil, `give every record a "pattern", or {reward} as regex:PATTERN`, `it has no text in its field "pattern"`)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, badPattern(pattern, err)
	}
	return re, nil
}

func badPattern(pattern string, err error) error {
	return fmt.Errorf("%q is no regular expression: %w (the syntax is RE2's: go doc regexp/syntax)", pattern, err)
}
