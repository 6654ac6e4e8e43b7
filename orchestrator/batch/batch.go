// Package batch answers prompts: prompts become jobs, jobs responses, responses scores. It is
// the one runner of generate, collection, evaluation and the benchmarks, which differ in what
// they keep of a response.
//
// The unit is the shard, a fixed list of tasks decoded from an empty context with random
// streams keyed by their prompts and samples: a shard done again is the same shard.
package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// Policy is what draws responses: a strategy over the base policy, guided by a value function
// or not.
type Policy struct {
	Strategy    decode.Strategy
	Value       value.Source                       // nil without one
	ValueBy     reward.Model                       // whose scores of unfinished responses are the values instead, nil without one
	Rerank      reward.Model                       // that takes part in the search, nil without one; see [decode.Request]
	Sampling    policy.Sampling                    // the base policy
	Reference   *policy.Sampling                   // see [decode.Request]
	MaxTokens   int                                // of a response
	Stop        []string                           // texts that end one
	Spell       []int32                            // see [decode.Request]
	Thoughts    decode.Thoughts                    // of a model that thinks before it answers
	Key         func(id string, sample int) uint64 // of the random streams, see [policy.Key]; nil for those of seed 0
	EachValue   bool                               // every token's value is wanted
	TopLogProbs int                                // see [decode.Request]
	Record      bool                               // states of responses and prompts are wanted
	Progress    func(decoded int)                  // see [decode.Request]
	Finished    func()                             // told of every response, if set
	// EmitThinking, if set, gets the text of a single response's thoughts as it comes.
	EmitThinking func(text []byte)
	EmitTokens   func([]decode.Said)   // see [decode.Request]
	Branches     func([]decode.Branch) // see [decode.Request]

	emit    func([]byte) // of a single response
	outside func(func()) // see [engine.Session.Outside]; nil where it makes no difference
}

// Task is a prompt to answer.
type Task struct {
	prompt.Encoded
	First     int // number of the first sample
	Samples   int // responses; 0 for one
	MaxTokens int // of a response; 0 for the policy's
	// Stop are texts that end a response beside the policy's.
	Stop []string
	// Priority is that of [Policy.Answer], see [engine.Job].
	Priority int
}

// RecordsOf are the prompts of tasks as records.
func RecordsOf(tasks []Task) []prompt.Record {
	records := make([]prompt.Record, len(tasks))
	for i, t := range tasks {
		records[i] = t.Record
	}
	return records
}

func (t Task) samples() int { return max(1, t.Samples) }

func (p *Policy) key(id string, sample int) uint64 {
	if p.Key == nil {
		return policy.Key(0, 0, id, sample)
	}
	return p.Key(id, sample)
}

// Decode answers a shard's tasks together. put gets each response as soon as it is finished,
// with the numbers of its task and sample; calls do not overlap, and an error ends the run.
func (p *Policy) Decode(ctx context.Context, e *engine.Engine, tasks []Task, put func(task, sample int, r decode.Response) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var jobs []engine.Job
	var mu sync.Mutex
	for i, t := range tasks {
		js, err := p.jobs(e, t, func(sample int, r decode.Response) {
			mu.Lock()
			defer mu.Unlock()
			if err := put(i, sample, r); err != nil {
				cancel(err)
			}
			if p.Finished != nil {
				p.Finished()
			}
		})
		if err != nil {
			return fmt.Errorf("prompt %s: %w", t.ID, err)
		}
		jobs = append(jobs, js...)
	}
	return errors.Join(e.Run(ctx, jobs), p.forget(e))
}

