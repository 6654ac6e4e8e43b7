package check

import (
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/neurosnap/sentences"
	"github.com/neurosnap/sentences/data"
)

// punkt finds the ends of English sentences by the method of Kiss and Strunk, "Unsupervised
// Multilingual Sentence Boundary Detection" (2006), with what it learned from the Wall Street
// Journal. The numbers of sections below are theirs.
type punkt struct{ *sentences.Storage }

var english = sync.OnceValue(func() punkt {
	b, err := data.Asset("data/english.json")
	if err != nil {
		panic(err) // it is part of the program
	}
	s, err := sentences.LoadTraining(b)
	if err != nil {
		panic(err)
	}
	s.SentStarters.Remove("she") // NLTK has it no more
	return punkt{s}
})

// How a word was seen in training: by the case of its first letter, and where.
const (
	beginsUpper = 1 << 1 // at the start of a sentence
	midUpper    = 1 << 2
	upperSeen   = beginsUpper | midUpper | 1<<3
	beginsLower = 1 << 4
	lowerSeen   = beginsLower | 1<<5 | 1<<6
)

const (
	enders = ".?!"
	// closers come after the end of a sentence and belong to it.
	closers = `"')]}‘’“”«»`
	// splitters end a word.
	splitters = closers + `({[;*:@?!`
)

func in(set string, r rune) bool { return strings.ContainsRune(set, r) }

// split divides a text into its sentences.
func (p punkt) split(s string) (sentences []string) {
	text := []rune(strings.TrimRightFunc(s, isSpace))
	start := 0
	for _, end := range p.ends(text) {
		next := end
		for next < len(text) && isSpace(text[next]) {
			next++
		}
		closed := closing(text[next:])
		if closed > 0 {
			end = next + closed
		}
		if end > start {
			sentences = append(sentences, string(text[start:end]))
		}
		start = next + closed
	}
	if start < len(text) {
		sentences = append(sentences, string(text[start:]))
	}
	return sentences
}

// closing is the length of the closing characters that text begins with, and the space behind
// them: those that belong to the sentence before.
func closing(text []rune) int {
	i := 0
	for i < len(text) && in(closers, text[i]) {
		i++
		rest := text[i:]
		if len(rest) == 0 || isSpace(rest[0]) {
			for i < len(text) && isSpace(text[i]) {
				i++
			}
			return i
		}
		if len(rest) > 1 && rest[0] == '-' && rest[1] == '-' {
			return i
		}
	}
	return 0
}

// ends are the positions behind the characters that end a sentence.
func (p punkt) ends(text []rune) []int {
	var ends []int
	wordStart, last := 0, -1 // of the latest candidate: its word is text[wordStart:last]
	decide := func() {
		if last < 0 {
			return
		}
		stop := last + 1
		for stop < len(text) && isSpace(text[stop]) {
			stop++
		}
		if stop == last+1 {
			stop++ // the splitter alone
		} else {
			for stop < len(text) && !isSpace(text[stop]) {
				stop++
			}
		}
		if p.breaks(text[wordStart:stop]) {
			ends = append(ends, last+1)
		}
	}
	for i, r := range text {
		if !in(enders, r) || i+1 == len(text) || !isSpace(text[i+1]) && !in(splitters, text[i+1]) {
			continue
		}
		// Of several in one word, only the last can be an end.
		start := i
		for start > max(last, 0) && !asciiSpace(text[start-1]) {
			start--
		}
		if start == last && last > wordStart {
			start = wordStart
		} else {
			decide()
		}
		wordStart, last = start, i
	}
	decide()
	return ends
}

func asciiSpace(r rune) bool { return r < 0x80 && unicode.IsSpace(r) }

// A token is a word of a candidate's context and what is known of it.
type token struct {
	text      string
	kind      string // in lower case, numbers all alike
	ends      bool   // a sentence ends here
	shortened bool   // it is an abbreviation or an ellipsis
}

// breaks reports whether a sentence ends in the context, before its last token.
func (p punkt) breaks(context []rune) bool {
	var tokens []token
	for _, line := range strings.Split(string(context), "\n") {
		for _, t := range tokenize([]rune(line)) {
			tokens = append(tokens, p.byType(t))
		}
	}
	for i := range tokens[:max(len(tokens)-1, 0)] {
		p.byContext(&tokens[i], tokens[i+1])
		if tokens[i].ends {
			return true
		}
	}
	return false
}

