package check

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// kinds maps the id of a kind of instruction to what makes its check of its arguments. Whether
// a response meets it is what the authors' program finds: where that is not what one would
// expect, a comment says so.
var kinds = map[string]func(*arguments) func(string) bool{
	"keywords:existence":                            existence,
	"keywords:frequency":                            frequency,
	"keywords:forbidden_words":                      forbidden,
	"keywords:letter_frequency":                     letters,
	"language:response_language":                    language,
	"length_constraints:number_sentences":           numberOfSentences,
	"length_constraints:number_paragraphs":          paragraphs,
	"length_constraints:number_words":               numberOfWords,
	"length_constraints:nth_paragraph_first_word":   firstWord,
	"detectable_content:number_placeholders":        atLeast("num_placeholders", `\[.*?\]`),
	"detectable_content:postscript":                 postscript,
	"detectable_format:number_bullet_lists":         bullets,
	"detectable_format:constrained_response":        plain(constrained),
	"detectable_format:number_highlighted_sections": highlights,
	"detectable_format:multiple_sections":           sections,
	"detectable_format:json_format":                 plain(isJSON),
	"detectable_format:title":                       plain(hasTitle),
	"combination:two_responses":                     plain(twoResponses),
	"combination:repeat_prompt":                     repeats,
	"startend:end_checker":                          endsWith,
	"startend:quotation":                            plain(quoted),
	"change_case:capital_word_frequency":            capitalWords,
	"change_case:english_capital":                   plain(func(s string) bool { return allUpper(s) && speaks("en", s) }),
	"change_case:english_lowercase":                 plain(func(s string) bool { return allLower(s) && speaks("en", s) }),
	"punctuation:no_comma":                          plain(func(s string) bool { return !strings.Contains(s, ",") }),
}

// plain makes the check of a kind without arguments.
func plain(met func(string) bool) func(*arguments) func(string) bool {
	return func(*arguments) func(string) bool { return met }
}

// atLeast makes the check of a kind that counts matches.
func atLeast(argument, expr string) func(*arguments) func(string) bool {
	re := regexp.MustCompile(expr)
	return func(a *arguments) func(string) bool {
		n := a.count(argument)
		return func(s string) bool { return len(re.FindAllStringIndex(s, n)) >= n }
	}
}

// keyword is a word to look for in any case. The authors take it for a regular expression;
// what is none, such as "c++", stands for itself.
func keyword(word string) *regexp.Regexp {
	re, err := regexp.Compile("(?i)" + word)
	if err != nil {
		re = regexp.MustCompile("(?i)" + regexp.QuoteMeta(word))
	}
	return re
}

func existence(a *arguments) func(string) bool {
	var words []*regexp.Regexp
	for _, w := range a.texts("keywords") {
		words = append(words, keyword(w))
	}
	return func(s string) bool {
		return !slices.ContainsFunc(words, func(w *regexp.Regexp) bool { return !w.MatchString(s) })
	}
}

// frequency counts a word inside of others, too.
func frequency(a *arguments) func(string) bool {
	word, within := keyword(a.text("keyword")), a.bound("frequency", "relation")
	return func(s string) bool { return within(len(word.FindAllStringIndex(s, -1))) }
}

// forbidden looks for whole words only.
func forbidden(a *arguments) func(string) bool {
	var words []*regexp.Regexp
	for _, w := range a.texts("forbidden_words") {
		words = append(words, keyword(w))
	}
	return func(s string) bool {
		return !slices.ContainsFunc(words, func(w *regexp.Regexp) bool { from, _ := findWhole(s, w); return from >= 0 })
	}
}

// findWhole finds a word that begins and ends at borders between what belongs to words and what
// does not, as at \b, which in Go knows ASCII alone; -1 where there is none.
func findWhole(s string, word *regexp.Regexp) (from, to int) {
	border := func(i int) bool {
		before, _ := utf8.DecodeLastRuneInString(s[:i])
		after, _ := utf8.DecodeRuneInString(s[i:])
		return isWord(before) != isWord(after)
	}
	for at := 0; at <= len(s); {
		m := word.FindStringIndex(s[at:])
		if m == nil {
			break
		}
		from, to = at+m[0], at+m[1]
		if border(from) && border(to) {
			return from, to
		}
		_, size := utf8.DecodeRuneInString(s[from:])
		at = from + max(size, 1)
	}
	return -1, -1
}

func letters(a *arguments) func(string) bool {
	letter, within := strings.ToLower(a.text("letter")), a.bound("let_frequency", "let_relation")
	if utf8.RuneCountInString(letter) > 1 {
		a.fail("give one letter", "%q is %q", "letter", letter)
	}
	return func(s string) bool { return within(strings.Count(strings.ToLower(s), letter)) }
}

func language(a *arguments) func(string) bool {
	code := a.text("language")
	if _, ok := languages[code]; !ok && a.err == nil {
		a.fail("give one of "+strings.Join(Languages(), ", "), "%q is %q", "language", code)
	}
	return func(s string) bool { return speaks(code, s) }
}

func numberOfSentences(a *arguments) func(string) bool {
	within := a.bound("num_sentences", "relation")
	return func(s string) bool { return within(len(english().split(s))) }
}

func numberOfWords(a *arguments) func(string) bool {
	within := a.bound("num_words", "relation")
	return func(s string) bool { return within(words(s)) }
}

func capitalWords(a *arguments) func(string) bool {
	within := a.bound("capital_frequency", "capital_relation")
	return func(s string) bool { return within(capitals(s)) }
}

