package tune

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// part is some of the validation prompts, answered from one empty context.
type part struct {
	prompts   []prompt.Encoded
	name, key string // of the file of its answers
}

// parts are the files of a candidate's answers.
func (t *tuning) parts(c *candidate) (out []part) {
	training, c2 := "base", t.Context
	if c.of != nil {
		training = c.of.key
	}
	c2.Threads = 0 // they make no difference
	for prompts := range slices.Chunk(t.Validation, eval.ShardPrompts) {
		key := run.Key("answers", 1, t.backbone, training, c.Step, prompts, t.Samples, t.Sampling, t.MaxTokens, t.Stop, t.Seed, c2, t.Parallel)
		out = append(out, part{prompts, "answers/" + key + ".jsonl", key})
	}
	return out
}

// answered says whether the validation prompts are answered by a candidate, or cannot be.
func (t *tuning) answered(c *candidate) (bool, error) {
	if why, err := t.ruinedBy(c); why != "" || err != nil {
		return why != "", err
	}
	for _, p := range t.parts(c) {
		if done, err := t.d.Done(p.name, p.key); !done || err != nil {
			return false, err
		}
	}
	return true, nil
}

// compare lets a candidate answer the validation prompts, unless it has, and states what its answers are
// worth and how far they are from the base policy.
func (t *tuning) compare(ctx context.Context, c *candidate, name string) error {
	parts, begun := t.parts(c), time.Now()
	done, err := t.answered(c)
	if err == nil && !done {
		err = t.answer(ctx, c, parts, name)
		if c.of != nil && errors.Is(err, llama.ErrNotFinite) {
			err = t.ruined(c, llama.ErrNotFinite)
		}
	}
	if err == nil {
		c.Ruined, err = t.ruinedBy(c)
	}
	if err != nil {
		return err
	}
	if c.Ruined != "" {
		none := math.NaN()
		c.Reward, c.KL = eval.Interval{Mean: none, Lo: none, Hi: none}, eval.Interval{Mean: none, Lo: none, Hi: none}
		return nil
	}
	t.pace.answered(done, time.Since(begun))
	rewards, kls := make([]float64, len(t.Validation)), make([]float64, len(t.Validation))
	at := 0
	for _, p := range parts {
		scores, left, err := t.scorer.File(ctx, p.name)
		if err != nil {
			return err
		}
		if err := left.Err(len(scores)); err != nil {
			return err
		}
		_, answers, err := run.Lines[batch.Response](t.d.Path(p.name))
		if err != nil {
			return err
		}
		for i, a := range answers {
			rewards[at+i/t.Samples] += *scores[i].Reward / float64(t.Samples)
			kls[at+i/t.Samples] += float64(a.KL) / float64(t.Samples)
			c.tokens += a.Decoded
		}
		at += len(p.prompts)
	}
	c.Reward, c.KL = eval.Bootstrap(rewards, t.Seed), eval.Bootstrap(kls, t.Seed)
	return nil
}

// answer decodes a candidate's answers, part by part.
func (t *tuning) answer(ctx context.Context, c *candidate, parts []part, name string) (err error) {
	m := t.Model
	if c.of != nil {
		if m, err = t.Load(t.d.Path(c.policy())); err != nil {
			return err
		}
		defer m.Close()
	}
	pool, err := engine.NewPool(m, t.Context.Params(t.Parallel, nil), 0)
	if err != nil {
		return err
	}
	defer pool.Close()
	var mu sync.Mutex
	event := loop.Event{Stage: "answer by " + name, Total: len(t.Validation) * t.Samples, Unit: "answers"}
	count := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		event.Done += n
		t.Notify(event)
	}
	return pool.Each(ctx, len(parts), func(ctx context.Context, e *engine.Engine, i int) error {
		p := parts[i]
		if done, err := t.d.Done(p.name, p.key); done || err != nil {
			count(len(p.prompts) * t.Samples)
			return err
		}
		answers, err := t.decode(ctx, e, m, p.prompts, count)
		if err != nil {
			return err
		}
		return run.PutLines(t.d, p.name, p.key, nil, nil, answers)
	})
}

// decode answers prompts by a model, and measures how far each answer is from the base policy.
func (t *tuning) decode(ctx context.Context, e *engine.Engine, m *llama.Model, prompts []prompt.Encoded, count func(int)) ([]batch.Response, error) {
	draw := batch.Policy{
		Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: t.Sampling, MaxTokens: t.MaxTokens, Stop: t.Stop,
		Key:      func(id string, sample int) uint64 { return policy.Key(t.Seed, 0, "validation "+id, sample) },
		Finished: func() { count(1) },
	}
	responses, drawn := make([]decode.Response, len(prompts)*t.Samples), make([]batch.Drawn, len(prompts)*t.Samples)
	err := draw.Decode(ctx, e, t.tasks(prompts), func(task, sample int, r decode.Response) error {
		i := task*t.Samples + sample
		responses[i], drawn[i] = r, batch.Drawn{Prompt: prompts[task].Tokens, Response: &responses[i]}
		return nil
	})
	if err == nil && m != t.Model {
		err = batch.Diverge(ctx, batch.Distribution{Model: m, Sampling: t.Sampling}, batch.Distribution{Model: t.Model, Sampling: t.Sampling}, t.Context, drawn)
	}
	if err != nil {
		return nil, err
	}
	out := make([]batch.Response, len(responses))
	for i, r := range responses {
		out[i] = batch.Stored(prompts[i/t.Samples].ID, i%t.Samples, r, false)
	}
	return out, nil
}
