package report

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// Tokens are a response's tokens with their values, each of which must be known.
func Tokens(m *llama.Model, r *decode.Response) ([]Token, error) {
	var pieces [][]byte
	for _, token := range r.Tokens {
		piece, err := m.Piece(token, true)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, piece)
	}
	var out []Token
	for i, text := range characters(pieces) {
		token := Token{ID: r.Tokens[i], Text: text, Value: r.Values[i], LogProb: r.LogProbs[i]}
		if i > 0 {
			change := r.Values[i] - r.Values[i-1]
			token.Change = &change
		}
		out = append(out, token)
	}
	return out, nil
}

// characters are the texts of tokens, of which each character is in one: that of the
// token which completes it.
func characters(pieces [][]byte) []string {
	var out []string
	var open []byte // begins a character
	for i, piece := range pieces {
		open = append(open, piece...)
		whole := len(open)
		for at := max(0, whole-utf8.UTFMax+1); at < len(open) && i < len(pieces)-1; at++ {
			if utf8.RuneStart(open[at]) && !utf8.FullRune(open[at:]) {
				whole = at
				break
			}
		}
		out = append(out, strings.ToValidUTF8(string(open[:whole]), "\uFFFD"))
		open = slices.Clone(open[whole:])
	}
	return out
}
