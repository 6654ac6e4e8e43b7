package serve

import (
	"math"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// tokenLogprob is a token in the chat API's shape.
type tokenLogprob struct {
	Token   string         `json:"token"` // with U+FFFD for what is a part of a character
	Logprob float64        `json:"logprob"`
	Bytes   []int          `json:"bytes"`
	Top     []tokenLogprob `json:"top_logprobs,omitzero"` // nil of an alternative
}

// leastLogprob stands for minus infinity, which JSON has no word for, as in OpenAI's replies.
const leastLogprob = -9999.0

// piece is a token's text, and its bytes.
func (s *Server) piece(token int32) (string, []int, error) {
	piece, err := s.o.Model.Piece(token, true)
	if err != nil {
		return "", nil, err
	}
	bytes := make([]int, len(piece))
	for i, b := range piece {
		bytes[i] = int(b)
	}
	return strings.ToValidUTF8(string(piece), "\uFFFD"), bytes, nil
}

func bytesOf(ints []int) []byte {
	out := make([]byte, len(ints))
	for i, n := range ints {
		out[i] = byte(n)
	}
	return out
}

// logprobs are those of tokens of an answer, but for one that only ends it.
func (s *Server) logprobs(q *question, tokens []decode.Said) ([]tokenLogprob, error) {
	if !q.logprobs {
		return nil, nil
	}
	out := []tokenLogprob{}
	for _, said := range tokens {
		if s.o.Model.IsEOG(said.Token) {
			continue
		}
		t, err := s.logprob(said.Token, said.LogProb)
		if err != nil {
			return nil, err
		}
		t.Top = []tokenLogprob{}
		for i, token := range said.Candidates {
			one, err := s.logprob(token, said.CandidateLogProbs[i])
			if err != nil {
				return nil, err
			}
			t.Top = append(t.Top, one)
		}
		out = append(out, t)
	}
	return out, nil
}

func (s *Server) logprob(token int32, logp float32) (t tokenLogprob, err error) {
	t.Token, t.Bytes, err = s.piece(token)
	t.Logprob = max(float64(logp), leastLogprob)
	if math.IsNaN(t.Logprob) {
		t.Logprob = leastLogprob
	}
	return t, err
}

// chatLogprobs is the object of a choice, nil where none were asked for.
type chatLogprobs struct {
	Content []tokenLogprob `json:"content"`
	Refusal []tokenLogprob `json:"refusal"`
}

func (s *Server) chatLogprobs(q *question, tokens []decode.Said) (*chatLogprobs, error) {
	all, err := s.logprobs(q, tokens)
	if all == nil || err != nil {
		return nil, err
	}
	return &chatLogprobs{Content: all}, nil
}
