// Package loop runs iterative value function optimization (IVO, arXiv 2503.02368) from
// end to end: collect trajectories, score them, train a value function on their states,
// collect again with the policy that it guides, and evaluate.
//
// Each of these is a step of its own whose result is a file that carries the key of what it
// was made from (see package run): a step is done again only where that has changed. A run
// that was killed goes on where it was, and ends with the files of an undisturbed one.
package loop

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Event tells how far a stage of the run is.
type Event struct {
	Stage       string // such as "round 1: collect"
	Done, Total int
	Unit        string // what is counted
	Note        string // what is known so far, such as a loss
}

// Work is what a run works with: things that are open, which the caller closes.
type Work struct {
	Model   *llama.Model
	Encoder *prompt.Encoder  // by which the prompts became tokens
	Reward  reward.Model     // of Options.Reward
	Second  reward.Model     // of Options.SecondReward, nil without one
	Prompts []prompt.Encoded // to learn from; see [Options.Fits]
	Test    []prompt.Encoded // to evaluate on, none of which is one of Prompts; may be empty
	Drawer  rollout.Drawer   // of shards; nil draws them on this machine
	// Elsewhere is what has responses scored by a reward on other machines: nil, or what gives nil, where this one scores.
	Elsewhere func(reward.Model) batch.Elsewhere
	Own       batch.Own    // is told of what this machine draws and scores
	Redo      bool         // options that have changed are taken: what depends on them is made anew
	Notify    func(Event)  // told of progress, if set; calls never overlap
	Say       func(string) // told what people should know, if set
}

// looping is a run under way.
type looping struct {
	Work
	o      Options
	d      *run.Dir
	pool   *engine.Pool // nil where others draw
	drawer rollout.Drawer
	schema states.Schema
	scorer batch.Scorer
	second batch.Scorer // by the second reward, if there is one
}

// Run begins or continues the run in dir.
func Run(ctx context.Context, dir string, o Options, w Work) (err error) {
	if err := o.Validate(); err != nil {
		return err
	}
	if n := len(w.Prompts); n < 2 {
		return fault.New("run", "prompts", nil, "give {prompts} more of them", "%d prompts to learn from: a value function is trained on some and tested on others", n)
	}
	l := &looping{Work: w, o: o}
	if l.Notify = serialize(w.Notify); l.Say == nil {
		l.Say = func(string) {}
	}
	all := slices.Concat(w.Prompts, w.Test)
	if c, ok := w.Reward.(reward.Checker); ok {
		var records []prompt.Record
		for _, p := range all {
			records = append(records, p.Record)
		}
		if err := c.Check(ctx, records); err != nil {
			return err
		}
	}
	if w.Second != nil {
		if err := reward.Check(ctx, w.Second, records(w.Test)); err != nil {
			return fmt.Errorf("second reward: %w", err)
		}
	}
	if l.schema, err = rollout.Schema(w.Model, o.Layers, w.Encoder.Thinks() != nil); err != nil {
		return err
	}
	info := w.Reward.Info()
	l.o.Inputs = Inputs{Backbone: l.schema.Backbone, Encoding: w.Encoder.Identity(), Reward: info.Fingerprint, Scores: run.RewardFolder(info.Name, info.Fingerprint), Prompts: promptsKey(w.Prompts)}
	if len(w.Test) > 0 {
		l.o.Inputs.EvalPrompts = promptsKey(w.Test)
	}
	if err := run.Expect(dir, false); err != nil {
		return err
	}
	if l.d, err = run.Open(dir); err != nil {
		return err
	}
	defer l.d.Close()
	if err := l.begin(); err != nil {
		return err
	}
	if l.drawer = w.Drawer; l.drawer == nil {
		if l.pool, err = engine.NewPool(w.Model, o.Context.Params(o.Parallel, o.Layers), 0); err != nil {
			return err
		}
		defer l.pool.Close()
		l.drawer = rollout.Pool{Pool: l.pool, Own: w.Own}
	}
	l.scorer = batch.Scorer{Dir: l.d, Model: w.Reward, Own: w.Own, Skip: o.SkipUnscored, Records: batch.Records(all, func(e prompt.Encoded) prompt.Record { return e.Record })}
	l.second = l.scorer
	l.second.Model = w.Second
	if w.Elsewhere != nil {
		l.scorer.Elsewhere = w.Elsewhere(w.Reward)
		if w.Second != nil {
			l.second.Elsewhere = w.Elsewhere(w.Second)
		}
	}

	var heads []head
	for round := 1; round <= o.Rounds; round++ {
		h, err := l.round(ctx, round, heads)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		heads = append(heads, h)
	}
	if len(w.Test) == 0 {
		return nil
	}
	return l.evaluate(ctx, heads)
}

