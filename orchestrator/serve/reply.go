package serve

import (
	"net/http"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// reply is a chat completion or a completion of a text, or a chunk of one.
type reply[Choice any] struct {
	ID          string   `json:"id"`
	Object      string   `json:"object"`
	Created     int64    `json:"created"`
	Model       string   `json:"model"`
	Fingerprint string   `json:"system_fingerprint"`
	Choices     []Choice `json:"choices"`
	Usage       *usage   `json:"usage,omitempty"`
	Ivo         *ivo     `json:"ivo,omitempty"`
}

func newReply[Choice any](s *Server, q *question, object string) reply[Choice] {
	return reply[Choice]{ID: q.id, Object: object, Created: q.created, Model: q.model, Fingerprint: "ivo-" + s.o.Version, Choices: []Choice{}}
}

// endStream ends a stream of chunks, with the usage in one more where that is asked for.
func endStream[Choice any](w http.ResponseWriter, e *stream, q *question, answers []answer, chunk reply[Choice]) error {
	usage := usageOf(q, answers)
	usage.note(w)
	if q.usage {
		chunk.Usage = usage
		if err := e.data(chunk); err != nil {
			return err
		}
	}
	return e.done()
}

// usage is what answers took.
type usage struct {
	Prompt     int           `json:"prompt_tokens"`
	Completion int           `json:"completion_tokens"`
	Total      int           `json:"total_tokens"`
	Decoded    int           `json:"decoded_tokens"` // those of pruned candidates included
	PromptOf   promptUsage   `json:"prompt_tokens_details"`
	Of         completionUse `json:"completion_tokens_details"`
}

type promptUsage struct {
	Cached int `json:"cached_tokens"`
}

type completionUse struct {
	Reasoning int `json:"reasoning_tokens"`
}

func usageOf(q *question, answers []answer) *usage {
	u := &usage{}
	for i, t := range q.tasks {
		u.Prompt += len(t.Tokens)
		cached := len(t.Tokens)
		for _, a := range answers[i*q.n : (i+1)*q.n] {
			cached = min(cached, a.Cached)
		}
		u.PromptOf.Cached += cached
	}
	for _, a := range answers {
		u.Completion += len(a.Tokens)
		u.Decoded += a.Decoded
		u.Of.Reasoning += a.reasoning
	}
	u.Total = u.Prompt + u.Completion
	return u
}

func (u *usage) note(w http.ResponseWriter) {
	note(w, "prompt_tokens", u.Prompt)
	note(w, "emitted", u.Completion)
	note(w, "decoded", u.Decoded)
}

// ivo is what a reply says of the search.
type ivo struct {
	Method  decode.Method   `json:"method"`
	Decoded int             `json:"decoded"`
	Seed    uint64          `json:"seed"`
	KL      *number.Float   `json:"kl,omitempty"` // of one answer; of several they are in Choices
	KLKind  decode.KLKind   `json:"kl_kind,omitempty"`
	Value   *number.Float32 `json:"value,omitempty"`
	Values  number.Float32s `json:"values,omitempty"` // after each token; null where it was not asked for
	Rewards int             `json:"reward_calls,omitempty"`
	Choices []*ivo          `json:"choices,omitempty"`
}

// ivoOf tells of answers.
func (s *Server) ivoOf(q *question, answers []answer) *ivo {
	p := &q.way.policy
	out := &ivo{Method: p.Strategy.Method, Seed: q.seed}
	if len(answers) != 1 {
		for _, a := range answers {
			one := s.ivoOf(q, []answer{a})
			out.Choices = append(out.Choices, one)
			out.Decoded += one.Decoded
			out.Rewards += one.Rewards
		}
		return out
	}
	a := answers[0]
	kl := number.Float(a.KL)
	out.Decoded, out.KL, out.KLKind, out.Rewards = a.Decoded, &kl, a.KLKind, a.RewardCalls
	if p.Value != nil || p.ValueBy != nil {
		value := number.Float32(a.Value)
		out.Value, out.Values = &value, a.Values
	}
	return out
}

// ivoChunk is what a chunk of a stream says of its tokens, where that is asked for.
type ivoChunk struct {
	Values number.Float32s `json:"values"` // after each of them; null where there is none
}

func (s *Server) ivoChunk(q *question, tokens []decode.Said) any {
	if !q.way.policy.EachValue || len(tokens) == 0 {
		return nil
	}
	c := &ivoChunk{Values: number.Float32s{}}
	for _, t := range tokens {
		if !s.o.Model.IsEOG(t.Token) {
			c.Values = append(c.Values, t.Value)
		}
	}
	return c
}
