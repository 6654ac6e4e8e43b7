package batch

import (
	"context"
	"errors"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// Divergence is how far the policy of one model is from that of another one of the same vocabulary, such as
// the model that it was trained from, along responses that it has drawn. It belongs to one goroutine.
type Divergence struct{ policy, base reading }

// reading is a model that reads a text, and its policy.
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

// NewDivergence compares models that decode with a context's settings but for its size, which is of the
// longest prompt and its response.
func NewDivergence(of, from *llama.Model, sampling, base policy.Sampling, c Context, longest int) (*Divergence, error) {
	d := &Divergence{}
	for _, side := range []struct {
		to       *reading
		model    *llama.Model
		sampling policy.Sampling
	}{{&d.policy, of, sampling}, {&d.base, from, base}} {
		if c.Threads == 0 {
			c.Threads = engine.Threads(side.model)
		}
		ctx, err := side.model.NewContext(llama.ContextParams{
			Ctx: longest, Batch: min(longest, readAtOnce), UBatch: c.UBatch, Threads: c.Threads, Flash: c.Flash, CacheK: c.CacheK, CacheV: c.CacheV,
			Top: min(engine.DefaultTop, side.model.Info().Vocab),
		})
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		*side.to = reading{ctx, policy.Sampler{Sampling: side.sampling}}
	}
	return d, nil
}

// Close frees both contexts.
func (d *Divergence) Close() error {
	var errs []error
	for _, r := range []*reading{&d.policy, &d.base} {
		if r.c != nil {
			errs = append(errs, r.c.Close())
		}
	}
	return errors.Join(errs...)
}

// Of is what a response to a prompt, drawn from the policy, says of the divergence, in nats: the sum of
// KL(policy || base) over its states, whose mean over responses is KL between the policies of whole
// responses, and log policy(response) / base(response), whose mean is the same with more variance.
func (d *Divergence) Of(ctx context.Context, prompt, response []int32) (kl, ratio float64, err error) {
	text := append(prompt[:len(prompt):len(prompt)], response...)
	for _, r := range []*reading{&d.policy, &d.base} {
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
		for _, r := range []*reading{&d.policy, &d.base} {
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
			for _, r := range []*reading{&d.policy, &d.base} {
				row, err := r.c.Row(i - max(at, first))
				if err != nil {
					return 0, 0, err
				}
				r.sampler.At(&row, text[:i+1])
			}
			kl += d.policy.sampler.KLTo(&d.base.sampler)
			ratio += d.policy.sampler.LogP(text[i+1]) - d.base.sampler.LogP(text[i+1])
		}
	}
	return kl, ratio, nil
}
