package experiment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Answer is a response as it is stored.
type Answer = rollout.Answer

// shard is the answers of a method to a few prompts under a seed: one file, whose name is the key of all
// that it depends on. So methods that draw alike share it, and a recipe that changes and changes back
// finds it again.
type shard struct {
	policy  *recipe.Policy
	model   *llama.Model // that draws, the policy's own or one that was tuned from it
	draw    batch.Policy
	guide   *recipe.Guide
	seed    uint64
	samples int
	prompts []prompt.Encoded
	key     string
	done    bool
}

func (s *shard) file() string { return path.Join(run.ExperimentDir, s.key+".jsonl") }

// count is the number of its answers.
func (s *shard) count() int { return len(s.prompts) * s.samples }

// cost is the number of tokens that are decoded for it at most.
func (s *shard) cost() int {
	t := s.draw.Strategy
	each := 0.0
	if n := t.Rollouts.N * t.Rollouts.Tokens; n > 0 { // after each block of each candidate
		t.Rollouts = decode.Rollouts{}
		each = float64(n) / float64(t.Beam.Block)
	}
	return int(float64(s.count()*s.draw.MaxTokens*t.Sequences()) * (1 + each))
}

// shards are those of a method's answers to prompts under a seed.
func (w *work) shards(p *recipe.Policy, m *recipe.Method, prompts []prompt.Encoded, seed uint64) (out []*shard, err error) {
	draw, guide, err := w.x.Draw(m, seed)
	if err != nil {
		return nil, err
	}
	model := w.x.Drawing(p, m, seed)
	drawing, err := w.x.DrawingIdentity(p, m, seed)
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(prompts, eval.ShardPrompts) {
		s := &shard{policy: p, model: model, draw: *draw, guide: guide, seed: seed, samples: m.Samples, prompts: part}
		s.key = w.key(s, drawing)
		if known := w.known[s.key]; known != nil {
			s = known
		} else if s.done, err = w.d.Done(s.file(), s.key); err != nil {
			return nil, err
		}
		w.known[s.key] = s
		out = append(out, s)
	}
	return out, nil
}

// key is that of all that a shard's answers depend on.
func (w *work) key(s *shard, drawing string) string {
	rerank := ""
	if s.draw.Rerank != nil {
		rerank = s.draw.Rerank.Info().Fingerprint
	}
	c := w.x.Context
	c.Threads = 0 // they make no difference
	d := s.draw
	return run.Key("answers", 1, thinking(drawing, d), s.guide.Identity, s.guide.Layers, rerank, d.Strategy, d.Sampling, d.Reference, d.MaxTokens, d.Stop, s.seed, s.samples, c, w.x.Parallel, tasks(s.policy, s.prompts))
}

// thinking adds to what answers are drawn by what is done with thoughts, where that is anything.
func thinking(drawing string, p batch.Policy) string {
	if p.Thoughts == (decode.Thoughts{}) {
		return drawing
	}
	return fmt.Sprintf("%s thinking by %+v", drawing, p.Thoughts)
}

// task is a prompt as far as its answers and what rewards say of them depend on it.
type task struct {
	ID     string
	Tokens []int32
	Stop   []string
	Record prompt.Record
}

func tasks(p *recipe.Policy, prompts []prompt.Encoded) (out []task) {
	for _, t := range prompts {
		out = append(out, task{t.ID, t.Tokens, p.Encoder.Stops(t.Record), t.Record})
	}
	return out
}

// decode answers what of the shards is not there.
func (w *work) decode(ctx context.Context, stage string, all []*shard) error {
	total := 0
	for _, s := range all {
		total += s.count()
	}
	w.begin(stage, total, "answers")
	for len(all) > 0 {
		first := all[0]
		alike := func(s *shard) bool {
			return s.policy == first.policy && s.model == first.model && slices.Equal(s.guide.Layers, first.guide.Layers)
		}
		var group, rest []*shard
		for _, s := range all {
			switch {
			case s.done:
				w.count(s.count())
			case alike(s):
				group = append(group, s)
			default:
				rest = append(rest, s)
			}
		}
		if err := w.decodeGroup(ctx, group); err != nil {
			return err
		}
		all = rest
	}
	return nil
}

// decodeGroup answers shards of one model and one choice of layers: elsewhere, as far as they can be.
func (w *work) decodeGroup(ctx context.Context, group []*shard) error {
	var here, there []*shard
	var hereOf, thereOf []*rollout.Drawing
	for _, s := range group {
		d, err := w.drawing(s)
		if err != nil {
			return err
		}
		if w.x.Drawer != nil && s.model == s.policy.Model && (s.draw.Value == nil || s.guide.Heads != nil) && s.draw.ValueBy == nil && s.draw.Rerank == nil {
			there, thereOf = append(there, s), append(thereOf, d)
		} else {
			here, hereOf = append(here, s), append(hereOf, d)
		}
	}
	if len(there) > 0 {
		if err := w.draw(ctx, w.x.Drawer, there, thereOf); err != nil {
			return err
		}
	}
	if len(here) == 0 {
		return nil
	}
	pool, err := engine.NewPool(here[0].model, w.x.Context.Params(w.x.Parallel, here[0].guide.Layers), 0)
	if err != nil {
		return err
	}
	defer pool.Close()
	return w.draw(ctx, rollout.Pool{Pool: pool, Own: w.x.Own}, here, hereOf)
}

