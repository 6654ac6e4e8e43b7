package eval

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// Method is one way to answer prompts.
type Method struct {
	Name      string
	Strategy  decode.Strategy
	Value     func(prompt.Record) decode.Source // nil for none
	Sampling  decode.Sampling
	Reference float64 // see [decode.Request]
	MaxTokens int
	Stop      []string
}

// Answer is one scored response to a test prompt.
type Answer struct {
	Prompt   string  `json:"prompt_id"`
	Response string  `json:"response"`
	Reward   float64 `json:"reward"`
	Emitted  int     `json:"emitted"` // tokens of the response
	Decoded  int     `json:"decoded"` // tokens decoded for it
	KL       float64 `json:"kl"`      // of the policy from the base policy, nats
	// KLKind says whether KL is exact or a bound.
	KLKind decode.KLKind `json:"kl_kind"`
}

// Result is how a method did.
type Result struct {
	Method  string   `json:"method"`
	N       int      `json:"n"` // prompts
	Reward  Interval `json:"reward"`
	WinRate float64  `json:"win_rate"` // against the base policy, ties one half
	// DecodedPerEmitted is the number of tokens decoded for each token of the answers.
	DecodedPerEmitted float64 `json:"decoded_per_emitted"`
	// KL is the mean over the responses, exact or a bound.
	KL      Interval      `json:"kl"`
	KLKind  decode.KLKind `json:"kl_kind"`
	Answers []Answer      `json:"-"`
}

// shardPrompts is the number of prompts decoded from one empty context.
const shardPrompts = 25

// Run answers the prompts by a method, on all engines of the pool, and scores the
// answers. progress, if set, is called with the number of prompts done.
func Run(ctx context.Context, pool *engine.Pool, m Method, prompts []prompt.Record, rm reward.Model, seed uint64, progress func(done int)) ([]Answer, error) {
	answers := make([]Answer, len(prompts))
	shards := slices.Collect(slices.Chunk(prompts, shardPrompts))
	var mu sync.Mutex
	finished := 0
	err := pool.Each(ctx, len(shards), func(ctx context.Context, e *engine.Engine, shard int) error {
		part := answers[shard*shardPrompts:][:len(shards[shard])]
		var jobs []engine.Job
		for i, p := range shards[shard] {
			tokens, err := e.Model().Tokenize(p.Text, true, false)
			if err != nil {
				return fmt.Errorf("prompt %s: %w", p.ID, err)
			}
			var value decode.Source
			if m.Value != nil {
				value = m.Value(p)
			}
			job, err := m.Strategy.Job(e, decode.Request{
				Prompt: tokens, MaxTokens: m.MaxTokens, Sampling: m.Sampling, Stop: m.Stop, Value: value, Reference: m.Reference,
				// Best-of-n draws others than the base policy's answer, which it is compared with.
				Key: decode.Key(seed, 0, string(m.Strategy.Method)+" "+p.ID, 0),
			}, func(r decode.Response) {
				part[i] = Answer{Prompt: p.ID, Response: r.Text, Emitted: len(r.Tokens), Decoded: r.Decoded, KL: r.KL, KLKind: r.KLKind}
			})
			if err != nil {
				return fmt.Errorf("prompt %s: %w", p.ID, err)
			}
			jobs = append(jobs, job)
		}
		if err := e.Run(ctx, jobs); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if finished += len(jobs); progress != nil {
			progress(finished)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	items := make([]reward.Item, len(prompts))
	for i, p := range prompts {
		items[i] = reward.Item{Prompt: p, Response: answers[i].Response}
	}
	scores, err := rm.Score(ctx, items)
	if err != nil {
		return nil, err
	}
	rewards, err := reward.Values(items, scores)
	if err != nil {
		return nil, err
	}
	for i := range answers {
		answers[i].Reward = rewards[i]
	}
	return answers, nil
}

// Summarize compares a method's answers with the base policy's to the same prompts.
func Summarize(method string, answers, base []Answer, seed uint64) Result {
	r := Result{Method: method, N: len(answers), Answers: answers}
	rewards, baseline := rewardsOf(answers), rewardsOf(base)
	r.Reward = Bootstrap(rewards, seed)
	r.WinRate = WinRate(rewards, baseline)
	decoded, emitted := 0, 0
	kls := make([]float64, len(answers))
	for i, a := range answers {
		decoded += a.Decoded
		emitted += a.Emitted
		kls[i], r.KLKind = a.KL, a.KLKind
	}
	r.KL = Bootstrap(kls, seed)
	r.DecodedPerEmitted = float64(decoded) / float64(max(emitted, 1))
	return r
}

func rewardsOf(answers []Answer) []float64 {
	out := make([]float64, len(answers))
	for i, a := range answers {
		out[i] = a.Reward
	}
	return out
}
