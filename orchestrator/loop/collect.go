package loop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// shard is what is decoded from one empty context.
type shard struct {
	run.Shard
	tasks []batch.Task
	key   string // of the responses
	done  bool   // they are there
}

// shards are the prompts of a round, cut up, once for each stretch of samples.
func (l *looping) shards(round int) (out []shard) {
	prompts := l.Prompts
	if n := l.o.inRound(len(prompts), round); n < len(prompts) {
		// Each later round takes the next stretch of the prompts, so that it sees others.
		rotated := slices.Concat(prompts, prompts)
		from := (round - 2) * n % len(prompts)
		prompts = rotated[from : from+n]
	}
	l.o.eachShard(len(prompts), func(s run.Shard, samples int) {
		from := s.Index * l.o.ShardPrompts
		shard := shard{Shard: s}
		for _, p := range prompts[from:min(from+l.o.ShardPrompts, len(prompts))] {
			shard.tasks = append(shard.tasks, batch.Task{Encoded: p, First: s.First, Samples: samples, Stop: l.Encoder.Stops(p.Record)})
		}
		out = append(out, shard)
	})
	return out
}

// inRound is the number of prompts of a round, of so many.
func (o *Options) inRound(prompts, round int) int {
	if n := o.RoundPrompts; round > 1 && n > 0 {
		return min(n, prompts)
	}
	return prompts
}

// eachShard names the shards of so many prompts, with the number of samples of each prompt.
func (o *Options) eachShard(prompts int, f func(s run.Shard, samples int)) {
	from := o.Inputs.SampleFrom
	for k, first := range from {
		end := o.Samples
		if k+1 < len(from) {
			end = from[k+1]
		}
		for i := range (prompts + o.ShardPrompts - 1) / o.ShardPrompts {
			f(run.Shard{Index: i, First: first}, end-first)
		}
	}
}

// trajectories names the files of a round of a run with so many prompts.
func (o *Options) trajectories(prompts, round int) (names []string) {
	o.eachShard(o.inRound(prompts, round), func(s run.Shard, _ int) { names = append(names, run.Trajectories(round, s)) })
	return names
}

// Shards is the number of shards that a round of the run in dir has when it is finished, 0 where
// its prompts cannot be read.
func (o *Options) Shards(dir string, round int) int {
	prompts, err := Prompts(dir, run.PromptsFile)
	if err != nil {
		return 0
	}
	return len(o.trajectories(len(prompts), round))
}

// Trajectories names the files of some rounds, the first to the last, that the run in dir has
// finished.
func Trajectories(dir string, o *Options, first, last int) (rounds [][]string, err error) {
	prompts, err := Prompts(dir, run.PromptsFile)
	if err != nil {
		return nil, err
	}
	for round := first; round <= last; round++ {
		names := slices.DeleteFunc(o.trajectories(len(prompts), round), func(name string) bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return err != nil
		})
		if len(names) > 0 {
			rounds = append(rounds, names)
		}
	}
	return rounds, nil
}

