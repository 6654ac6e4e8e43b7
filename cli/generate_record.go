package cli

import (
	"encoding/json"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// record is a response as ivo generate --json prints it.
type record struct {
	ID     string `json:"id,omitempty"`     // of many prompts
	Sample *int   `json:"sample,omitempty"` // of several responses to one prompt
	Prompt string `json:"prompt,omitempty"`
	// Messages are the prompt where it is a conversation.
	Messages []llama.Message `json:"messages,omitempty"`
	Text     string          `json:"text"`

	Tokens   []int32   `json:"tokens"`
	Pieces   []string  `json:"pieces"`   // the tokens' texts
	LogProbs []float32 `json:"logprobs"` // of the tokens under the model at temperature 1
	// Under the base policy, and under the guided one where the method has token-level
	// probabilities.
	BaseLogProbs   []float32 `json:"base_logprobs"`
	GuidedLogProbs []float32 `json:"guided_logprobs,omitempty"`
	Values         []float32 `json:"values,omitempty"` // of the states after the tokens
	Value          *float32  `json:"value,omitempty"`  // of the last state

	KL     float64       `json:"kl"` // of the guided policy from the base policy, nats
	KLKind decode.KLKind `json:"kl_kind"`
	Finish decode.Finish `json:"finish"`
	Method decode.Method `json:"method"`
	Seed   uint64        `json:"seed"`

	PromptLen int      `json:"prompt_tokens"`
	Decoded   int      `json:"decoded"` // tokens decoded, those not taken included
	Emitted   int      `json:"emitted"` // tokens of the response
	Ratio     float64  `json:"decoded_per_emitted"`
	Timings   *timings `json:"timings,omitempty"` // of a single prompt
}

// timings are in milliseconds.
type timings struct {
	Load            float64 `json:"load_ms"`
	Generate        float64 `json:"generate_ms"`
	InLlama         float64 `json:"in_llama_ms"` // the part of generate spent in llama.cpp
	TokensPerSecond float64 `json:"tokens_per_second"`
}

// record tells of a response.
func (g *generation) record(m *llama.Model, t batch.Task, r decode.Response) (*record, error) {
	out := &record{
		Prompt: t.Text, Messages: t.Messages, Text: r.Text, Tokens: r.Tokens, LogProbs: r.LogProbs, BaseLogProbs: r.BaseLogProbs,
		GuidedLogProbs: r.GuidedLogProbs, KL: r.KL, KLKind: r.KLKind, Finish: r.Finish, Method: g.policy.Strategy.Method, Seed: g.seed,
		PromptLen: len(t.Tokens), Decoded: r.Decoded, Emitted: len(r.Tokens), Ratio: float64(r.Decoded) / float64(len(r.Tokens)),
	}
	if g.policy.Value != nil {
		out.Values, out.Value = r.Values, &r.Value
	}
	for _, token := range r.Tokens {
		piece, err := m.Piece(token, true)
		if err != nil {
			return nil, err
		}
		out.Pieces = append(out.Pieces, string(piece))
	}
	return out, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// printJSON prints a value as one line of JSON.
func printJSON(c *cli.Context, v any) error { return encodeJSON(harmless(c.App.Writer), v) }

func encodeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
