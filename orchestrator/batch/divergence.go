package batch

import (
	"context"
	"errors"
	"fmt"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// Distribution is a model with what shapes its distribution over the next token.
type Distribution struct {
	Model    *llama.Model
	Sampling policy.Sampling
}

// Drawn is a response with the tokens of its prompt.
type Drawn struct {
	Prompt   []int32
	Response *decode.Response
}

// Diverge measures how far responses that were drawn from one model are from another one of the same vocabulary,
// such as the one that it was trained from. In nats, it sets KL to the sum of KL(of || from) over a response's
// states, whose mean over responses is the KL between the policies of whole responses, and Ratio to log
// of(response) / from(response), which has the same mean. Both models read every response again, with a
// context's settings but for its size.
func Diverge(ctx context.Context, of, from Distribution, c Context, drawn []Drawn) error {
	longest := 0
	for _, x := range drawn {
		longest = max(longest, len(x.Prompt)+len(x.Response.Tokens))
	}
	if longest == 0 {
		return nil
	}
	d := &divergence{}
	defer d.close()
	for _, side := range []struct {
		to *reading
		Distribution
	}{{&d.of, of}, {&d.from, from}} {
		threads := c.Threads
		if threads == 0 {
			threads = engine.Threads(side.Model)
		}
		context, err := side.Model.NewContext(llama.ContextParams{
			Ctx: longest, Batch: min(longest, readAtOnce), UBatch: c.UBatch, Threads: threads, Flash: c.Flash, CacheK: c.CacheK, CacheV: c.CacheV,
			Top: min(engine.DefaultTop, side.Model.Info().Vocab),
		})
		if err != nil {
			return err
		}
		*side.to = reading{context, policy.Sampler{Sampling: side.Sampling}}
	}
	for _, x := range drawn {
		r := x.Response
		kl, ratio, err := d.measure(ctx, x.Prompt, r.Tokens)
		if err != nil {
			return fmt.Errorf("compare %s with %s: %w", of.Model.Path(), from.Model.Path(), err)
		}
		r.KL, r.KLKind, r.Ratio = kl, decode.KLExact, ratio
	}
	return nil
}

// divergence are two models that read the same text.
type divergence struct{ of, from reading }

type reading struct {
	c       *llama.Context
	sampler policy.Sampler
}

// SameTokens says, as an error, why the probabilities of two models cannot be compared token by token.
func SameTokens(a, b *llama.Model) error {
	if a.Info().Vocab != b.Info().Vocab {
		return fault.New("", "model", nil, "take models of one family", "%s has %d tokens, %s %d", a.Path(), a.Info().Vocab, b.Path(), b.Info().Vocab)
	}
	for token := range int32(a.Info().Vocab) {
		x, err := a.Piece(token, true)
		if err != nil {
			return err
		}
		if y, err := b.Piece(token, true); err != nil || string(x) != string(y) {
			return fault.New("", "model", nil, "take models of one family", "token %d is %q to %s and %q to %s", token, x, a.Path(), y, b.Path())
		}
	}
	return nil
}

// readAtOnce bounds the memory that logits take.
const readAtOnce = 256 // tokens

// close frees both contexts.
func (d *divergence) close() error {
	var errs []error
	for _, r := range []*reading{&d.of, &d.from} {
		if r.c != nil {
			errs = append(errs, r.c.Close())
		}
	}
	return errors.Join(errs...)
}

// measure reads a response to a prompt.
func (d *divergence) measure(ctx context.Context, prompt, response []int32) (kl, ratio float64, err error) {
	text := append(prompt[:len(prompt):len(prompt)], response...)
	for _, r := range []*reading{&d.of, &d.from} {
		if err := r.c.Clear(); err != nil {
			return 0, 0, err
		}
	}
	first := len(prompt) - 1 // whose row is the state before the response's first token
	for at := 0; at < len(text)-1; at += readAtOnce {
		if ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		}
		end := min(at+readAtOnce, len(text)-1)
		for _, r := range []*reading{&d.of, &d.from} {
			for i := at; i < end; i++ {
				if _, err := r.c.Add(text[i], int32(i), 0, i >= first, float32(r.sampler.Temp)); err != nil {
					return 0, 0, err
				}
			}
			if err := r.c.Decode(); err != nil {
				return 0, 0, err
			}
		}
		for i := max(at, first); i < end; i++ {
			for _, r := range []*reading{&d.of, &d.from} {
				row, err := r.c.Row(i - max(at, first))
				if err != nil {
					return 0, 0, err
				}
				r.sampler.At(&row, text[:i+1])
			}
			kl += d.of.sampler.KLTo(&d.from.sampler)
			ratio += d.of.sampler.LogP(text[i+1]) - d.from.sampler.LogP(text[i+1])
		}
	}
	return kl, ratio, nil
}
