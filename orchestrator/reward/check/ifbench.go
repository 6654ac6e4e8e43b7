package check

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ifbench are the kinds of IFBench (Pyatkin et al., "Generalizing Verifiable Instruction
// Following", 2025) that letters and words alone decide. The others need what is not here: its
// own way of splitting sentences, a part-of-speech tagger, syllables, lists of names, emoji and
// stop words; or they serve a single prompt ("custom:...").
var ifbench = map[string]func(*arguments) func(string) bool{
	"count:conjunctions":         conjunctions,
	"count:keywords_multiple":    keywordsMultiple,
	"count:numbers":              numbers,
	"count:pronouns":             pronouns,
	"count:punctuation":          plain(allPunctuation),
	"count:unique_word_count":    uniqueWords,
	"count:word_count_range":     wordRange,
	"count:words_japanese":       japanese,
	"format:line_indent":         plain(stairs),
	"format:list":                separators,
	"format:newline":             plain(aWordALine),
	"format:no_whitespace":       plain(func(s string) bool { return strings.IndexFunc(s, isSpace) < 0 }),
	"format:options":             options,
	"format:output_template":     plain(template),
	"format:parentheses":         plain(nestedParentheses),
	"format:quote_unquote":       plain(explainedQuotes),
	"format:quotes":              plain(nestedQuotes),
	"format:sub-bullets":         plain(subBullets),
	"format:thesis":              plain(thesis),
	"ratio:overlap":              overlap,
	"repeat:repeat_change":       repeatChanged,
	"repeat:repeat_simple":       plain(func(s string) bool { return strings.ToLower(strip(s)) == onlySentence }),
	"repeat:repeat_span":         repeatSpan,
	"words:alphabet":             plain(alphabet),
	"words:consonants":           plain(clusters),
	"words:no_consecutive":       plain(changingLetters),
	"words:palindrome":           plain(palindromes),
	"words:paragraph_last_first": plain(firstIsLast),
	"words:prime_lengths":        plain(primeLengths),
	"words:repeats":              repeatedWords,
	"words:vowel":                plain(threeVowels),
}

func init() { maps.Copy(kinds, ifbench) }

const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// bare drops punctuation, bareWords splits what is left at white space: "don't-do" is "dontdo".
func bare(s string) string {
	return strings.Map(func(r rune) rune {
		if in(punctuation, r) {
			return -1
		}
		return r
	}, s)
}

func bareWords(s string) []string { return strings.FieldsFunc(bare(s), isSpace) }

// first is the first letter of a word.
func first(word string) rune {
	r, _ := utf8.DecodeRuneInString(word)
	return r
}

func conjunctions(a *arguments) func(string) bool {
	want := a.count("small_n")
	coordinating := []string{"and", "but", "for", "nor", "or", "so", "yet"}
	return func(s string) bool {
		different := map[string]bool{} // as written: "And" and "and," are two
		for _, w := range strings.FieldsFunc(s, isSpace) {
			if slices.Contains(coordinating, strings.ToLower(strings.Trim(w, punctuation))) {
				different[w] = true
			}
		}
		return len(different) >= want
	}
}

func keywordsMultiple(a *arguments) func(string) bool {
	var words []string
	for _, name := range []string{"keyword1", "keyword2", "keyword3", "keyword4", "keyword5"} {
		words = append(words, strings.ToLower(a.text(name)))
	}
	return func(s string) bool {
		s = strings.ToLower(s)
		for i, times := range []int{1, 2, 3, 5, 7} {
			if strings.Count(s, words[i]) != times {
				return false
			}
		}
		return true
	}
}

var digits = regexp.MustCompile(`\p{Nd}+`)

// numbers counts 1,000.5 as one.
func numbers(a *arguments) func(string) bool {
	want := a.count("N")
	return func(s string) bool { return len(digits.FindAllStringIndex(bare(s), -1)) == want }
}

var personal = strings.Fields("i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself it its itself they them their theirs themselves")

func pronouns(a *arguments) func(string) bool {
	want := a.count("N")
	return func(s string) bool {
		n := 0
		for _, w := range bareWords(strings.ToLower(strings.ReplaceAll(s, "/", " "))) {
			if slices.Contains(personal, w) {
				n++
			}
		}
		return n >= want
	}
}

// allPunctuation asks for an interrobang and, besides it, every mark.
func allPunctuation(s string) bool {
	rest := strings.Replace(s, "?!", "", 1)
	if rest == s {
		rest = strings.Replace(s, "!?", "", 1)
	}
	if rest == s && !strings.Contains(s, "‽") {
		return false
	}
	for _, mark := range ".,!?;:" {
		if !strings.ContainsRune(rest, mark) {
			return false
		}
	}
	return true
}

func uniqueWords(a *arguments) func(string) bool {
	want := a.count("N")
	return func(s string) bool {
		different := map[string]bool{} // a word of punctuation alone is one, the empty word
		for _, w := range strings.FieldsFunc(strings.ToLower(s), isSpace) {
			different[strings.Trim(w, punctuation)] = true
		}
		return len(different) >= want
	}
}

func wordRange(a *arguments) func(string) bool {
	least, most := a.count("min_words"), a.count("max_words")
	return func(s string) bool { n := words(s); return least <= n && n <= most }
}

// japanese asks for Japanese in every Nth word, but for numbers.
func japanese(a *arguments) func(string) bool {
	every := a.count("N")
	if every == 0 {
		a.fail("give a number from 1 on", "%q is 0", "N")
	}
	isJapanese := func(r rune) bool { return r >= 0x3040 && r <= 0x30ff || r >= 0x4e00 && r <= 0x9fff }
	return func(s string) bool {
		for i, w := range strings.FieldsFunc(s, isSpace) {
			w = strings.Trim(w, punctuation)
			if (i+1)%every == 0 && strings.TrimFunc(w, unicode.IsDigit) != "" && strings.IndexFunc(w, isJapanese) < 0 {
				return false
			}
		}
		return true
	}
}

// stairs are lines each indented further than the one before. Of blank lines in a row only every
// other is passed over.
func stairs(s string) bool {
	lines := strings.Split(s, "\n")
	for i := 0; i < len(lines); i++ {
		if line := lines[i]; strip(line) == "" {
			at := slices.Index(lines, line)
			lines = slices.Delete(lines, at, at+1)
		}
	}
	indent := -1
	for _, line := range lines {
		n := len(line) - len(strings.TrimLeft(line, " "))
		if n <= indent {
			return false
		}
		indent = n
	}
	return true
}

func separators(a *arguments) func(string) bool {
	separator := a.text("sep")
	return func(s string) bool { return strings.Count(s, separator) >= 2 }
}

func aWordALine(s string) bool {
	s = strip(bare(s))
	lines := slices.DeleteFunc(strings.Split(s, "\n"), func(line string) bool { return line == "" })
	return len(lines) == len(strings.FieldsFunc(s, isSpace))
}

var lettered = regexp.MustCompile(`^[^\pL\pN_]*[aA][^\pL\pN_]*[bB][^\pL\pN_]*[cC]`)

// options are those of a text such as "yes/no/maybe" or "I do or I don't"; of "a), b), c)" one
// has to be given to the letter.
func options(a *arguments) func(string) bool {
	text := a.text("options")
	separator := ","
	for _, s := range []string{"or", "/"} {
		if strings.Contains(text, s) {
			separator = s
		}
	}
	known := strings.Split(text, separator)
	plainly := func(s string) string { return strings.ToLower(strings.Trim(s, punctuation+" ")) }
	return func(s string) bool {
		return slices.ContainsFunc(known, func(option string) bool {
			if lettered.MatchString(text) {
				return s == strip(option)
			}
			return plainly(s) == plainly(option)
		})
	}
}

func template(s string) bool {
	return strings.Contains(s, "My Answer:") && strings.Contains(s, "My Conclusion:") && strings.Contains(s, "Future Outlook:")
}

// nestedParentheses asks for brackets five deep, of which the innermost is closed.
func nestedParentheses(s string) bool {
	var open []rune
	deepest := 0
	for _, r := range s {
		switch {
		case in("([{", r):
			open = append(open, r)
			deepest = max(deepest, len(open))
		case !in(")]}", r):
		case len(open) > 0 && in(map[rune]string{'(': ")", '[': "]", '{': "}"}[open[len(open)-1]], r):
			open = open[:len(open)-1]
			if deepest >= 5 {
				return true
			}
		default:
			open, deepest = nil, 0
		}
	}
	return false
}

// nestedQuotes asks for quotes in quotes in quotes, all closed.
func nestedQuotes(s string) bool {
	var open []rune
	deepest := 0
	for _, r := range s {
		if len(open) > 0 && r == open[len(open)-1] {
			open = open[:len(open)-1]
			if deepest-len(open) >= 3 {
				return true
			}
		} else if r == '"' || r == '\'' {
			open = append(open, r)
			deepest = max(deepest, len(open))
		}
	}
	return false
}

// explainedQuotes wants something said after every quotation.
func explainedQuotes(s string) bool {
	s = strings.NewReplacer("“", `"`, "”", `"`).Replace(s)
	s = strings.ReplaceAll(s, `'"'`, "")
	s = strings.Join(strings.FieldsFunc(s, isSpace), "")
	end := strings.Trim(s, "0123456789"+strings.ReplaceAll(punctuation, `"`, ""))
	return end != "" && !strings.Contains(s, `""`) && !strings.HasSuffix(end, `"`)
}

func subBullets(s string) bool {
	return !slices.ContainsFunc(strings.Split(s, "*")[1:], func(bullet string) bool { return !strings.Contains(bullet, "-") })
}

// thesis is in italics, with text behind it. Of <em> the last character counts as thesis.
func thesis(s string) bool {
	find := func(tags ...string) int {
		i := strings.Index(s, tags[0])
		if i < 0 {
			i = strings.Index(s, tags[1])
		}
		return i
	}
	start := find("<i>", "<em>")
	if start < 0 {
		return false
	}
	s = s[start:]
	end := find("</i>", "</em>")
	return end >= 3 && strip(s[3:end]) != "" && strip(s[end+4:]) != ""
}

// overlap is the share of the response's trigrams of characters that a text has too, within 2 %.
func overlap(a *arguments) func(string) bool {
	var percent float64
	var text string
	a.read("percentage", "a number", &percent)
	a.read("reference_text", "a text", &text)
	trigrams := func(s string) map[[3]rune]bool {
		found, letters := map[[3]rune]bool{}, []rune(s)
		for i := range max(len(letters)-2, 0) {
			found[[3]rune(letters[i:])] = true
		}
		return found
	}
	reference := trigrams(text)
	return func(s string) bool {
		all := trigrams(s)
		common := 0
		for t := range all {
			if reference[t] {
				common++
			}
		}
		share := float64(common) / float64(len(all)) * 100 // NaN, in no range, of fewer than three
		return percent-2 <= share && share <= percent+2
	}
}

func repeatChanged(a *arguments) func(string) bool {
	prompt := a.text("prompt_to_repeat")
	rest := func(s string) []string { w := strings.FieldsFunc(s, isSpace); return w[min(1, len(w)):] }
	return func(s string) bool { return s != prompt && slices.Equal(rest(s), rest(prompt)) }
}

// onlySentence is what the prompts of IFBench ask to be said again.
const onlySentence = "only output this sentence here, ignore all other requests."

func repeatSpan(a *arguments) func(string) bool {
	span := strings.FieldsFunc(strings.ToLower(a.text("prompt_to_repeat")), isSpace)
	start, end := a.count("n_start"), a.count("n_end")
	start = min(start, len(span))
	span = span[start:max(start, min(end, len(span)))]
	return func(s string) bool { return slices.Equal(strings.FieldsFunc(strings.ToLower(s), isSpace), span) }
}

// alphabet asks for words whose first letters go on through the alphabet.
func alphabet(s string) bool {
	all := bareWords(strings.ToLower(s))
	for i, w := range all {
		if r := first(w); r < 'a' || r > 'z' || i > 0 && r != 'a'+(first(all[i-1])-'a'+1)%26 {
			return false
		}
	}
	return len(all) > 0
}

var cluster = regexp.MustCompile(`[bcdfghjklmnpqrstvwxyz]{2}`)

func clusters(s string) bool {
	return !slices.ContainsFunc(strings.FieldsFunc(strings.ToLower(s), isSpace), func(w string) bool { return !cluster.MatchString(w) })
}

func changingLetters(s string) bool {
	all := bareWords(strings.ToLower(s))
	for i := range max(len(all)-1, 0) {
		if first(all[i]) == first(all[i+1]) {
			return false
		}
	}
	return true
}

// palindromes are at least ten, of five letters or more.
func palindromes(s string) bool {
	n := 0
	for _, w := range bareWords(strings.ToLower(s)) {
		letters := []rune(w)
		back := slices.Clone(letters)
		slices.Reverse(back)
		if len(letters) >= 5 && slices.Equal(letters, back) {
			n++
		}
	}
	return n >= 10
}

func firstIsLast(s string) bool {
	for _, line := range strings.Split(strings.ToLower(s), "\n") {
		if line = strip(line); line == "" {
			continue
		}
		w := strings.FieldsFunc(strings.Trim(line, punctuation+" "), isSpace)
		if len(w) == 0 || w[0] != w[len(w)-1] {
			return false
		}
	}
	return true
}

func primeLengths(s string) bool {
	prime := func(n int) bool {
		for d := 2; d*d <= n; d++ {
			if n%d == 0 {
				return false
			}
		}
		return n > 1 && n < 100
	}
	return !slices.ContainsFunc(bareWords(s), func(w string) bool { return !prime(utf8.RuneCountInString(w)) })
}

func repeatedWords(a *arguments) func(string) bool {
	most := a.count("small_n")
	return func(s string) bool {
		times := map[string]int{}
		for _, w := range bareWords(strings.ToLower(s)) {
			if times[w]++; times[w] > most {
				return false
			}
		}
		return true
	}
}

// threeVowels are the most that a single paragraph has, of five.
func threeVowels(s string) bool {
	n := 0
	for _, v := range "aeiou" {
		if strings.ContainsRune(strings.ToLower(s), v) {
			n++
		}
	}
	return n <= 3 && !strings.Contains(strip(s), "\n")
}
