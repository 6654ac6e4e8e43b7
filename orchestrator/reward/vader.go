package reward

import (
	"math"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/jonreiter/govader"
)

// vader scores texts as version 3.3.2 of the Python package vaderSentiment does, which is what
// people mean by VADER, its slips included. The words come from govader, whose own scoring is
// not used: it splits texts at single spaces only, so that line breaks glue words together, and
// agrees on fewer of a language model's responses (docs/log.md has the figures).
type vader struct {
	lexicon   map[string]float64 // valence of words and emoticons in lower case, -4 to 4
	emoji     map[string]string  // what a character is called
	boosters  map[string]float64 // added to a good word that follows, such as .293 for "very"
	idioms    map[string]float64 // valence of phrases of two and three words
	negations map[string]bool
}

// The constants of the paper, by the names of its code.
const (
	capitalBoost   = 0.733 // C_INCR: a word in capitals where not all are
	negationFactor = -0.74 // N_SCALAR
	neverFactor    = 1.25  // "never so good"
	scale          = 15    // alpha of the normalization
)

var loadVader = sync.OnceValue(func() *vader {
	lib := govader.NewSentimentIntensityAnalyzer()
	v := &vader{lib.Lexicon, lib.EmojiDict, lib.Constants.BoosterDict, lib.Constants.SpecialCaseIdioms, map[string]bool{}}
	for _, w := range lib.Constants.NegateList {
		v.negations[w] = true
	}
	// Four entries that came to the Python package later.
	v.lexicon["heart"], v.lexicon["hearts"] = 3.2, 3.3
	v.idioms["bus stop"], v.idioms["beating heart"] = 0, 3.5
	return v
})

// polarity is what a text says: the shares of good and bad, and both in one number.
type polarity struct{ pos, neg, compound float64 }

// vaderWord is a word without punctuation at its ends, or an emoticon.
type vaderWord struct {
	lower    string
	capitals bool
}

func (v *vader) polarity(text string) polarity {
	text = v.spellEmoji(text)
	ws, capitals := vaderWords(text), 0
	for _, w := range ws {
		if w.capitals {
			capitals++
		}
	}
	if len(ws) == 0 {
		return polarity{}
	}
	valences := make([]float64, len(ws))
	for i := range ws {
		valences[i] = v.valence(ws, i, capitals > 0 && capitals < len(ws))
	}
	shiftAtBut(ws, valences)

	sum, pos, neg, neutral := 0.0, 0.0, 0.0, 0.0
	for _, s := range valences {
		sum += s
		switch { // a neutral word counts 1, so a charged one 1 more than its valence
		case s > 0:
			pos += s + 1
		case s < 0:
			neg += 1 - s
		default:
			neutral++
		}
	}
	emphasis := emphasis(text)
	if sum > 0 {
		sum += emphasis
	} else if sum < 0 {
		sum -= emphasis
	}
	if pos > neg {
		pos += emphasis
	} else if pos < neg {
		neg += emphasis
	}
	total := pos + neg + neutral
	return polarity{pos: pos / total, neg: neg / total, compound: sum / math.Sqrt(sum*sum+scale)}
}

// spellEmoji puts their names in the place of characters that have one.
func (v *vader) spellEmoji(text string) string {
	var b strings.Builder
	space := true
	for _, r := range text {
		name, ok := v.emoji[string(r)]
		if !ok {
			b.WriteRune(r)
			space = r == ' '
			continue
		}
		if !space {
			b.WriteByte(' ')
		}
		b.WriteString(name)
		space = false // and so the text after an emoji goes on in its last word
	}
	return b.String()
}

// vaderWords splits a text at white space.
func vaderWords(text string) []vaderWord {
	const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	fields := strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f // as Python's split
	})
	ws := make([]vaderWord, len(fields))
	for i, f := range fields {
		if bare := strings.Trim(f, punctuation); utf8.RuneCountInString(bare) > 2 {
			f = bare // else it may be an emoticon
		}
		ws[i] = vaderWord{lower: strings.ToLower(f), capitals: inCapitals(f)}
	}
	return ws
}

// inCapitals reports whether a word has capital letters and no others.
func inCapitals(word string) bool {
	upper := false
	for _, r := range word {
		if unicode.In(r, unicode.Ll, unicode.Lt, unicode.Other_Lowercase) {
			return false
		}
		upper = upper || unicode.In(r, unicode.Lu, unicode.Other_Uppercase)
	}
	return upper
}

