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

// Literal is the tokens of a text with what the tokenizer puts around one; nothing that it spells is parsed.
func (e *Encoder) Literal(text string) ([]int32, error) { return e.model.Tokenize(text, true, false) }

// Pair is two texts with what the tokenizer puts around one: in front, between them and behind; between
// them twice where the model was trained so.
func (e *Encoder) Pair(a, b string, twice bool) ([]int32, error) {
	first, err := e.Literal(a)
	if err != nil {
		return nil, err
	}
	second, err := e.model.Tokenize(b, false, false)
	if err != nil {
		return nil, err
	}
	end := e.added[1]
	if twice {
		first = append(first, end...)
	}
	return append(append(first, second...), end...), nil
}