// tokenize splits a line into words, runs of dashes and dots, and single characters. A word
// keeps its period.
func tokenize(line []rune) (tokens []string) {
	for i := 0; i < len(line); {
		n := 1
		switch {
		case isSpace(line[i]):
			i++
			continue
		case run(line[i:]) > 0:
			n = run(line[i:])
		case !in("(\"`{[:;&#*@)}]-,", line[i]):
			for !wordEnds(line[i+n:]) {
				n++
			}
		}
		tokens = append(tokens, string(line[i:i+n]))
		i += n
	}
	return tokens
}

func wordEnds(rest []rune) bool {
	if len(rest) > 0 && rest[0] == ',' {
		rest = rest[1:]
	}
	return len(rest) == 0 || isSpace(rest[0]) || in(splitters, rest[0]) || run(rest) > 0
}

// run is the length of the dashes, dots, or dots with spaces between them that line begins with.
func run(line []rune) int {
	for _, r := range ".-" {
		n := 0
		for n < len(line) && line[n] == r {
			n++
		}
		if n > 1 {
			return n
		}
	}
	n := 0
	for n+1 < len(line) && line[n] == '.' && isSpace(line[n+1]) {
		n += 2
	}
	if n < len(line) && line[n] == '.' {
		n++
	} else {
		n--
	}
	if n > 3 {
		return n
	}
	return 0
}

const number = "##number##"

func kindOf(text string) string {
	s := strings.TrimPrefix(text, "-")
	if s != "" && in(".,", rune(s[0])) {
		s = s[1:]
	}
	rest := strings.TrimLeftFunc(s, unicode.IsDigit)
	if rest != s && strings.TrimFunc(rest, func(r rune) bool { return unicode.IsDigit(r) || in(",.-", r) }) == "" {
		return number
	}
	return strings.ToLower(text)
}

// byType is the first decision, by the token alone (section 3).
func (p punkt) byType(text string) token {
	t := token{text: text, kind: kindOf(text)}
	stem, dotted := strings.CutSuffix(strings.ToLower(text), ".")
	switch {
	case len(text) == 1 && in(enders, rune(text[0])):
		t.ends = true
	case len(text) > 1 && strings.Trim(text, ".") == "":
		t.shortened = true
	case dotted && !strings.HasSuffix(stem, "."):
		t.shortened = p.IsAbbr(stem, stem[strings.LastIndex(stem, "-")+1:])
		t.ends = !t.shortened
	}
	return t
}

// unperiod is a kind without its period.
func unperiod(kind string) string {
	if len(kind) > 1 {
		return strings.TrimSuffix(kind, ".")
	}
	return kind
}

// byContext is the second decision (section 4), about a token with a period, by the next one.
func (p punkt) byContext(t *token, next token) {
	if !strings.HasSuffix(t.text, ".") {
		return
	}
	kind, nextKind := unperiod(t.kind), next.kind
	if next.ends {
		nextKind = unperiod(nextKind)
	}
	if p.Collocations.Has(kind + "," + nextKind) { // 4.1.2
		t.ends, t.shortened = false, true
		return
	}
	first := []rune(next.text)[0]
	letters := []rune(t.text)
	initial := len(letters) == 2 && isWord(letters[0]) && !unicode.IsDigit(letters[0])
	starts, known := p.starts(next.text, first, nextKind)
	if t.shortened && !initial && (known && starts || isUpper(first) && p.SentStarters.Has(nextKind)) { // 4.1.1, 4.1.3
		t.ends = true
		return
	}
	if !initial && kind != number { // 4.3
		return
	}
	if known && !starts || !known && initial && isUpper(first) && p.OrthoContext[nextKind]&lowerSeen == 0 {
		t.ends, t.shortened = false, true
	}
}

// starts is the orthographic heuristic (4.1.1): whether a word is the first of its sentence,
// where its case tells.
func (p punkt) starts(word string, first rune, kind string) (starts, known bool) {
	seen := p.OrthoContext[kind]
	switch {
	case slices.Contains([]string{";", ":", ",", ".", "!", "?"}, word):
		return false, true
	case isUpper(first) && seen&lowerSeen != 0 && seen&midUpper == 0:
		return true, true
	case isLower(first) && (seen&upperSeen != 0 || seen&beginsLower == 0):
		return false, true
	}
	return false, false
}