// collect decodes and scores the shards of a round. A shard is written before it is scored. The
// reward is asked while the next ones are decoded; if it fails, those that have begun are
// finished and written before the run ends.
func (l *looping) collect(ctx context.Context, round int, heads []head) error {
	p := l.sampling(round)
	from := map[string]string{}
	var guide rollout.Guide
	if round > 1 {
		p.Strategy = decode.Strategy{Method: decode.MethodBlockBeam, Beam: l.o.Collect}
		h := heads[len(heads)-1]
		p.Value = value.Head(h.Head, valuehead.Reading{})
		guide.Heads = []rollout.File{{Path: l.d.Path(run.Head(round - 1))}}
		from[run.Metrics(round-1)] = h.key
	}
	shards := l.shards(round)
	if err := l.finish(p, round, shards, from); err != nil {
		return err
	}
	if round == 1 && l.pool != nil {
		if err := l.estimate(ctx, slices.DeleteFunc(slices.Clone(shards), func(s shard) bool { return s.done })); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	event := Event{Stage: fmt.Sprintf("round %d: collect", round), Unit: "responses"}
	for _, s := range shards {
		event.Total += len(s.tasks) * s.tasks[0].Samples
	}
	scored := 0
	l.scorer.Notify = func(n int) {
		mu.Lock()
		defer mu.Unlock()
		scored += n
		switch {
		case event.Done == event.Total:
			l.Notify(Event{Stage: fmt.Sprintf("round %d: score", round), Done: scored, Total: event.Total, Unit: event.Unit})
		case event.Done > 0:
			event.Note = fmt.Sprintf("%d scored", scored)
			l.Notify(event)
		}
	}

	var left batch.Unscored
	var failed error
	names := make(chan string, len(shards))
	var scorers sync.WaitGroup
	for range l.scorer.AtOnce() {
		scorers.Go(func() {
			for name := range names {
				_, u, err := l.scorer.File(ctx, name)
				mu.Lock()
				left.Add(u)
				if err != nil && failed == nil {
					failed = err
				}
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	counted := make([]int, len(shards))
	count := func(i, n int) {
		mu.Lock()
		defer mu.Unlock()
		counted[i] += n
		event.Done += n
		l.Notify(event)
	}
	whole := func(i int) { // is there, and counts as such
		mu.Lock()
		n := len(shards[i].tasks)*shards[i].tasks[0].Samples - counted[i]
		mu.Unlock()
		names <- run.Trajectories(round, shards[i].Shard)
		count(i, n)
	}
	l.Notify(event) // who looks is told what is drawn before anything is there
	var drawings []*rollout.Drawing
	var of []int // shards
	for i, s := range shards {
		if s.done {
			whole(i)
			continue
		}
		d := l.drawing(run.Trajectories(round, s.Shard), s.key, p, s.tasks)
		d.Guide, d.Streams, d.Schema = guide, rollout.Streams{Seed: l.o.Seed, Round: round}, &l.schema
		drawings, of = append(drawings, d), append(of, i)
	}
	err := l.drawer.Draw(ctx, drawings, rollout.Taker{
		Wants: func() bool {
			mu.Lock()
			defer mu.Unlock()
			return failed == nil
		},
		Finished: func(i int) { count(of[i], 1) },
		Put: func(i int, drawn *rollout.Shard) error {
			s := shards[of[i]]
			if err := drawn.Store(l.d, round, s.Shard, l.schema, s.key, from); err != nil {
				return err
			}
			whole(of[i])
			return nil
		},
	})
	close(names)
	scorers.Wait()
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	case l.o.SkipUnscored && left.Count < event.Total:
		return nil
	}
	return left.Err(event.Total)
}

// sampling is the base policy of a round.
func (l *looping) sampling(round int) batch.Policy {
	return batch.Policy{
		Strategy: decode.Strategy{Method: decode.MethodSample},
		Sampling: l.o.Sampling, MaxTokens: l.o.MaxTokens, Stop: l.o.Stop, Thoughts: l.o.Thoughts,
		Key: func(id string, sample int) uint64 { return policy.Key(l.o.Seed, round, id, sample) },
	}
}

// ignore takes a response that nobody wants.
func ignore(int, int, decode.Response) error { return nil }

// finish finds out which shards of a round are finished. Trajectories that are not those which the
// round will have are removed, with their states and with what rewards say of them: a run whose
// options were changed must not be taken for one that is finished where it is not.
func (l *looping) finish(p batch.Policy, round int, shards []shard, from map[string]string) error {
	keys, finished := map[string]string{}, map[string]bool{}
	for i, s := range shards {
		name := run.Trajectories(round, s.Shard)
		shards[i].key = l.decodeKey("collect", p, round, s.tasks, from)
		done, err := l.d.Done(name, shards[i].key)
		if err != nil {
			return err
		}
		shards[i].done, keys[name], finished[name] = done, shards[i].key, done
	}
	there, err := run.TrajectoryFiles(l.d.Root(), round)
	if err != nil {
		return err
	}
	stale := slices.DeleteFunc(there, func(name string) bool { return finished[name] })
	for _, name := range stale {
		// Later rounds follow value functions, which may have learned from more since.
		if s, err := run.ReadStamp(l.d.Path(name)); err == nil && s.Key != keys[name] && round == 1 && !l.Redo {
			return fault.New("run", "redo", nil, "{redo} decodes them anew", "the responses in %s were not drawn by these options: those of the run have changed since, or its tokenizer has", l.d.Path(name))
		}
	}
	if len(stale) > 0 {
		l.Say(fmt.Sprintf("round %d is collected anew in part: %d of its shards are damaged or were made from something else than now", round, len(stale)))
	}
	for _, name := range stale {
		if err := l.drop(name, keys[name]); err != nil {
			return err
		}
	}
	return nil
}

// drop removes trajectories with what belongs to them. Their scores stay where those that will
// have the key given are the same ones, which were damaged.
func (l *looping) drop(name, key string) error {
	gone := []string{run.StatesOf(name), name}
	if s, err := run.ReadStamp(l.d.Path(name)); key == "" || err == nil && s.Key != key {
		folders, err := run.RewardFolders(l.d.Root())
		if err != nil {
			return err
		}
		for _, folder := range folders {
			gone = append([]string{run.Scores(folder, name)}, gone...)
		}
	}
	for _, name := range gone {
		if err := os.Remove(l.d.Path(name)); err != nil && !run.Absent(err) {
			return err
		}
	}
	return nil
}

// drawing is the order for responses to tasks that become a file of the run.
func (l *looping) drawing(name, key string, p batch.Policy, tasks []batch.Task) *rollout.Drawing {
	return &rollout.Drawing{
		Key: key, Name: name, Model: l.schema.Backbone, Context: l.o.Context, Parallel: l.o.Parallel, Layers: l.o.Layers, Thinking: l.thinking(),
		Strategy: p.Strategy, Sampling: p.Sampling, Reference: p.Reference, MaxTokens: p.MaxTokens, Stop: p.Stop, Thoughts: p.Thoughts,
		Tasks: rollout.TasksOf(tasks), Policy: p, Marks: l.Encoder.Thinks(),
	}
}

// thinking says how the marks of a model that thinks are found.
func (l *looping) thinking() *rollout.Thinking {
	if l.Encoder.Thinks() == nil {
		return nil
	}
	return rollout.ThinkingOf(l.Encoder.Options())
}

// decodeKey is the key of responses to tasks: of all that they depend on, up to the number of
// threads.
func (l *looping) decodeKey(what string, p batch.Policy, round int, tasks []batch.Task, from map[string]string) string {
	type task struct {
		ID             string
		Tokens         []int32
		First, Samples int
		Stop           []string `json:",omitempty"`
	}
	c := l.o.Context
	c.Threads = 0 // they make no difference
	var ts []task
	for _, t := range tasks {
		ts = append(ts, task{t.ID, t.Tokens, t.First, t.Samples, t.Stop})
	}
	if p.Rerank != nil {
		what += " with " + p.Rerank.Info().Fingerprint
	}
	if p.Thoughts != (decode.Thoughts{}) {
		what += fmt.Sprintf(" thinking by %+v", p.Thoughts)
	}
	return run.Key(what, 1, l.schema, p.Strategy, p.Sampling, p.Reference, p.MaxTokens, p.Stop, l.o.Seed, round, c, l.o.Parallel, ts, from)
}

// Data are the states and scores of one round of the run in dir or, with round 0, of all so far, by
// the reward in a folder of it, the run's own if that is empty.
func Data(dir string, round int, folder string) (*learn.Data, error) {
	rounds, folder, err := scored("train", dir, round, folder)
	if err != nil {
		return nil, err
	}
	return learn.Of(dir, rounds, folder)
}

// scored names the files of trajectories of one round of the run in dir or, with round 0, of all so
// far, those that a reward has scored, unless there are none, and the folder of its scores.
func scored(op, dir string, round int, folder string) (rounds [][]string, _ string, err error) {
	if !run.IsRun(dir) {
		return nil, "", notRun(op, dir)
	}
	o, err := ReadOptions(dir)
	if err != nil {
		return nil, "", err
	}
	first, last := 1, o.Rounds
	if round > 0 {
		first, last = round, round
	}
	if round > o.Rounds {
		return nil, "", fault.New(op, "rounds", o.Rounds, "choose one of these", "the run in %s has %d rounds, and %d is not one of them", dir, o.Rounds, round)
	}
	if folder == "" {
		folder = o.Inputs.Scores
	}
	all, err := Trajectories(dir, o, first, last)
	if err != nil && !run.Absent(err) {
		return nil, "", err
	}
	// What is not scored yet is left out, unless nothing is.
	for _, names := range all {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			_, err := os.Stat(filepath.Join(dir, run.Scores(folder, name)))
			return run.Absent(err)
		})
		if len(names) > 0 {
			rounds = append(rounds, names)
		}
	}
	if rounds == nil {
		rounds = all
	}
	return rounds, folder, nil
}