// drawing is the order for a shard.
func (w *work) drawing(s *shard) (*rollout.Drawing, error) {
	model, err := s.model.Fingerprint()
	if err != nil {
		return nil, err
	}
	d := s.draw
	out := &rollout.Drawing{
		Key: s.key, Name: s.file(), Model: model, Context: w.x.Context, Parallel: w.x.Parallel, Layers: s.guide.Layers,
		Strategy: d.Strategy, Sampling: d.Sampling, Reference: d.Reference, MaxTokens: d.MaxTokens, Stop: d.Stop, Thoughts: d.Thoughts,
		Guide: rollout.Guide{Reading: s.guide.Reading}, Streams: rollout.Streams{Seed: s.seed, Of: string(d.Strategy.Method) + " "}, Policy: d, Marks: s.policy.Encoder.Thinks(),
	}
	for _, file := range s.guide.Heads {
		out.Guide.Heads = append(out.Guide.Heads, rollout.File{Path: file})
	}
	if out.Marks != nil {
		out.Thinking = rollout.ThinkingOf(s.policy.Encoder.Options())
	}
	tasks := make([]batch.Task, len(s.prompts))
	for i, t := range s.prompts {
		tasks[i] = batch.Task{Encoded: t, Samples: s.samples, Stop: s.policy.Encoder.Stops(t.Record)}
	}
	out.Tasks = rollout.TasksOf(tasks)
	if d.Rerank != nil || d.ValueBy != nil {
		for i := range tasks {
			out.Tasks[i].Record = &tasks[i].Record
		}
	}
	return out, nil
}

// draw has shards drawn and writes them.
func (w *work) draw(ctx context.Context, by rollout.Drawer, shards []*shard, orders []*rollout.Drawing) error {
	var mu sync.Mutex
	counted := make([]int, len(shards))
	count := func(i, n int) {
		mu.Lock()
		counted[i] += n
		mu.Unlock()
		w.count(n)
	}
	w.count(0) // who looks is told what is drawn before anything is there
	return by.Draw(ctx, orders, rollout.Taker{
		Finished: func(i int) { count(i, 1) },
		Put: func(i int, drawn *rollout.Shard) error {
			s := shards[i]
			if err := w.diverge(ctx, s, drawn); err != nil {
				return err
			}
			mu.Lock()
			s.done = true
			rest := s.count() - counted[i]
			mu.Unlock()
			w.drawn(s.cost())
			count(i, rest)
			return run.PutLines(w.d, s.file(), s.key, nil, nil, drawn.Answers)
		},
	})
}

// diverge sets the KL of answers of a model that was tuned: that from the model that it was tuned from.
func (w *work) diverge(ctx context.Context, s *shard, drawn *rollout.Shard) error {
	base := s.policy.Model
	if s.model == base {
		return nil
	}
	of := make([]batch.Drawn, len(drawn.Drawn))
	for i := range of {
		of[i] = batch.Drawn{Prompt: s.prompts[i/s.samples].Tokens, Response: &drawn.Drawn[i]}
	}
	if err := batch.Diverge(ctx, batch.Distribution{Model: s.model, Sampling: s.draw.Sampling}, batch.Distribution{Model: base, Sampling: w.x.Sampling}, w.x.Context, of); err != nil {
		return err
	}
	for i, r := range drawn.Drawn {
		drawn.Answers[i].Response, drawn.Answers[i].Ratio = batch.Stored(s.prompts[i/s.samples].ID, i%s.samples, r, false), number.Float(r.Ratio)
	}
	return nil
}

// score asks the rewards, the first n of them, about the answers of the shards.
func (w *work) score(ctx context.Context, stage string, all []*shard, n int) error {
	for _, s := range w.scorers[:n] {
		total := 0
		for _, shard := range all {
			total += shard.count()
		}
		w.begin(fmt.Sprintf("%s: score by %s", stage, s.Model.Info().Name), total, "answers")
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(s.AtOnce())
		for _, shard := range all {
			of := *s
			of.Notify, of.Records = w.count, batch.Records(shard.prompts, func(p prompt.Encoded) prompt.Record { return p.Record })
			g.Go(func() error {
				if gctx.Err() != nil {
					return context.Cause(gctx)
				}
				_, left, err := of.File(gctx, shard.file())
				return cmp.Or(err, whole(left.Err(shard.count())))
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// whole says what to do where scores or verdicts are missing: methods are compared on the same prompts, so that an experiment does
// not go on without, as other commands may.
func whole(err error) error {
	f := (*fault.Error)(nil)
	if !errors.As(err, &f) || !strings.Contains(f.Hint, "{skip_unscored}") {
		return err
	}
	return &fault.Error{Op: f.Op, Err: f.Err, Hint: "what is known is kept: mend what gives none and run the same command again, which asks for the rest"}
}

// Sample is an answer with all that is said of it.
type Sample struct {
	Answer
	Rewards []float64 `json:"rewards"` // in the order of the recipe
}

// read reads the answers of shards with what the first n rewards said of them.
func (w *work) read(shards []*shard, n int) (out []Sample, err error) {
	for _, s := range shards {
		_, answers, err := run.Lines[Answer](w.d.Path(s.file()))
		if err != nil {
			return nil, err
		}
		at := len(out)
		for _, a := range answers {
			out = append(out, Sample{Answer: a})
		}
		for _, scorer := range w.scorers[:n] {
			_, scores, err := run.Lines[batch.Score](w.d.Path(run.Scores(scorer.Folder(), s.file())))
			if err != nil {
				return nil, err
			}
			for i, score := range scores {
				out[at+i].Rewards = append(out[at+i].Rewards, *score.Reward)
			}
		}
	}
	return out, nil
}
