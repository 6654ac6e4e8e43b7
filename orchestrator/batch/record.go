package batch

import (
	"encoding/json"
	"io"
	"time"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// Record is a response with all that is known of it, for programs to read.
type Record struct {
	ID     string `json:"id,omitempty"`     // of many prompts
	Sample *int   `json:"sample,omitempty"` // of several responses to one prompt
	Prompt string `json:"prompt,omitempty"`
	// Messages are the prompt where it is a conversation.
	Messages []llama.Message `json:"messages,omitempty"`
	Text     string          `json:"text"`               // the answer
	Thinking string          `json:"thinking,omitempty"` // what the model thought before it

	Tokens   []int32         `json:"tokens"`
	Pieces   []string        `json:"pieces"`   // the tokens' texts, with U+FFFD for what is part of a character
	Bytes    [][]int         `json:"bytes"`    // the tokens' texts whole
	LogProbs number.Float32s `json:"logprobs"` // of the tokens under the model at temperature 1
	// Under the base policy, and under the guided one where the method has token-level
	// probabilities.
	BaseLogProbs   number.Float32s `json:"base_logprobs"`
	GuidedLogProbs number.Float32s `json:"guided_logprobs,omitempty"`
	// TopLogProbs are the likeliest tokens at each state before a token, under the model at temperature 1.
	TopLogProbs [][]TokenLogProb `json:"top_logprobs,omitempty"`
	Values      number.Float32s  `json:"values,omitempty"` // of the states after the tokens
	Value       *number.Float32  `json:"value,omitempty"`  // of the last state

	KL     number.Float  `json:"kl"` // of the guided policy from the base policy, nats
	KLKind decode.KLKind `json:"kl_kind"`
	Finish decode.Finish `json:"finish"`
	Stop   string        `json:"stop,omitempty"` // the stop text that ended it
	Method decode.Method `json:"method"`
	Seed   uint64        `json:"seed"`

	PromptLen   int          `json:"prompt_tokens"`
	Decoded     int          `json:"decoded"`                // tokens decoded, those not taken included
	Emitted     int          `json:"emitted"`                // tokens of the response
	RewardCalls int          `json:"reward_calls,omitempty"` // texts that the reward scored in the search
	Ratio       number.Float `json:"decoded_per_emitted"`
	Timings     *Timings     `json:"timings,omitempty"` // of a single prompt
}

// TokenLogProb is a token with its log-probability.
type TokenLogProb struct {
	ID      int32          `json:"id"`
	Piece   string         `json:"token"` // its text, with U+FFFD for what is part of a character
	Bytes   []int          `json:"bytes"` // its text whole
	LogProb number.Float32 `json:"logprob"`
}

// Likeliest are the tokens that a response tells of each state.
func Likeliest(m *llama.Model, r decode.Response) ([][]TokenLogProb, error) {
	if len(r.Candidates) == 0 {
		return nil, nil
	}
	k := len(r.Candidates) / len(r.Tokens)
	out := make([][]TokenLogProb, len(r.Tokens))
	for i, token := range r.Candidates {
		piece, err := m.Piece(token, true)
		if err != nil {
			return nil, err
		}
		out[i/k] = append(out[i/k], TokenLogProb{token, string(piece), bytesOf(piece), number.Float32(r.CandidateLogProbs[i])})
	}
	return out, nil
}

// bytesOf are bytes as JSON has them as numbers.
func bytesOf(piece []byte) []int {
	out := make([]int, len(piece))
	for i, b := range piece {
		out[i] = int(b)
	}
	return out
}

// Timings are in milliseconds.
type Timings struct {
	Load            number.Float `json:"load_ms"`
	Generate        number.Float `json:"generate_ms"`
	InLlama         number.Float `json:"in_llama_ms"` // the part of generate spent in llama.cpp
	TokensPerSecond number.Float `json:"tokens_per_second"`
}

// RecordOf tells of a response to a task by a policy.
func RecordOf(m *llama.Model, p *Policy, t Task, r decode.Response) (*Record, error) {
	out := &Record{
		Prompt: t.Text, Messages: t.Messages, Text: r.Text, Thinking: r.Thinking, Tokens: r.Tokens, LogProbs: r.LogProbs, BaseLogProbs: r.BaseLogProbs,
		GuidedLogProbs: r.GuidedLogProbs, KL: number.Float(r.KL), KLKind: r.KLKind, Finish: r.Finish, Stop: r.Stop, Method: p.Strategy.Method,
		PromptLen: len(t.Tokens), Decoded: r.Decoded, Emitted: len(r.Tokens), RewardCalls: r.RewardCalls, Ratio: number.Float(float64(r.Decoded) / float64(len(r.Tokens))),
	}
	if p.Value != nil || p.ValueBy != nil {
		out.Values, out.Value = r.Values, (*number.Float32)(&r.Value)
	}
	for _, token := range r.Tokens {
		piece, err := m.Piece(token, true)
		if err != nil {
			return nil, err
		}
		out.Pieces, out.Bytes = append(out.Pieces, string(piece)), append(out.Bytes, bytesOf(piece))
	}
	if p.TopLogProbs == 0 {
		return out, nil
	}
	var err error
	out.TopLogProbs, err = Likeliest(m, r)
	return out, err
}

// Time notes how long loading the model and answering took.
func (r *Record) Time(load time.Duration, stats Stats) {
	r.Timings = &Timings{
		Load: milliseconds(load), Generate: milliseconds(stats.Total), InLlama: milliseconds(stats.InC),
		TokensPerSecond: number.Float(float64(r.Emitted) / stats.Total.Seconds()),
	}
}

func milliseconds(d time.Duration) number.Float { return number.Float(d.Microseconds()) / 1000 }

// encodeJSON writes a value as one line of JSON.
func encodeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