// valence is that of word i beside its neighbours; capitals stand out where not all words are
// in them.
func (v *vader) valence(ws []vaderWord, i int, standOut bool) float64 {
	// at is the word n places further; before and after the text are empty words.
	at := func(n int) string {
		if i+n < 0 || i+n >= len(ws) {
			return ""
		}
		return ws[i+n].lower
	}
	word := at(0)
	s, charged := v.lexicon[word]
	if _, booster := v.boosters[word]; booster || !charged || word == "kind" && at(1) == "of" {
		return 0
	}
	// "no" is a word of its own, or negates those after it.
	if _, next := v.lexicon[at(1)]; word == "no" && next {
		s = 0
	}
	if at(-1) == "no" || at(-2) == "no" || at(-3) == "no" && (at(-1) == "or" || at(-1) == "nor") {
		s = v.lexicon[word] * negationFactor
	}
	if ws[i].capitals && standOut {
		s += away(s, capitalBoost)
	}
	for n := 1; n <= 3 && n <= i; n++ {
		if _, charged := v.lexicon[at(-n)]; charged {
			continue
		}
		if boost, ok := v.boosters[at(-n)]; ok {
			if s < 0 {
				boost = -boost
			}
			if ws[i-n].capitals && standOut {
				boost += away(s, capitalBoost)
			}
			s += boost * [...]float64{1, 0.95, 0.9}[n-1]
		}
		s *= v.negation(n, at)
		if n == 3 {
			s = v.idiom(s, at)
		}
	}
	if at(-1) == "least" && at(-2) != "at" && at(-2) != "very" {
		s *= negationFactor
	}
	return s
}

// away is x with the sign of s, and with a minus where s is 0.
func away(s, x float64) float64 {
	if s > 0 {
		return x
	}
	return -x
}

// negation is the factor that the word n places before puts on a valence.
func (v *vader) negation(n int, at func(int) string) float64 {
	is := func(word string, these ...string) bool { return slices.Contains(these, word) }
	word := at(-n)
	switch {
	// In the Python code "and" binds closer than "or", so that three words from the beginning
	// a "so" or "this" before the word does without the "never".
	case n == 2 && word == "never" && is(at(-1), "so", "this"),
		n == 3 && (word == "never" && is(at(-2), "so", "this") || is(at(-1), "so", "this")):
		return neverFactor
	case n == 2 && word == "without" && at(-1) == "doubt",
		n == 3 && word == "without" && (at(-2) == "doubt" || at(-1) == "doubt"):
		return 1
	case v.negations[word] || strings.Contains(word, "n't"):
		return negationFactor
	}
	return 1
}

// idiom is the valence of a phrase around the word if there is one, else s, more or less by
// boosters of two words before it ("sort of").
func (v *vader) idiom(s float64, at func(int) string) float64 {
	phrase := func(from, to int) string {
		p := at(from)
		for n := from + 1; n <= to; n++ {
			p += " " + at(n)
		}
		return p
	}
	for _, span := range [][2]int{{-1, 0}, {-2, 0}, {-2, -1}, {-3, -1}, {-3, -2}} {
		if value, ok := v.idioms[phrase(span[0], span[1])]; ok {
			s = value
			break
		}
	}
	for to := 1; to <= 2; to++ {
		if value, ok := v.idioms[phrase(0, to)]; ok {
			s = value
		}
	}
	for _, span := range [][2]int{{-3, -1}, {-3, -2}, {-2, -1}} {
		s += v.boosters[phrase(span[0], span[1])]
	}
	return s
}

// shiftAtBut halves what stands before the first "but" and gives half more to what stands
// after. The Python code finds each value's place by looking for the first that is equal, so
// of equal values the first is changed again in the place of the others.
func shiftAtBut(ws []vaderWord, valences []float64) {
	but := slices.IndexFunc(ws, func(w vaderWord) bool { return w.lower == "but" })
	if but < 0 {
		return
	}
	for i := range valences {
		first := slices.Index(valences, valences[i])
		if first < but {
			valences[first] *= 0.5
		} else if first > but {
			valences[first] *= 1.5
		}
	}
}

// emphasis is what exclamation and question marks add.
func emphasis(text string) float64 {
	e := 0.292 * float64(min(strings.Count(text, "!"), 4))
	switch q := strings.Count(text, "?"); {
	case q > 3:
		e += 0.96
	case q > 1:
		e += 0.18 * float64(q)
	}
	return e
}
