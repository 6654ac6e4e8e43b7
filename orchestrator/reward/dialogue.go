package reward

import (
	"errors"
	"slices"
	"strings"
)

// DialogueGold is the gold of the task "dialogue": somebody names things for a list, takes some back and
// changes others, and at last asks what is on it. Entries are wordings as in [SummaryGold].
type DialogueGold struct {
	Task string   `json:"task"`
	List []string `json:"list"` // what is on the list in the end
	Off  []string `json:"off"`  // what was said besides: taken back, changed, somebody else's
}

// Manners that a response can have, once each: they are clauses without words that do not count.
var (
	kindClauses  = []string{"what else", "hope you are well"}
	plainClauses = []string{"that is all", "thanks"}
	rudeClauses  = []string{"feel tired now", "what strange list"}
)

const mannersReward = 0.5 // of a kind clause; a rude one costs as much

// DialogueVerdict is the rule's judgement of one response. A thing on the list is what
// a fact is in a summary.
type DialogueVerdict struct {
	SummaryVerdict
	Kind, Rude int
}

// Judge splits the response into clauses as [SummaryGold.Judge] does. The reward is
//
//	#listed rightly - #anything else - 0.5 #repeated + 0.5 [kind] - 0.5 #rude - 0.02 #words
//
// where manners are phrases of their own, kind ones counted once.
func (g DialogueGold) Judge(response string) DialogueVerdict {
	clauses, words := splitClauses(response)
	var v DialogueVerdict
	clauses = slices.DeleteFunc(clauses, func(clause []string) bool {
		text := strings.Join(clause, " ")
		switch {
		case slices.Contains(kindClauses, text):
			v.Kind++
		case slices.Contains(rudeClauses, text):
			v.Rude++
		default:
			return slices.Contains(plainClauses, text)
		}
		return true
	})
	v.SummaryVerdict = SummaryGold{Facts: g.List, Distractors: g.Off}.judge(clauses, words)
	v.Reward += mannersReward * float64(min(v.Kind, 1)-v.Rude)
	return v
}

func (g DialogueGold) check() error {
	if len(g.List) == 0 {
		return errors.New(`nothing is on its list (give "list" such as ["red bike"])`)
	}
	return nil
}
