package batch

import (
	"context"
	"sync/atomic"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// CheckGuidance finds what the policy lacks to be guided, before there is a model.
func (p *Policy) CheckGuidance() error {
	source := p.Value
	if p.ValueBy != nil {
		if m := p.Strategy.Method; !p.ValueBy.Info().Prefixes && m != decode.MethodGreedy && m != decode.MethodBestOfN && m != decode.MethodSample {
			return fault.New("", "value_reward", nil, "set {method} to greedy, which is ARGS and takes any reward, or choose a reward whose scores mean something of unfinished responses as {value_reward}, such as sentiment",
				"%s scores finished responses, and %s asks about others", p.ValueBy.Info().Name, m)
		}
		source = value.Prefix(nil)
	}
	return p.strategy().CheckGuidance(p.Sampling, source, p.Rerank != nil)
}

// strategy is the policy's. A reward reads texts, which are there before their tokens are fed: so the methods
// that guide single tokens decode none for nothing.
func (p *Policy) strategy() decode.Strategy {
	s := p.Strategy
	if p.ValueBy != nil {
		s.Guide.Ahead = true
	}
	return s
}

// valueBy makes the reward of ValueBy, if there is one, the value function of a request to the engine; calls is the number
// of texts that it was asked about.
func (p *Policy) valueBy(e *engine.Engine, req *decode.Request, r prompt.Record) (calls func() int) {
	var asked atomic.Int64
	if p.ValueBy != nil {
		prefix := value.Prefix
		if reward.Keeps(p.ValueBy) {
			prefix = value.PrefixInTurn
		}
		req.Value = prefix(scorer("value_reward", r, p.score(func(ctx context.Context, items []reward.Item) ([]reward.Score, error) {
			asked.Add(int64(len(items)))
			return reward.Follow(ctx, p.ValueBy, e, items)
		})))
	}
	return func() int { return int(asked.Load()) }
}

// forget frees what the reward of ValueBy has kept for an engine.
func (p *Policy) forget(e *engine.Engine) error {
	if p.ValueBy == nil {
		return nil
	}
	return reward.Forget(p.ValueBy, e)
}

// scorer is a reward, the one that a setting names, as a function of responses to a prompt.
func scorer(setting fault.Field, r prompt.Record, score func(context.Context, []reward.Item) ([]reward.Score, error)) func(context.Context, []string) ([]float64, error) {
	return func(ctx context.Context, texts []string) ([]float64, error) {
		items := make([]reward.Item, len(texts))
		for i, text := range texts {
			items[i] = reward.Item{Prompt: r, Response: text}
		}
		scores, err := score(ctx, items)
		if err != nil {
			return nil, err
		}
		values, err := reward.Values(items, scores)
		if err != nil {
			return nil, &fault.Error{Op: "search by the reward", Field: setting, Err: err, Hint: "mend the reward, or choose another one as {" + string(setting) + "}"}
		}
		return values, nil
	}
}

// checkRewards finds prompts that the policy's rewards will not be able to score responses to.
func (p *Policy) checkRewards(ctx context.Context, tasks []Task) error {
	for _, m := range []reward.Model{p.Rerank, p.ValueBy} {
		if m != nil {
			if err := reward.Check(ctx, m, RecordsOf(tasks)); err != nil {
				return err
			}
		}
	}
	return nil
}
