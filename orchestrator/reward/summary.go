package reward

import (
	"errors"
	"slices"
	"strings"
	"unicode"
)

// SummaryGold is the gold of the task "summarize": what a post says about its
// writer, and what it says besides. Each entry is a fact's wording, a sequence of
// content words with alternatives: "bought|got red bike" is covered by "got a red
// bike" and by "bought red bike".
type SummaryGold struct {
	Task        string   `json:"task"`
	Facts       []string `json:"facts"`       // to be covered
	Distractors []string `json:"distractors"` // true of somebody else or of another time: invented when claimed
}

// Weights of the rule.
const (
	coveredReward     = 1.0  // a fact covered for the first time
	inventedPenalty   = 1.0  // a clause that says anything else
	repetitionPenalty = 0.5  // a clause that was said before
	wordPenalty       = 0.02 // every word of the response, opening included
)

// A ClauseVerdict says what one clause of a summary is.
type ClauseVerdict byte

const (
	Covers   ClauseVerdict = iota // states a fact
	Distract                      // states a distractor
	Invents                       // states anything else
	Repeats                       // states what an earlier clause stated
)

// SummaryVerdict is the rule's judgement of one response.
type SummaryVerdict struct {
	Clauses []ClauseVerdict
	Words   int
	Reward  float64
}

// Max is the largest reward that a response of so many words can have.
func (g SummaryGold) Max(words int) float64 {
	return coveredReward*float64(len(g.Facts)) - wordPenalty*float64(words)
}

// Judge splits the response into clauses and scores them:
//
//	response = [ opening ":" ] clause { separator clause }
//	opening   = at most four words
//	separator = any other punctuation, a line break, or one of the words
//	            "and", "also", "but", "plus", "then"
//
// Letter case and the words "a", "an", "i", "my", "the" do not count. A clause
// states a fact when it is one of the fact's wordings, no more and no less. The
// reward is
//
//	#covered - #invented or distracting - 0.5 #repeated - 0.02 #words
func (g SummaryGold) Judge(response string) SummaryVerdict {
	clauses, words := splitClauses(response)
	return g.judge(clauses, words)
}

// judge scores the clauses of a response of so many words.
func (g SummaryGold) judge(clauses [][]string, words int) SummaryVerdict {
	v := SummaryVerdict{Words: words, Reward: -wordPenalty * float64(words)}
	stated := map[string]bool{}
	for _, clause := range clauses {
		verdict, key := g.verdict(clause)
		if stated[key] {
			verdict = Repeats
		}
		stated[key] = true
		v.Clauses = append(v.Clauses, verdict)
		switch verdict {
		case Covers:
			v.Reward += coveredReward
		case Repeats:
			v.Reward -= repetitionPenalty
		default:
			v.Reward -= inventedPenalty
		}
	}
	return v
}

func (g SummaryGold) check() error {
	if len(g.Facts) == 0 {
		return errors.New(`it lists no facts (give "facts" such as ["bought|got red bike"])`)
	}
	return nil
}

// verdict classifies a clause by itself; two clauses that state the same thing have
// the same key.
func (g SummaryGold) verdict(clause []string) (v ClauseVerdict, key string) {
	states := func(wording string) bool { return matches(wording, clause) }
	if i := slices.IndexFunc(g.Facts, states); i >= 0 {
		return Covers, g.Facts[i]
	}
	if i := slices.IndexFunc(g.Distractors, states); i >= 0 {
		return Distract, g.Distractors[i]
	}
	return Invents, strings.Join(clause, " ")
}

// matches reports whether the clause is the wording, word for word.
func matches(wording string, clause []string) bool {
	return slices.EqualFunc(strings.Fields(wording), clause, func(alternatives, word string) bool {
		return slices.Contains(strings.Split(alternatives, "|"), word)
	})
}

const maxOpeningWords = 4

var (
	separators = map[string]bool{"and": true, "also": true, "but": true, "plus": true, "then": true}
	silent     = map[string]bool{"a": true, "an": true, "i": true, "my": true, "the": true}
)

// splitClauses returns the content words of each clause and the number of words in
// the whole response.
func splitClauses(response string) (clauses [][]string, words int) {
	isWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '\'' }
	runs := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return !isWord(r) })
	}
	response = strings.ToLower(response)
	words = len(runs(response))
	if opening, rest, ok := strings.Cut(response, ":"); ok && len(runs(opening)) <= maxOpeningWords {
		response = rest
	}
	ends := func(r rune) bool { return !isWord(r) && r != ' ' && r != '\t' }
	for _, part := range strings.FieldsFunc(response, ends) {
		var clause []string
		flush := func() {
			if len(clause) > 0 {
				clauses = append(clauses, clause)
				clause = nil
			}
		}
		for _, word := range strings.Fields(part) {
			switch {
			case separators[word]:
				flush()
			case !silent[word]:
				clause = append(clause, word)
			}
		}
		flush()
	}
	return clauses, words
}
