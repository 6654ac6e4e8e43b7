package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
)

// The ceiling is what the true value function would explain of the rewards: from a state of every
// quarter of the base policy's answers to the test prompts, continuations are drawn and scored.

// rerolled is a state's continuations, as a file has them.
type rerolled struct {
	Prompt   string    `json:"prompt_id"`
	Position float64   `json:"position"` // of the state in its response, from 0 to 1
	Texts    []string  `json:"responses"`
	Returns  []float32 `json:"rewards"`
}

// basePolicy draws the answers whose states are looked at.
func (w *work) basePolicy(p *recipe.Policy) batch.Policy {
	return batch.Policy{
		Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: w.x.Sampling, MaxTokens: w.x.MaxTokens, Stop: w.x.Stop,
		Key: func(id string, sample int) uint64 { return policy.Key(w.x.Seeds[0], 0, "ceiling "+id, sample) },
	}
}

func (w *work) ceilings(ctx context.Context) (out []Ceiling, err error) {
	if w.x.Rerolls == 0 {
		return nil, nil
	}
	for _, p := range w.x.Policies {
		c := Ceiling{Model: p.ID, Rerolls: w.x.Rerolls}
		states, err := w.rerolls(ctx, p)
		if err != nil {
			return nil, err
		}
		c.Most = valuehead.OracleCeiling(states)
		if c.Explains, err = w.explained(ctx, p, c.Most.All.R2); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// ceilingKey is that of what is made of a shard of prompts by the base policy.
func (w *work) ceilingKey(what string, p *recipe.Policy, shard []prompt.Encoded, more ...any) (string, error) {
	fingerprint, err := p.Fingerprint()
	if err != nil {
		return "", err
	}
	c := w.x.Context
	c.Threads = 0
	var tokens [][]int32
	for _, t := range shard {
		tokens = append(tokens, t.Tokens)
	}
	return run.Key(what, 2, fingerprint, w.x.Sampling, w.x.MaxTokens, w.x.Stop, w.x.Seeds[0], c, w.x.Parallel, batchRecords(shard), tokens, w.x.Rewards[0].Info().Fingerprint, more), nil
}

func batchRecords(shard []prompt.Encoded) (records []prompt.Record) {
	for _, t := range shard {
		records = append(records, t.Record)
	}
	return records
}

// rerolls are the states of all test prompts with the returns of their continuations.
func (w *work) rerolls(ctx context.Context, p *recipe.Policy) (out []valuehead.Rerolled, err error) {
	shards := slices.Collect(slices.Chunk(p.Test, eval.ShardPrompts))
	parts := make([][]rerolled, len(shards))
	w.begin("ceiling", len(p.Test), "prompts")
	pool, err := engine.NewPool(p.Model, w.x.Context.Params(max(w.x.Parallel, w.x.Rerolls), nil), 0)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	err = pool.Each(ctx, len(shards), func(ctx context.Context, e *engine.Engine, i int) error {
		defer w.count(len(shards[i]))
		key, err := w.ceilingKey("rerolls", p, shards[i], w.x.Rerolls)
		if err != nil {
			return err
		}
		file := path.Join("ceiling", key+".jsonl")
		if done, err := w.d.Done(file, key); err != nil {
			return err
		} else if done {
			_, parts[i], err = run.Lines[rerolled](w.d.Path(file))
			return err
		}
		if parts[i], err = w.reroll(ctx, e, p, shards[i]); err != nil {
			return err
		}
		w.x.Own.Responses(file, nil)
		return run.PutLines(w.d, file, key, nil, nil, parts[i])
	})
	for _, s := range slices.Concat(parts...) {
		out = append(out, valuehead.Rerolled{Position: s.Position, Returns: s.Returns})
	}
	return out, err
}

// reroll continues each prompt's response from one state in every quarter of it.
func (w *work) reroll(ctx context.Context, e *engine.Engine, p *recipe.Policy, prompts []prompt.Encoded) (out []rerolled, err error) {
	base, n := w.basePolicy(p), w.x.Rerolls
	responses, err := w.respond(ctx, e, p, base, prompts)
	if err != nil {
		return nil, err
	}
	var jobs []engine.Job
	var items []reward.Item // n of each state, in its place
	for i, r := range responses {
		tokens := r.Tokens
		rng := rand.New(rand.NewPCG(w.x.Seeds[0], policy.Key(w.x.Seeds[0], 1, prompts[i].ID, 0)))
		for quarter := range 4 {
			from, to := quarter*len(tokens)/4, (quarter+1)*len(tokens)/4
			if from == to {
				continue
			}
			taken := from + rng.IntN(to-from) + 1 // the state after so many tokens
			out = append(out, rerolled{Prompt: prompts[i].ID, Position: float64(taken-1) / float64(len(tokens))})
			at := len(items)
			for range n {
				items = append(items, reward.Item{Prompt: prompts[i].Record, Response: r.Text, Finish: string(r.Finish)})
			}
			if taken == len(tokens) {
				continue // nothing follows
			}
			text, err := textOf(p, tokens[:taken])
			if err != nil {
				return nil, err
			}
			stops := slices.Concat(base.Stop, p.Encoder.Stops(prompts[i].Record))
			job, err := decode.Sample(e, decode.Request{
				Prompt: slices.Concat(prompts[i].Tokens, tokens[:taken]), MaxTokens: base.MaxTokens - taken, Sampling: base.Sampling,
				Stop: stops, Key: policy.Key(w.x.Seeds[0], 2+quarter, prompts[i].ID, 0),
			}, n, func(rs []decode.Response) {
				for k, r := range rs {
					items[at+k].Response, items[at+k].Finish = text+r.Text, string(r.Finish)
					if end := across(text, r.Text, stops); end >= 0 {
						items[at+k].Response, items[at+k].Finish = text[:end], string(decode.FinishEOG)
					}
				}
			})
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, job)
		}
	}
	if err := e.Run(ctx, jobs); err != nil {
		return nil, err
	}
	returns, err := scores(ctx, w.x.Rewards[0], items)
	if err != nil {
		return nil, err
	}
	for i := range out {
		for k := i * n; k < (i+1)*n; k++ {
			if math.Abs(returns[k]) > math.MaxFloat32 {
				return nil, fmt.Errorf("the reward %v of %q is larger than what values may be, %g (scale the reward)", returns[k], items[k].Response, math.MaxFloat32)
			}
			out[i].Texts, out[i].Returns = append(out[i].Texts, items[k].Response), append(out[i].Returns, float32(returns[k]))
		}
	}
	return out, nil
}

// across is where a text ends because a stop text begins in it that its continuation finishes; -1 where none does. A
// continuation is decoded as an answer to the text, of which its own stop texts know nothing.
func across(text, continuation string, stops []string) int {
	for at := range len(text) {
		for _, stop := range stops {
			if rest, begins := strings.CutPrefix(stop, text[at:]); begins && rest != "" && strings.HasPrefix(continuation, rest) {
				return at
			}
		}
	}
	return -1
}

// respond draws one response to each prompt.
func (w *work) respond(ctx context.Context, e *engine.Engine, p *recipe.Policy, base batch.Policy, prompts []prompt.Encoded) ([]decode.Response, error) {
	out := make([]decode.Response, len(prompts))
	err := base.Decode(ctx, e, tasksOf(p, prompts), func(task, _ int, r decode.Response) error {
		out[task] = r
		return nil
	})
	return out, err
}

func tasksOf(p *recipe.Policy, prompts []prompt.Encoded) []batch.Task {
	tasks := make([]batch.Task, len(prompts))
	for i, t := range prompts {
		tasks[i] = batch.Task{Encoded: t, Stop: p.Encoder.Stops(t.Record)}
	}
	return tasks
}

func textOf(p *recipe.Policy, tokens []int32) (string, error) {
	var text strings.Builder
	for _, token := range tokens {
		piece, err := p.Piece(token, false)
		if err != nil {
			return "", err
		}
		text.Write(piece)
	}
	return text.String(), nil
}

// scores are the rewards of items, all of which must have one.
func scores(ctx context.Context, m reward.Model, items []reward.Item) ([]float64, error) {
	said, err := m.Score(ctx, items)
	if err != nil {
		return nil, err
	}
	return reward.Values(items, said)
}

// explained are the shares that the recipe's heads on the policy's states explain.
func (w *work) explained(ctx context.Context, p *recipe.Policy, most float64) (out []Explained, err error) {
	for i := range w.x.Values {
		v := &w.x.Values[i]
		heads := map[string]bool{}
		for _, seed := range w.x.Seeds {
			if err := w.prepare(ctx, v.ID, seed); err != nil {
				return nil, err
			}
			g, err := w.x.Guide(v.ID, seed)
			if err != nil {
				return nil, err
			}
			if g.Head == nil || heads[g.Identity] || g.Check(p) != nil {
				continue
			}
			heads[g.Identity] = true
			m, err := w.quality(ctx, p, v.ID, g)
			if err != nil {
				return nil, fmt.Errorf("values.%s: %w", v.ID, err)
			}
			e := Explained{Value: v.ID, R2: m.All.R2, OfMost: number.Float(math.NaN())}
			if most > 0 {
				e.OfMost = number.Float(m.All.R2 / most)
			}
			if v.BySeed() {
				e.Seed = &seed
			}
			for q, part := range m.Quarters {
				e.Quarters[q] = part.R2
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// quality is how good a head's values of the states of the base policy's answers are.
type quality struct {
	run.Stamp
	valuehead.Metrics
}

func (w *work) quality(ctx context.Context, p *recipe.Policy, id string, g *recipe.Guide) (*valuehead.Metrics, error) {
	key, err := w.ceilingKey("quality", p, p.Test, g.Identity)
	if err != nil {
		return nil, err
	}
	file := path.Join("ceiling", key+".json")
	if done, err := w.d.Done(file, key); err != nil {
		return nil, err
	} else if done {
		q, err := run.Value[quality](w.d.Path(file))
		if err != nil {
			return nil, err
		}
		return &q.Metrics, nil
	}
	shards := slices.Collect(slices.Chunk(p.Test, eval.ShardPrompts))
	parts, returns := make([]*rollout.Shard, len(shards)), make([][]float64, len(shards))
	w.begin("ceiling: "+id, len(p.Test), "prompts")
	pool, err := engine.NewPool(p.Model, w.x.Context.Params(w.x.Parallel, g.Layers), 0)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	err = pool.Each(ctx, len(shards), func(ctx context.Context, e *engine.Engine, i int) (err error) {
		if parts[i], err = rollout.Collect(ctx, e, w.basePolicy(p), tasksOf(p, shards[i])); err != nil {
			return err
		}
		var items []reward.Item
		for k, r := range parts[i].Responses() {
			items = append(items, reward.Item{Prompt: shards[i][k].Record, Response: r.Text, Finish: string(r.Finish)})
		}
		returns[i], err = scores(ctx, w.x.Rewards[0], items)
		w.count(len(shards[i]))
		return err
	})
	if err != nil {
		return nil, err
	}
	data := valuehead.NewDataset(g.Head.Features())
	for k, s := range parts {
		for i := range s.States {
			if err := data.AddExample(valuehead.Example{Trajectory: &s.States[i], Return: float32(returns[k][i]), Prompt: &s.Prompts[i]}); err != nil {
				return nil, err
			}
		}
	}
	m, err := g.Head.Evaluate(ctx, data, 1)
	if err != nil {
		return nil, err
	}
	return &m, run.Put(w.d, file, key, nil, nil, &quality{Metrics: m})
}
