package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// effort is how much of the recipe is done.
type effort struct {
	name                string
	learn, choose, test int // prompts, at most
	seeds               int
	curve               int  // prompts up to which the value function is learned from more and more of them; 0 for no curve
	rounds              bool // two rounds are compared with as many responses of one
	methods             func(task) families
}

// efforts by name. The default one is meant to answer in under 45 minutes on two cores what counts
// most; quick to show in under 12 that all of it works; learning goes on from the default one, in about
// two hours more, with what more prompts and a second round teach.
var efforts = map[string]effort{
	"quick":    {"quick", 100, 16, 40, 1, 0, false, few},
	"default":  {"default", 400, choosePrompts, testPrompts, 1, 0, false, most},
	"learning": {"learning", 400, choosePrompts, testPrompts, 1, learnPrompts, true, most},
	"full":     {"full", 400, choosePrompts, testPrompts, 3, learnPrompts, true, all},
}

// recipe is the whole of make real.
type recipe struct {
	model  string // file of the policy
	out    string // folder of what takes work
	doc    string // file of the report
	effort effort
	tasks  []task
	show   func(stage string, done, total int, unit, note string)

	m *llama.Model
}

// threads are those of one of two contexts: what of a step is not llama.cpp's, and a shard's last sequences, leave no core
// idle then, and there are two shards of everything.
func threads() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// sampling is the base policy.
var sampling = policy.Sampling{Temp: 0.7}

