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

// match is a token of the prompt at which the response ends too: length is the number of
// tokens that the two have in common, read backwards from there, at most matchLevels-1.
// A word of several tokens is found by the length of its match, whatever the tokeniser.
type match struct {
	at     int32
	length uint8
}

// appendMatches appends to dst, in order, the matches of a response with its prompt after
// its next token, now being those before it.
func appendMatches(dst []match, prompt []int32, now []match, token int32) []match {
	for j, t := range prompt {
		if t != token {
			continue
		}
		at := int32(j)
		for len(now) > 0 && now[0].at < at-1 {
			now = now[1:]
		}
		m := match{at, 1}
		if len(now) > 0 && now[0].at == at-1 {
			m.length = min(now[0].length+1, matchLevels-1)
		}
		dst = append(dst, m)
	}
	return dst
}
