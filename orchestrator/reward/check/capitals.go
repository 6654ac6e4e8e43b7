package check

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// capitals is the number of words in capital letters. Words are those of the Penn Treebank, as
// NLTK finds them: quotes, brackets and most punctuation stand for themselves, "DON'T" is the
// two words "DO" and "N'T", "CANNOT" is "CAN" and "NOT"; "WELL-KNOWN", "A.B" and "3,5M" are one.
func capitals(s string) int {
	n := 0
	for _, sentence := range english().split(s) {
		for _, piece := range strings.Fields(split(sentence)) {
			for _, part := range clitics(piece) {
				for _, word := range apart(part) {
					if allUpper(word) {
						n++
					}
				}
			}
		}
	}
	return n
}

// period is what ends a sentence.
var period = regexp.MustCompile(`([^.])\.[\])}>"'»”’\s]*$`)

// clitic is what an apostrophe at the start of a word may belong to.
var clitic = regexp.MustCompile(`^(?i:re|ve|ll|m|t|s|d|n)(?:$|[^\pL\pM\p{Nd}_])`)

// split puts spaces in the place of what separates the words of a sentence.
func split(s string) string {
	text := []rune(period.ReplaceAllString(s, "$1"))
	at := func(i int) rune {
		if i < 0 || i >= len(text) {
			return -1
		}
		return text[i]
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		r, next := text[i], at(i+1)
		switch {
		case isSpace(r), in("«»“”‘’„`\";@#$%&?!*()[]{}<>‒–—―", r):
			b.WriteByte(' ')
		case in(":,", r) && !unicode.IsDigit(next):
			b.WriteByte(' ')
		case in(".-'", r) && next == r: // of dots any number, of the others two
			for i++; r == '.' && at(i+1) == '.'; i++ {
			}
			b.WriteByte(' ')
		case r == '\'' && !isWord(at(i-1)) && isWord(next) && !clitic.MatchString(string(text[i+1:min(i+4, len(text))])):
			b.WriteString("' ")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// clitics splits the endings off a word.
func clitics(word string) []string {
	words := []string{word}
	for _, endings := range [][]string{
		{"'s", "'S", "'m", "'M", "'d", "'D"},
		{"'ll", "'LL", "'re", "'RE", "'ve", "'VE", "n't", "N'T"},
	} {
		for _, e := range endings {
			if stem, ok := strings.CutSuffix(words[0], e); ok && stem != "" && !strings.HasSuffix(stem, "'") {
				words = slices.Insert(words, 0, stem)
				words[1] = e
				break
			}
		}
	}
	return words
}

// contractions are two words in one, the first of so many letters.
var contractions = []struct {
	re    *regexp.Regexp
	first int
}{
	{keyword("cannot|gimme|gonna|gotta|lemme"), 3},
	{keyword("wanna$"), 3},
	{keyword("more'n"), 4},
	{keyword("d'ye"), 1},
}

// apart splits contractions.
func apart(word string) []string {
	for _, c := range contractions {
		for {
			from, to := findWhole(word, c.re)
			if from < 0 {
				break
			}
			half := from + c.first
			word = word[:from] + " " + word[from:half] + " " + word[half:to] + " " + word[to:]
		}
	}
	return strings.Fields(word)
}
