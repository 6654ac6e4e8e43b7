package reward

import "errors"

// InstructGold is the gold of the task "instruct": constraints on a line of words that
// can be verified, all others left free.
type InstructGold struct {
	Task  string   `json:"task"`
	Words int      `json:"words"`           // exactly so many
	Open  string   `json:"open,omitempty"`  // the first word
	End   string   `json:"end,omitempty"`   // the last word
	Use   []string `json:"use,omitempty"`   // words that must be there
	Avoid []string `json:"avoid,omitempty"` // words that must not
}

// InstructVerdict is the rule's judgement of one response.
type InstructVerdict struct {
	Met      int // of the constraints on the number of words, the first, the last and those to use
	Broken   int // words to avoid that are there
	Repeated int // words that were there before
	Reward   float64
}

// Max is the largest reward that a response can have.
func (g InstructGold) Max() float64 {
	return float64(1 + int(indicator(g.Open != "")) + int(indicator(g.End != "")) + len(g.Use))
}

// Judge counts words, of letters and digits, in any case. The reward is
//
//	#constraints met - #words to avoid that are there - 0.5 #words repeated
func (g InstructGold) Judge(response string) InstructVerdict {
	said := words(response)
	var v InstructVerdict
	met := func(holds bool) { v.Met += int(indicator(holds)) }
	seen := map[string]bool{}
	for _, word := range said {
		if seen[word] {
			v.Repeated++
		}
		seen[word] = true
	}
	met(len(said) == g.Words)
	if g.Open != "" {
		met(len(said) > 0 && said[0] == g.Open)
	}
	if g.End != "" {
		met(len(said) > 0 && said[len(said)-1] == g.End)
	}
	for _, word := range g.Use {
		met(seen[word])
	}
	for _, word := range g.Avoid {
		v.Broken += int(indicator(seen[word]))
	}
	v.Reward = float64(v.Met) - float64(v.Broken) - repetitionPenalty*float64(v.Repeated)
	return v
}

func (g InstructGold) check() error {
	if g.Words < 1 {
		return errors.New(`it asks for no number of words (give "words" such as 6)`)
	}
	return nil
}