// run does what of the recipe is not done, and writes the report.
func (r *recipe) run(ctx context.Context) (err error) {
	if r.m, err = llama.Load(r.model, llama.ModelParams{}); err != nil {
		return err
	}
	defer r.m.Close()
	var results []result
	for _, t := range r.tasks {
		res, err := r.task(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		results = append(results, *res)
		if err := r.page(*res); err != nil {
			return err
		}
	}
	return r.report(results)
}

// result is what a task gave.
type result struct {
	task
	trained []learn.Metrics // of each seed's value function
	curve   []point         // what it comes to of fewer and of more prompts
	choices []choice        // one a family
	rows    []row           // on the test prompts, the base policy's first
	tested  []prompt.Record // these prompts
}

// task learns the value functions of a task, chooses the settings of every family of methods,
// and answers the test prompts by those.
func (r *recipe) task(ctx context.Context, t task) (_ *result, err error) {
	w := work{recipe: r, task: t, heads: map[string][]head{}}
	if w.encoder, err = prompt.NewEncoder(r.m, prompt.Options{}); err != nil {
		return nil, err
	}
	for _, spec := range append([]string{t.reward}, t.others...) {
		rm, err := reward.Open(spec, reward.Options{})
		if err != nil {
			return nil, err
		}
		defer rm.Close()
		w.rewards = append(w.rewards, rm)
	}
	prompts := t.prompts.learn[:min(r.effort.learn, len(t.prompts.learn))]
	dir := filepath.Join(r.out, fmt.Sprintf("%s-%d", t.name, len(prompts)))
	if w.cells, err = run.Open(filepath.Join(dir, "cells")); err != nil {
		return nil, err
	}
	defer w.cells.Close()
	out := &result{task: t}
	for seed := 1; seed <= r.effort.seeds; seed++ {
		o := w.options(seed)
		h, m, err := w.learn(ctx, filepath.Join(dir, fmt.Sprintf("run-%d", seed)), prompts, o)
		if err != nil {
			return nil, err
		}
		w.heads[""], w.layers, out.trained = append(w.heads[""], *h), o.Layers, append(out.trained, *m)
	}
	if r.effort.curve > 0 {
		if out.curve, err = w.curve(ctx, dir, r.effort.curve); err != nil {
			return nil, err
		}
	}
	if r.effort.rounds {
		if err := w.rounds(ctx, dir, prompts); err != nil {
			return nil, err
		}
	}
	// Cells of the largest search and of a few prompts side by side.
	if w.pool, err = engine.NewPool(r.m, engine.Params{Ctx: 8192, Sequences: 64, Threads: threads(), Layers: w.layers}, 0); err != nil {
		return nil, err
	}
	defer w.pool.Close()

	f := r.effort.methods(t)
	families := f.list()
	if r.effort.rounds {
		families = append(families, f.control()...)
	}
	choose, test := t.prompts.choose, t.prompts.test
	choose, test = choose[:min(r.effort.choose, len(choose))], test[:min(r.effort.test, len(test))]
	rows, err := w.rows(ctx, "choose", choose, toTry(t, families))
	if err != nil {
		return nil, err
	}
	var chosen []method
	for _, f := range families {
		c := f.pick(t, rows)
		out.choices = append(out.choices, c)
		for _, m := range c.taken {
			if !slices.ContainsFunc(chosen, func(o method) bool { return o.name == m.name }) {
				chosen = append(chosen, m)
			}
		}
	}
	out.tested = test
	out.rows, err = w.rows(ctx, "test", test, chosen)
	return out, err
}

// toChooseOn is the number of answers, at most, that are drawn for a prompt to choose on: as many as a
// method of the task may decode that something is claimed of.
func (t task) toChooseOn() int {
	if t.inside {
		return 16
	}
	return 4
}

// searchesToChooseOn is the number of answers that are drawn by a search that asks the reward for a
// prompt to choose on. Such searches are compared with the best of several samples, of which that
// many are drawn: one answer each to 50 prompts would choose the luckiest of them.
const searchesToChooseOn = 3

// toTry are the methods that are tried on the prompts to choose on: those that settings are chosen
// of, and what the base policy's samples tell. The best of more samples is judged by that of few.
func toTry(t task, families []family) (out []method) {
	for _, f := range families {
		for _, m := range f.grid {
			if f.show && m.Name != families[0].grid[0].Name {
				continue
			}
			m.Samples, m.n = min(m.Samples, t.toChooseOn()), min(m.n, t.toChooseOn())
			if m.Rerank {
				m.Samples = searchesToChooseOn
			}
			out = append(out, m)
		}
	}
	return out
}

// choice is what of a family was taken, and what it was chosen from.
type choice struct {
	family
	tried []row // of the grid
	taken []method
}

// room is by how much the share of different word pairs may fall below the base policy's on the
// prompts that settings are chosen on: less than what must show on the test prompts, .04.
const room = 0.03

// pick takes what of the family has the largest reward on the prompts to choose on, among what
// stays near enough to the base policy; the nearest where nothing does. rows are all methods'
// there, the base policy's first.
func (f family) pick(t task, rows []row) choice {
	c := choice{family: f}
	find := func(name string) int { return slices.IndexFunc(rows, func(r row) bool { return r.name == name }) }
	for _, m := range f.grid {
		i := find(m.name)
		if i < 0 {
			continue
		}
		if f.within != "" {
			if rows[i].tokens > rows[find(f.within)].tokens {
				continue
			}
			c.tried = slices.DeleteFunc(c.tried, func(r row) bool { return r.Name == m.Name && r.n < m.n })
		}
		c.tried = append(c.tried, rows[i])
	}
	if f.show {
		c.taken = f.grid
		return c
	}
	near := slices.DeleteFunc(slices.Clone(c.tried), func(r row) bool { return !r.near(t, rows[0]) })
	best := func(a, b row) int { return cmp.Compare(mean(a.reward), mean(b.reward)) }
	if len(near) == 0 {
		near, best = c.tried, func(a, b row) int { return cmp.Compare(mean(b.kl), mean(a.kl)) }
	}
	name := slices.MaxFunc(near, best).name
	at := slices.IndexFunc(f.grid, func(m method) bool { return m.name == name })
	c.taken = f.grid[at : at+1]
	return c
}

// near says whether answers are near enough to the base policy's for a setting to be chosen.
func (r *row) near(t task, base row) bool {
	if r.kind != alone && r.exact && mean(r.kl) > t.maxKL {
		return false
	}
	return mean(r.others[distinct]) >= mean(base.others[distinct])-room
}

func mean(xs []float64) float64 {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}
