package prompt

import "strings"

// Fill is the tokens of a text in which names stand for others, as in "query: {query}": special tokens
// that the text spells are parsed, those that the others spell are not.
func (e *Encoder) Fill(text string, with map[string]string) ([]int32, error) {
	var b strings.Builder
	var literal []span
	for text != "" {
		at, name := len(text), ""
		for n := range with {
			if i := strings.Index(text, n); i >= 0 && i < at {
				at, name = i, n
			}
		}
		b.WriteString(text[:at])
		from := b.Len()
		b.WriteString(with[name])
		literal = append(literal, span{from, b.Len()})
		text = text[at+len(name):]
	}
	return e.tokenize(b.String(), literal)
}
