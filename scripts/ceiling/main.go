// Command ceiling tells how good a run's value functions are against the best there could be:
// it re-rolls continuations from states of the base policy's responses to the run's test
// prompts, which gives the share of the reward's variance that the true value explains. Run it
// with make ceiling, after make demo.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	dir := flag.String("run", "runs/demo", "finished run of ivo iterate with test prompts")
	continuations := flag.Int("continuations", 16, "of each state")
	seed := flag.Uint64("seed", 1, "of all random numbers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := ceiling(ctx, *dir, *continuations, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "ceiling:", err)
		os.Exit(1)
	}
}

func ceiling(ctx context.Context, dir string, continuations int, seed uint64) error {
	if continuations < 2 {
		return fmt.Errorf("%d continuations tell nothing of a state's variance (give -continuations 2 or more)", continuations)
	}
	o, err := loop.ReadOptions(dir)
	if err != nil {
		return fmt.Errorf("%w (run make demo first)", err)
	}
	rm, err := reward.Open(o.Reward, reward.Options{})
	if err != nil {
		return err
	}
	records, err := loop.Prompts(dir, run.EvalPromptsFile)
	if err != nil {
		return err
	}
	m, err := llama.Load(o.Model, llama.ModelParams{})
	if err != nil {
		return err
	}
	defer m.Close()
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		return err
	}
	test, _, err := prompt.Fit(encoder, records, func(tokens int) error { return o.Fits(tokens, 0) }, true)
	if err != nil {
		return err
	}
	pool, err := engine.NewPool(m, engine.Params{Ctx: o.Context.Cells, Sequences: max(32, continuations), Layers: o.Layers}, 0)
	if err != nil {
		return err
	}
	defer pool.Close()

	// Shards, so that nothing depends on the number of engines.
	p := batch.Policy{
		Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: o.Sampling, MaxTokens: o.MaxTokens, Stop: o.Stop,
		Key: func(id string, sample int) uint64 { return policy.Key(seed, 0, id, sample) },
	}
	parts := slices.Collect(slices.Chunk(test, 25))
	shards, states, rewards := make([]*rollout.Shard, len(parts)), make([][]valuehead.Rerolled, len(parts)), make([][]float64, len(parts))
	err = pool.Each(ctx, len(parts), func(ctx context.Context, e *engine.Engine, i int) (err error) {
		var tasks []batch.Task
		for _, t := range parts[i] {
			tasks = append(tasks, batch.Task{Encoded: t})
		}
		if shards[i], err = rollout.Collect(ctx, e, p, tasks); err != nil {
			return err
		}
		var items []reward.Item
		for k, r := range shards[i].Responses {
			items = append(items, reward.Item{Prompt: parts[i][k].Record, Response: r.Text})
		}
		if rewards[i], err = score(ctx, rm, items); err != nil {
			return err
		}
		states[i], err = reroll(ctx, e, p, parts[i], rm, shards[i], continuations, seed)
		fmt.Fprintf(os.Stderr, "\r\x1b[Kre-rolled shard %d of %d", i+1, len(parts))
		return err
	})
	fmt.Fprint(os.Stderr, "\r\x1b[K")
	if err != nil {
		return err
	}
	c := valuehead.OracleCeiling(slices.Concat(states...))
	fmt.Println("R^2 on the test prompts | all | quarters of the response")
	fmt.Println("---|---|---")
	fmt.Printf("ceiling, %d states x %d continuations | %.3f | %.3f %.3f %.3f %.3f\n", c.All.States, continuations,
		c.All.R2, c.Quarters[0].R2, c.Quarters[1].R2, c.Quarters[2].R2, c.Quarters[3].R2)
	for round := 1; round <= o.Rounds; round++ {
		head, err := valuehead.Load(filepath.Join(dir, fmt.Sprintf("iter-%02d", round), "head.gguf"))
		if err != nil {
			return err
		}
		data := valuehead.NewDataset(head.Features())
		for k, s := range shards {
			for i := range s.States {
				if err := data.AddExample(valuehead.Example{Trajectory: &s.States[i], Return: float32(rewards[k][i]), Prompt: &s.Prompts[i]}); err != nil {
					return err
				}
			}
		}
		q, err := head.Evaluate(ctx, data, 1)
		if err != nil {
			return err
		}
		fmt.Printf("round %d's value function | %.3f | %.3f %.3f %.3f %.3f\n", round, q.All.R2, q.Quarters[0].R2, q.Quarters[1].R2, q.Quarters[2].R2, q.Quarters[3].R2)
	}
	return nil
}

// reroll continues each prompt's response from one state in every quarter of it.
func reroll(ctx context.Context, e *engine.Engine, p batch.Policy, prompts []prompt.Encoded, rm reward.Model, s *rollout.Shard, n int, seed uint64) ([]valuehead.Rerolled, error) {
	var states []valuehead.Rerolled
	var jobs []engine.Job
	var items []reward.Item // n of each state, in its place
	for i, t := range s.Responses {
		rng := rand.New(rand.NewPCG(seed, policy.Key(seed, 1, t.Prompt, 0)))
		for quarter := range 4 {
			from, to := quarter*len(t.Tokens)/4, (quarter+1)*len(t.Tokens)/4
			if from == to {
				continue
			}
			taken := from + rng.IntN(to-from) + 1 // the state after so many tokens
			states = append(states, valuehead.Rerolled{Position: float64(taken-1) / float64(len(t.Tokens))})
			at := len(items)
			for range n {
				items = append(items, reward.Item{Prompt: prompts[i].Record, Response: t.Text})
			}
			if taken == len(t.Tokens) {
				continue // nothing follows
			}
			var text strings.Builder
			for _, token := range t.Tokens[:taken] {
				piece, err := e.Model().Piece(token, false)
				if err != nil {
					return nil, err
				}
				text.Write(piece)
			}
			job, err := decode.Sample(e, decode.Request{
				Prompt: slices.Concat(s.Prompts[i].Tokens, t.Tokens[:taken]), MaxTokens: p.MaxTokens - taken, Sampling: p.Sampling, Stop: p.Stop,
				Key: policy.Key(seed, 2+quarter, t.Prompt, 0),
			}, n, func(rs []decode.Response) {
				for k, r := range rs {
					items[at+k].Response = text.String() + r.Text
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
	rewards, err := score(ctx, rm, items)
	if err != nil {
		return nil, err
	}
	for i := range states {
		for _, r := range rewards[i*n : (i+1)*n] {
			states[i].Returns = append(states[i].Returns, float32(r))
		}
	}
	return states, nil
}

// score are the rewards of items, all of which must have one.
func score(ctx context.Context, rm reward.Model, items []reward.Item) ([]float64, error) {
	scores, err := rm.Score(ctx, items)
	if err != nil {
		return nil, err
	}
	return reward.Values(items, scores)
}