var divider = regexp.MustCompile(space + `?\*\*\*` + space + `?`)

// paragraphs are what *** divides; nothing may stand between two dividers only at the ends.
func paragraphs(a *arguments) func(string) bool {
	want := a.count("num_paragraphs")
	return func(s string) bool { return parts(divider.Split(s, -1)) == want }
}

// parts is the number of parts of a text that are not empty, -1 where one in the middle is.
func parts(texts []string) int {
	n := 0
	for i, t := range texts {
		if strip(t) != "" {
			n++
		} else if i > 0 && i < len(texts)-1 {
			return -1
		}
	}
	return n
}

func firstWord(a *arguments) func(string) bool {
	want, nth, word := a.count("num_paragraphs"), a.count("nth_paragraph"), strings.ToLower(a.text("first_word"))
	if nth < 1 || nth > want {
		a.fail(fmt.Sprintf("give one of the %d paragraphs", want), "%q is %d", "nth_paragraph", nth)
	}
	return func(s string) bool {
		texts, n := strings.Split(s, "\n\n"), 0
		for _, t := range texts {
			if strip(t) != "" {
				n++
			}
		}
		// An empty paragraph does not count towards their number, but the nth is counted with it.
		if n != want || strip(texts[nth-1]) == "" {
			return false
		}
		first := strings.FieldsFunc(texts[nth-1], isSpace)[0]
		first = strings.TrimLeft(strings.TrimLeft(first, "'"), `"`)
		if i := strings.IndexAny(first, `.,?!'"`); i >= 0 {
			first = first[:i]
		}
		return strings.ToLower(first) == word
	}
}

var postscripts = map[string]*regexp.Regexp{
	"P.S.":  regexp.MustCompile(`p\.` + space + `?s\.`),
	"P.P.S": regexp.MustCompile(`p\.` + space + `?p\.` + space + `?s`),
}

// postscript may stand anywhere.
func postscript(a *arguments) func(string) bool {
	marker := a.text("postscript_marker")
	re := postscripts[marker]
	if re == nil {
		re = keyword(strings.ToLower(marker))
	}
	return func(s string) bool { return re.MatchString(strings.ToLower(s)) }
}

var (
	starBullet = regexp.MustCompile(`(?m)^` + space + `*\*[^*].*$`)
	dashBullet = regexp.MustCompile(`(?m)^` + space + `*-.*$`)
)

func bullets(a *arguments) func(string) bool {
	want := a.count("num_bullets")
	return func(s string) bool {
		return len(starBullet.FindAllStringIndex(s, -1))+len(dashBullet.FindAllStringIndex(s, -1)) == want
	}
}

func constrained(s string) bool {
	return slices.ContainsFunc([]string{"My answer is yes.", "My answer is no.", "My answer is maybe."}, func(answer string) bool {
		return strings.Contains(s, answer)
	})
}

var (
	highlight = regexp.MustCompile(`\*[^\n*]*\*`)
	strong    = regexp.MustCompile(`\*\*[^\n*]*\*\*`)
)

// highlights are parts between asterisks, and those between two, which count twice where the
// space between them leaves room for both.
func highlights(a *arguments) func(string) bool {
	want := a.count("num_highlights")
	return func(s string) bool {
		n := 0
		for _, re := range []*regexp.Regexp{highlight, strong} {
			for _, h := range re.FindAllString(s, -1) {
				if strip(strings.Trim(h, "*")) != "" {
					n++
				}
			}
		}
		return n >= want
	}
}

func sections(a *arguments) func(string) bool {
	splitter, want := a.text("section_spliter"), a.count("num_sections") // sic
	re, err := regexp.Compile(splitter + space + `?\p{Nd}`)
	if err != nil {
		re = regexp.MustCompile(regexp.QuoteMeta(splitter) + space + `?\p{Nd}`)
	}
	return func(s string) bool { return len(re.FindAllStringIndex(s, want)) >= want }
}

// isJSON allows a Markdown code block around it.
func isJSON(s string) bool {
	s = strip(s)
	for _, fence := range []string{"```json", "```Json", "```JSON", "```"} {
		s = strings.TrimPrefix(s, fence)
	}
	return json.Valid([]byte(strip(strings.TrimSuffix(s, "```"))))
}

var title = regexp.MustCompile(`<<[^\n]+>>`)

func hasTitle(s string) bool {
	return slices.ContainsFunc(title.FindAllString(s, -1), func(t string) bool {
		return strip(strings.TrimRight(strings.TrimLeft(t, "<"), ">")) != ""
	})
}

func twoResponses(s string) bool {
	texts := strings.Split(s, "******")
	if parts(texts) != 2 {
		return false
	}
	texts = slices.DeleteFunc(texts, func(t string) bool { return strip(t) == "" })
	return strip(texts[0]) != strip(texts[1])
}

func repeats(a *arguments) func(string) bool {
	prompt := strings.ToLower(a.text("prompt_to_repeat"))
	return func(s string) bool { return strings.HasPrefix(strings.ToLower(strip(s)), prompt) }
}

func endsWith(a *arguments) func(string) bool {
	phrase := strings.ToLower(a.text("end_phrase"))
	return func(s string) bool {
		return strings.HasSuffix(strings.ToLower(strings.Trim(strip(s), `"`)), phrase)
	}
}

func quoted(s string) bool {
	s = strip(s)
	return len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"'
}
