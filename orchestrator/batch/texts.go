package batch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Texts reads given texts with a model, and says how likely it finds them.
type Texts struct {
	Model   *llama.Model
	Encoder *prompt.Encoder
	Context Context // but for its cells
	Size    int     // most tokens of a text with its prompt
	Top     int     // likeliest tokens that are told of every state
}

// ScoredText is what a model makes of a text of T tokens.
type ScoredText struct {
	ID       string           `json:"id,omitempty"`
	Tokens   []int32          `json:"tokens"`   // [T]
	Pieces   []string         `json:"pieces"`   // their texts, with U+FFFD for what is part of a character
	LogProbs number.Float32s  `json:"logprobs"` // [T] at temperature 1, in nats; null of a first one that nothing stands before
	Top      [][]TokenLogProb `json:"top_logprobs,omitempty"`
	Sum      number.Float     `json:"sum"`        // of the log-probabilities
	Scored   int              `json:"scored"`     // tokens that have one
	Perplex  number.Float     `json:"perplexity"` // exp(-sum/scored)
	Prompt   int              `json:"prompt_tokens"`
}

// Score writes a line of JSON for each record: of its response (field "response", or "text" beside a prompt) after
// its prompt, or of the whole text where it has no response. told, if set, is called with every line.
func (x *Texts) Score(ctx context.Context, records []prompt.Record, w io.Writer, told func(done int)) error {
	if n := x.Model.Info().Vocab; x.Top < 0 || x.Top > n {
		return fault.New("", "n_probs", n, "give {n_probs} a number up to it", "the %d likeliest tokens of a vocabulary of %d", x.Top, n)
	}
	before, tokens := make([][]int32, len(records)), make([][]int32, len(records))
	longest := 0
	for i, r := range records {
		var err error
		if before[i], tokens[i], err = x.encode(r); err == nil && len(tokens[i]) == 0 {
			err = fault.New("", "response", nil, "give texts of a token or more", "there is nothing to score")
		}
		n := len(before[i]) + len(tokens[i])
		if longest = max(longest, n); err == nil && n > x.Size {
			err = fault.New("", "ctx", x.Size, "raise {ctx} if the model was trained with more, or shorten it", "the text has %d tokens with its prompt, the context holds %d", n, x.Size)
		}
		if err != nil {
			return fmt.Errorf("text %s: %w", r.ID, err)
		}
	}
	threads := x.Context.Threads
	if threads == 0 {
		threads = engine.Threads(x.Model)
	}
	c, err := x.Model.NewContext(llama.ContextParams{
		Ctx: longest, Batch: min(longest, readAtOnce), UBatch: x.Context.UBatch, Threads: threads, Flash: x.Context.Flash, CacheK: x.Context.CacheK, CacheV: x.Context.CacheV, Top: x.Top,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	for i, r := range records {
		s := ScoredText{ID: r.ID, Tokens: tokens[i], Prompt: len(before[i])}
		if err := x.read(ctx, c, before[i], &s); err != nil {
			return fmt.Errorf("text %s: %w", r.ID, err)
		}
		if err := encodeJSON(w, &s); err != nil {
			return err
		}
		if told != nil {
			told(i + 1)
		}
	}
	return nil
}

// encode is the tokens that are read before those that are scored, and these.
func (x *Texts) encode(r prompt.Record) (before, tokens []int32, err error) {
	if before, err = x.Encoder.Encode(r); err != nil {
		return nil, nil, err
	}
	for _, name := range []string{"response", "text"} {
		raw, ok := r.Fields[name]
		var text string
		if !ok || name == "text" && (json.Unmarshal(raw, &text) != nil || text == r.Text) { // of a record that is a text alone
			continue
		}
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, nil, fmt.Errorf("the field %q: %w (give a text)", name, err)
		}
		tokens, err = x.Encoder.Continuation(r, text)
		return before, tokens, err
	}
	if r.Messages != nil {
		return nil, nil, fault.New("", "response", nil, `give it a field "response"`, "a conversation without a response to score")
	}
	if bos := x.Model.BOS(); len(before) > 0 && before[0] == bos {
		return before[:1], before[1:], nil
	}
	return nil, before, nil
}

// read finds the log-probabilities of a text after what stands before it.
func (x *Texts) read(ctx context.Context, c *llama.Context, before []int32, s *ScoredText) error {
	all := append(before[:len(before):len(before)], s.Tokens...)
	if err := c.Clear(); err != nil {
		return err
	}
	r := decode.Response{Tokens: s.Tokens}
	first := max(0, len(before)-1) // whose row says how likely the next token is
	if len(before) == 0 {
		s.LogProbs = append(s.LogProbs, float32(math.NaN()))
		r.Candidates, r.CandidateLogProbs = make([]int32, x.Top), make([]float32, x.Top)
	}
	for at := 0; at < len(all)-1; at += readAtOnce {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		end := min(at+readAtOnce, len(all)-1)
		for i := at; i < end; i++ {
			if _, err := c.Add(all[i], int32(i), 0, i >= first, 0); err != nil {
				return err
			}
		}
		if err := c.Decode(); err != nil {
			return err
		}
		for i := max(at, first); i < end; i++ {
			row, err := c.Row(i - max(at, first))
			if err != nil {
				return err
			}
			logp := row.Logits[all[i+1]] - row.LSE
			s.LogProbs, s.Sum, s.Scored = append(s.LogProbs, logp), s.Sum+number.Float(logp), s.Scored+1
			for k := range x.Top {
				r.Candidates, r.CandidateLogProbs = append(r.Candidates, row.Top[k]), append(r.CandidateLogProbs, row.TopLogits[k]-row.LSE)
			}
		}
	}
	s.Perplex = number.Float(math.Exp(-float64(s.Sum) / float64(s.Scored)))
	for _, token := range s.Tokens {
		piece, err := x.Model.Piece(token, true)
		if err != nil {
			return err
		}
		s.Pieces = append(s.Pieces, string(piece))
	}
	var err error
	if s.Top, err = Likeliest(x.Model, r); err == nil && len(s.Top) > 0 && len(before) == 0 {
		s.Top[0] = []TokenLogProb{}
	}
	return err
}
