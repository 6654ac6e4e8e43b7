package check

import (
	"strings"
	"unicode"
)

// What Python's strings and regular expressions, in whose words IFEval's checks are defined,
// call a space, a word and upper case differs from Go's in corners that responses have.

// space is a character class for regular expressions, what Python's \s matches.
const space = `[\s\v\x1c-\x1f\x85\p{Z}]`

func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func strip(s string) string { return strings.TrimFunc(s, isSpace) }

// isWord reports whether r is part of a word: a letter, mark, digit or joining character.
func isWord(r rune) bool {
	return r == '_' || unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc) || r == 0x200c || r == 0x200d
}

// words is the number of words, which anything that is not part of one separates.
func words(s string) int {
	return len(strings.FieldsFunc(s, func(r rune) bool { return !isWord(r) }))
}

func isUpper(r rune) bool { return unicode.IsUpper(r) || unicode.Is(unicode.Other_Uppercase, r) }
func isLower(r rune) bool { return unicode.IsLower(r) || unicode.Is(unicode.Other_Lowercase, r) }

// allUpper reports whether s has letters of upper case and none of any other case.
func allUpper(s string) bool { return cased(s, isUpper, isLower) }

func allLower(s string) bool { return cased(s, isLower, isUpper) }

func cased(s string, is, other func(rune) bool) bool {
	found := false
	for _, r := range s {
		if other(r) || unicode.IsTitle(r) {
			return false
		}
		found = found || is(r)
	}
	return found
}
