package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// work is what the answers to a task's prompts are made with.
type work struct {
	*recipe
	task
	encoder *prompt.Encoder
	rewards []reward.Model    // the task's, then the others
	heads   map[string][]head // by [draw].Learned, one a seed
	layers  []int             // that they read
	cells   *run.Dir
	pool    *engine.Pool
}

// answer is a sample, scored by the task's reward, then the others.
type answer = experiment.Sample

// cell are the answers that a draw gives to some prompts under a seed, in files of
// [eval.ShardPrompts] prompts, each with the key of all that it depends on.
type cell struct {
	draw
	part   string // the prompts' name
	seed   int    // from 1 on
	shards [][]prompt.Encoded
}

func (c *cell) file(shard int) string {
	return path.Join(strings.ReplaceAll(c.Name, " ", "_"), fmt.Sprintf("%s-%d-%d.jsonl", c.part, c.seed, shard))
}

// rows answers the prompts by the methods' draws, each of which is done once, and sums up what
// every method gave.
func (w *work) rows(ctx context.Context, part string, records []prompt.Record, methods []method) ([]row, error) {
	prompts, _, err := prompt.Fit(w.encoder, records, func(int) error { return nil }, true)
	if err != nil {
		return nil, err
	}
	shards := slices.Collect(slices.Chunk(prompts, min(eval.ShardPrompts, (len(prompts)+1)/2)))
	answers := map[string][][]answer{} // of each draw, under each seed
	left := w.estimate(prompts, methods)
	for _, m := range methods {
		if answers[m.Name] != nil {
			continue
		}
		for seed := range w.heads[m.Learned] {
			got, err := w.cell(ctx, cell{m.draw, part, seed + 1, shards}, left)
			if err != nil {
				return nil, fmt.Errorf("%s, seed %d: %w", m.Name, seed+1, err)
			}
			answers[m.Name] = append(answers[m.Name], got)
		}
	}
	var out []row
	for _, m := range methods {
		out = append(out, m.row(w.task, answers[m.Name]))
	}
	return out, nil
}

// policy is what a draw draws by, under a seed.
func (w *work) policy(d draw, seed int) batch.Policy {
	p := batch.Policy{
		Strategy: d.Strategy, Sampling: sampling, MaxTokens: w.maxTokens,
		Key: func(id string, sample int) uint64 { return policy.Key(uint64(seed), 0, d.Name+" "+id, sample) },
	}
	if p.Sampling.Temp = d.Temp; d.Temp != sampling.Temp {
		p.Reference = &sampling
	}
	if d.Rerank {
		p.Rerank = w.rewards[0]
	}
	if d.guided() {
		h := w.heads[d.Learned][seed-1].Head
		p.Value = value.Head(h, valuehead.Reading{})
	}
	return p
}

// cell draws and scores what of a cell is not there.
func (w *work) cell(ctx context.Context, c cell, left *estimate) ([]answer, error) {
	p := w.policy(c.draw, c.seed)
	parts := make([][]answer, len(c.shards))
	stage := fmt.Sprintf("%s, %s: %s", w.name, c.part, c.Name)
	var mu sync.Mutex
	done, total := 0, 0
	for _, s := range c.shards {
		total += len(s) * c.Samples
	}
	count := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		done += n
		w.show(stage, done, total, "answers", left.note())
	}
	p.Finished = func() { count(1) }
	err := w.pool.Each(ctx, len(c.shards), func(ctx context.Context, e *engine.Engine, i int) error {
		key, err := w.key(c, i, p)
		if err != nil {
			return err
		}
		if there, err := w.cells.Done(c.file(i), key); err != nil {
			return err
		} else if there {
			_, parts[i], err = run.Lines[answer](w.cells.Path(c.file(i)))
			left.count(c.tokens(len(c.shards[i]), w.maxTokens), false)
			count(len(c.shards[i]) * c.Samples)
			return err
		}
		if parts[i], err = w.draw(ctx, e, p, c.shards[i], c.Samples); err != nil {
			return err
		}
		left.count(c.tokens(len(c.shards[i]), w.maxTokens), true)
		return run.PutLines(w.cells, c.file(i), key, nil, nil, parts[i])
	})
	return slices.Concat(parts...), err
}

// key is that of all that a shard's answers depend on.
func (w *work) key(c cell, shard int, p batch.Policy) (string, error) {
	model, err := w.m.Fingerprint()
	if err != nil {
		return "", err
	}
	var rewards []string
	for _, rm := range w.rewards {
		rewards = append(rewards, rm.Info().Fingerprint)
	}
	head := ""
	if c.guided() {
		head = w.heads[c.Learned][c.seed-1].key
	}
	return run.Key("cell", 1, model, w.encoder.Identity(), head, rewards, c.draw, c.seed, p.Sampling, p.MaxTokens, w.layers, c.shards[shard]), nil
}

// draw answers a shard of prompts and scores the answers.
func (w *work) draw(ctx context.Context, e *engine.Engine, p batch.Policy, prompts []prompt.Encoded, samples int) ([]answer, error) {
	tasks, items := make([]batch.Task, len(prompts)), make([]reward.Item, len(prompts)*samples)
	for i, t := range prompts {
		tasks[i] = batch.Task{Encoded: t, Samples: samples, Stop: w.encoder.Stops(t.Record)}
	}
	out := make([]answer, len(items))
	err := p.Decode(ctx, e, tasks, func(task, sample int, r decode.Response) error {
		i := task*samples + sample
		out[i] = answer{Answer: experiment.Answer{Response: batch.Stored(prompts[task].ID, sample, r, false), Value: number.Float(r.Value)}}
		for k, p := range r.GuidedLogProbs {
			out[i].Ratio += number.Float(p - r.BaseLogProbs[k])
		}
		items[i] = reward.Item{Prompt: prompts[task].Record, Response: r.Text, Finish: string(r.Finish)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, rm := range w.rewards {
		scores, err := rm.Score(ctx, items)
		if err != nil {
			return nil, err
		}
		values, err := reward.Values(items, scores)
		if err != nil {
			return nil, err
		}
		for i, v := range values {
			out[i].Rewards = append(out[i].Rewards, v)
		}
	}
	return out, nil
}

// estimate says how long the rest of some cells takes, by the tokens that they decode at most.
type estimate struct {
	mu          sync.Mutex
	begun       time.Time
	drawn, left int // tokens
}

// tokens are those that a draw decodes at most for so many prompts.
func (d draw) tokens(prompts, maxTokens int) int { return prompts * d.Samples * d.cost() * maxTokens }

func (w *work) estimate(prompts []prompt.Encoded, methods []method) *estimate {
	e := &estimate{begun: time.Now()}
	seen := map[string]bool{}
	for _, m := range methods {
		if !seen[m.Name] {
			seen[m.Name] = true
			e.left += len(w.heads[m.Learned]) * m.tokens(len(prompts), w.maxTokens)
		}
	}
	return e
}

// count takes note of a finished shard.
func (e *estimate) count(tokens int, drawn bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left -= tokens; drawn {
		e.drawn += tokens
	}
}

func (e *estimate) note() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.drawn == 0 {
		return ""
	}
	left := time.Duration(float64(time.Since(e.begun)) * float64(e.left) / float64(e.drawn))
	return fmt.Sprintf("about %v to the end of this part", left.Round(time.Minute))
}