func (p *Policy) jobs(e *engine.Engine, t Task, put func(sample int, r decode.Response)) ([]engine.Job, error) {
	req := decode.Request{
		Prompt: t.Tokens, MaxTokens: p.MaxTokens, Sampling: p.Sampling, Stop: p.Stop, Spell: p.Spell, Value: p.Value, Reference: p.Reference,
		EachValue: p.EachValue, TopLogProbs: p.TopLogProbs, Record: p.Record, RecordPrompt: p.Record, Progress: p.Progress, Thinks: t.Thinks, Thoughts: p.Thoughts,
		Emit: p.emit, EmitThinking: p.EmitThinking, EmitTokens: p.EmitTokens, Branches: p.Branches, Key: p.key(t.ID, t.First),
	}
	if t.MaxTokens > 0 {
		req.MaxTokens = t.MaxTokens
	}
	if len(t.Stop) > 0 {
		req.Stop = slices.Concat(p.Stop, t.Stop)
	}
	if p.Rerank != nil {
		req.Rerank = scorer("rerank", t.Record, p.score(p.Rerank.Score))
	}
	strategy := p.strategy()
	if strategy.Method == decode.MethodSample {
		calls := p.valueBy(e, &req, t.Record)
		// Samples of one prompt share its prefill.
		job, err := strategy.Sample(e, req, t.samples(), func(rs []decode.Response) {
			for k, r := range rs {
				r.RewardCalls += calls() / len(rs)
				put(t.First+k, r)
			}
		})
		return []engine.Job{job}, err
	}
	var jobs []engine.Job
	for sample := t.First; sample < t.First+t.samples(); sample++ {
		req.Key = p.key(t.ID, sample)
		calls := p.valueBy(e, &req, t.Record)
		job, err := strategy.Job(e, req, func(r decode.Response) {
			r.RewardCalls += calls()
			put(sample, r)
		})
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, job)
	}
	return jobs, nil
}

// Cells is the number of KV cells that a job for a prompt of so many tokens fills at most, and
// Sequences that of the sequences that it holds.
func (p *Policy) Cells(tokens, samples int) int {
	return p.shape(samples).Cells(tokens, p.MaxTokens)
}

func (p *Policy) Sequences(samples int) int { return p.shape(samples).Sequences() }

// shape is the strategy that takes as much room as a job does.
func (p *Policy) shape(samples int) decode.Strategy {
	if p.Strategy.Method == decode.MethodSample {
		return decode.Strategy{Method: decode.MethodBestOfN, N: max(1, samples)}
	}
	return p.strategy()
}

// Room is the most tokens that the response to a prompt of so many tokens may have, where both have
// size tokens of context: predict, or with a negative one all that is left. trained is what the model was
// trained with.
func (p *Policy) Room(tokens, size, predict, trained int) (int, error) {
	room, least := size-tokens, 1
	if p.Strategy.Blockwise() {
		least = p.Strategy.Beam.Block
	}
	if predict > 0 {
		least = min(least, predict)
	}
	wrong := func(hint, format string, args ...any) (int, error) {
		return 0, fault.New("", "ctx", size, hint, "the prompt has %d tokens"+format, append([]any{tokens}, args...)...)
	}
	raise := fmt.Sprintf("or raise {ctx} if the model was trained with more: %d", trained)
	switch {
	case room < 1:
		return wrong("shorten the prompt, "+raise, ", the context holds %d", size)
	case room < least:
		return wrong("shorten the prompt, lower {block}, "+raise, ", the context holds %d: no block of %d fits", size, p.Strategy.Beam.Block)
	case predict < 0:
		return room, nil
	case predict > room:
		return wrong("lower {max_tokens}, or raise {ctx}", " and the response up to %d, the context holds %d", predict, size)
	}
	return predict, nil
}

// Response is a finished response as it is stored.
type Response struct {
	Prompt string `json:"prompt_id"`
	Sample int    `json:"sample"`
	Text   string `json:"response"`
	// Thinking is what the model thought before it; rewards are shown none of it.
	Thinking string        `json:"thinking,omitempty"`
	Finish   decode.Finish `json:"finish"`
	Emitted  int           `json:"emitted"` // tokens of the response
	Decoded  int           `json:"decoded"` // tokens decoded for it, those of pruned candidates included
	// RewardCalls is the number of texts that the reward scored in the search.
	RewardCalls int           `json:"reward_calls,omitempty"`
	KL          number.Float  `json:"kl"`      // of the policy from the base policy, nats
	KLKind      decode.KLKind `json:"kl_kind"` // whether KL is exact or a bound
	// With the policy's Record:
	Tokens   []int32         `json:"tokens,omitempty"`
	LogProbs number.Float32s `json:"logprobs,omitempty"` // of the model at temperature 1
}

// Stored is what is stored of a response.
func Stored(id string, sample int, r decode.Response, tokens bool) Response {
	out := Response{
		Prompt: id, Sample: sample, Text: r.Text, Thinking: r.Thinking, Finish: r.Finish, Emitted: len(r.Tokens), Decoded: r.Decoded, RewardCalls: r.RewardCalls, KL: number.Float(r.KL), KLKind: r.KLKind,
	}
	if tokens {
		out.Tokens, out.LogProbs = r.Tokens, r.LogProbs
	}
	return out
}