// head is a round's value function, with the key of what it was made from.
type head struct {
	*valuehead.Head
	key string
}

// begin stores what the run is about: its options and prompts.
func (l *looping) begin() error {
	if old, err := Prompts(l.d.Root(), run.PromptsFile); err == nil && !l.Redo {
		if err := samePrompts(old, records(l.Prompts)); err != nil {
			return err
		}
	}
	if err := l.o.store(l.d, l.Redo); err != nil {
		return err
	}
	for _, f := range []struct {
		name, key string
		prompts   []prompt.Encoded
	}{{run.PromptsFile, l.o.Inputs.Prompts, l.Prompts}, {run.EvalPromptsFile, l.o.Inputs.EvalPrompts, l.Test}} {
		if f.key == "" {
			continue
		}
		if done, err := l.d.Done(f.name, f.key); done || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := run.PutLines(l.d, f.name, f.key, nil, nil, records(f.prompts)); err != nil {
			return err
		}
	}
	return nil
}

// Prompts reads the prompts that a run keeps: run.PromptsFile or run.EvalPromptsFile.
func Prompts(dir, name string) ([]prompt.Record, error) {
	_, records, err := run.Lines[prompt.Record](dir + "/" + name)
	return records, err
}

func records(prompts []prompt.Encoded) []prompt.Record {
	out := make([]prompt.Record, len(prompts))
	for i, p := range prompts {
		out[i] = p.Record
	}
	return out
}

// promptsKey is the key of a list of prompts: of all that a model or a reward sees of them.
func promptsKey(prompts []prompt.Encoded) string { return run.Key("prompts", records(prompts)) }

// samePrompts names the first prompt that is not as it was.
func samePrompts(old, now []prompt.Record) error {
	hint := "use the same ones to continue the run, {redo} to make anew what depends on them and keep the rest, or another {out}"
	for i, p := range old {
		switch {
		case i >= len(now):
			return fault.New("run", "prompts", nil, hint, "the run was started with %d prompts, there are %d now: prompt %s is gone", len(old), len(now), p.ID)
		case p.ID != now[i].ID:
			return fault.New("run", "prompts", nil, hint, "prompt %d was %s, it is %s now", i+1, p.ID, now[i].ID)
		case run.Key(p) != run.Key(now[i]):
			return fault.New("run", "prompts", nil, hint, "prompt %s has changed since the run was started", p.ID)
		}
	}
	if len(now) > len(old) {
		return fault.New("run", "prompts", nil, hint, "the run was started with %d prompts, there are %d now: prompt %s is new", len(old), len(now), now[len(old)].ID)
	}
	return nil
}

// serialize lets goroutines share notify.
func serialize(notify func(Event)) func(Event) {
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if notify != nil {
			notify(e)
		}
	}
}

// round collects the trajectories of a round and trains its head.
func (l *looping) round(ctx context.Context, round int, heads []head) (head, error) {
	if err := l.collect(ctx, round, heads); err != nil {
		return head{}, err
	}
	return l.train(ctx, round, heads)
}
