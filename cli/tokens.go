package cli

import (
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

// valuedTokens are a response's tokens with their values, each of which must be known.
func valuedTokens(m *llama.Model, r *decode.Response) ([]report.Token, error) {
	var pieces [][]byte
	for _, token := range r.Tokens {
		piece, err := m.Piece(token, true)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, piece)
	}
	var out []report.Token
	for i, text := range characters(pieces) {
		token := report.Token{ID: r.Tokens[i], Text: text, Value: r.Values[i], LogProb: r.LogProbs[i]}
		if i > 0 {
			change := r.Values[i] - r.Values[i-1]
			token.Change = &change
		}
		out = append(out, token)
	}
	return out, nil
}
