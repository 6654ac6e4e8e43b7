package valuehead

import (
	"fmt"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// checkPrompt reports what makes a prompt's states unfit to look at.
func checkPrompt(p *states.Prompt, s states.Schema) error {
	w := s.PromptWidth()
	if len(p.Tokens) == 0 || len(p.Hidden) != len(p.Tokens)*w {
		return fmt.Errorf("valuehead: prompt %q: %d hidden floats for %d tokens of %d (make every token of the prompt an output row, with the layers the head was trained on)", p.ID, len(p.Hidden), len(p.Tokens), w)
	}
	for i, v := range p.Hidden {
		if !finite(v) {
			return fmt.Errorf("valuehead: prompt %q: token %d has the state %v (collect it again: the model gave numbers that are not finite)", p.ID, i/w, v)
		}
	}
	return nil
}

// matchLevels is the number of lengths of a match that attention tells apart: 0 to
// matchLevels-1 tokens, the last meaning that many or more.
const matchLevels = 5

// matcher follows where a response repeats its prompt: at[j] is the number of tokens that
// the response so far, read backwards from its end, has in common with the prompt read
// backwards from token j, at most matchLevels-1. A word of several tokens is found by
// the length of its match, whatever the tokeniser.
type matcher struct {
	prompt []int32
	at     []uint8 // [P]
}

func newMatcher(prompt []int32) matcher {
	return matcher{prompt, make([]uint8, len(prompt))}
}

// push takes the next token of the response.
func (m *matcher) push(token int32) { m.after(token, m.at) }

// after writes to next what at would be after token. next may be m.at itself.
func (m *matcher) after(token int32, next []uint8) {
	for j := len(m.prompt) - 1; j >= 0; j-- {
		n := uint8(0)
		if m.prompt[j] == token {
			n = 1
			if j > 0 {
				n = min(m.at[j-1]+1, matchLevels-1)
			}
		}
		next[j] = n
	}
}
