package recipe

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Guide is what guides a method under a seed: a value function or a reward.
type Guide struct {
	Source   value.Source
	Reward   reward.Model    // whose scores of unfinished answers are the values instead
	Layers   []int           // that the engine has to tap
	Head     *valuehead.Head // the only one, on the policy's states; else nil
	Identity string          // of all that its values depend on
	// Of a value function that heads on the policy's states are, and nothing else: their files, and what is read
	// of them.
	Heads   []string
	Reading valuehead.Reading

	function *value.Function
}

func (g *Guide) close() error {
	var errs []error
	if g.function != nil {
		errs = append(errs, g.function.Close())
	}
	if g.Reward != nil {
		errs = append(errs, g.Reward.Close())
	}
	return errors.Join(errs...)
}

// reading is what a method reads of its value function.
func (r *Recipe) reading(v *Value, m *Method) valuehead.Reading {
	if m.Soft {
		return valuehead.Reading{Beta: m.Strategy.Guide.Beta, Within: v.Reading.Within}
	}
	return v.Reading
}

// Value is the value function of that name.
func (r *Recipe) Value(id string) *Value {
	return &r.Values[slices.IndexFunc(r.Values, func(v Value) bool { return v.ID == id })]
}

// guide opens a method's value function under a seed, once.
func (x *Experiment) guide(m *Method, seed uint64) (*Guide, error) {
	v := x.Value(m.Value)
	s := v.Source
	if v.learns() {
		s.Heads = []string{x.learned[learned{v.ID, seed}]}
	}
	o := value.Options{
		Heads: Files(s.Heads, seed), Model: Files([]string{s.Model}, seed)[0], Reading: x.reading(v, m), Load: x.o.Load,
		Params: engine.Params{Ctx: batch.KeptCells, Sequences: x.Parallel, Threads: x.Context.Threads},
	}
	key := fmt.Sprint(o.Heads, o.Model, o.Reading, s.Reward)
	if g := x.guides[key]; g != nil {
		return g, nil
	}
	g := &Guide{}
	var err error
	if s.Reward != "" {
		if g.Reward, err = reward.Open(s.Reward, reward.Options{AllowCommands: x.o.AllowCommands, Timeout: x.o.Timeout, Workers: x.o.Workers}); err != nil {
			return nil, err
		}
		g.Identity = "reward " + g.Reward.Info().Fingerprint
	} else {
		if g.function, err = value.Open(o); err != nil {
			return nil, err
		}
		g.Source, g.Layers, g.Head = g.function.Source, g.function.Layers, g.function.Head
		if o.Model == "" {
			g.Heads, g.Reading = o.Heads, o.Reading
		}
		if g.Identity, err = g.function.Identity(); err != nil {
			return nil, errors.Join(err, g.close())
		}
	}
	x.guides[key] = g
	return g, nil
}

// Guide is a value function of the recipe by its name.
func (x *Experiment) Guide(id string, seed uint64) (*Guide, error) {
	return x.guide(&Method{Value: id}, seed)
}

// Check finds that a value function on the policy's states was learned from those of another one.
func (g *Guide) Check(p *Policy) error {
	if g.function == nil {
		return nil
	}
	return g.function.CheckPolicy(p.Model)
}

// Learned says where the head lies that was learned for a value under a seed, and finds the methods that it cannot
// guide.
func (x *Experiment) Learned(id string, seed uint64, file string) error {
	x.learned[learned{id, seed}] = file
	p := &Problems{Path: x.Path}
	for i := range x.Methods {
		if m := &x.Methods[i]; m.Value == id {
			x.checkGuidance(m, []uint64{seed}, p)
		}
	}
	return p.err()
}

// learns says whether it takes work to have it.
func (v *Value) learns() bool { return v.Source.Learn != nil || v.Source.Run != "" }

// BySeed says whether there is another value function under each seed.
func (v *Value) BySeed() bool {
	return v.Source.Run != "" || strings.Contains(strings.Join(v.Source.Heads, " ")+v.Source.Model, "{seed}")
}

// openValues opens the value functions, and finds those that do not suit what they are to guide.
func (x *Experiment) openValues(p *Problems) {
	used := map[string]bool{}
	for i := range x.Methods {
		m := &x.Methods[i]
		used[m.Value] = true
		x.checkGuidance(m, x.Seeds, p)
	}
	for i := range x.Values {
		v := &x.Values[i]
		if !used[v.ID] { // it is opened all the same, to find what is wrong with it
			x.checkGuidance(&Method{Entry: v.ID, Value: v.ID, Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: x.Sampling, line: v.line}, x.Seeds, p)
		}
	}
}

// checkGuidance finds what a method lacks to be guided under each of some seeds.
func (x *Experiment) checkGuidance(m *Method, seeds []uint64, p *Problems) {
	draw := x.Bare(m)
	if m.Rerank {
		draw.Rerank = noReward{}
	}
	if m.Value == "" {
		if err := draw.CheckGuidance(); err != nil {
			p.fail(m.line, m.name(), bare(err))
		}
		return
	}
	if !slices.ContainsFunc(x.Values, func(v Value) bool { return v.ID == m.Value }) {
		return // which was said
	}
	v := x.Value(m.Value)
	what := "values." + v.ID
	if _, there := x.learned[learned{v.ID, seeds[0]}]; v.learns() && !there {
		if v.Source.Run != "" {
			x.checkRun(m, v, p)
		} else {
			x.checkLearn(m, v, p)
		}
		return
	}
	if !v.BySeed() {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		there := true
		for _, file := range Files(append(slices.Clone(v.Source.Heads), v.Source.Model), seed) {
			there = there && (file == "" || exists(file, v.line, p))
		}
		if !there {
			continue
		}
		for _, file := range Files(v.Source.Heads, seed) {
			dir := filepath.Dir(filepath.Dir(file)) // of a round's head the run; of another reward's a folder in it
			if !run.IsRun(dir) {
				dir = filepath.Dir(dir)
			}
			x.checkLearnedOn(dir, v, p)
		}
		g, err := x.guide(m, seed)
		if errors.Is(err, reward.ErrCommand) {
			p.add(v.line, "%s: the reward %s starts a program, which recipes may not do by themselves (allow it with %s)", what, v.Source.Reward, spell("allow_commands"))
			continue
		}
		if err != nil {
			p.fail(v.line, what, bare(err))
			continue
		}
		for _, policy := range x.Policies {
			if !m.Of(policy) {
				continue
			}
			if err := g.Check(policy); err != nil {
				p.fail(v.line, what, bare(err))
			}
		}
		draw.Value, draw.ValueBy = g.Source, g.Reward
		if err := draw.CheckGuidance(); err != nil {
			p.fail(m.line, m.name(), bare(err))
		}
	}
}

// noReward stands for one in checks.
type noReward struct{ reward.Model }

// checkLearn finds what is wrong with the run that a value function is to be learned from.
func (x *Experiment) checkLearn(m *Method, v *Value, p *Problems) {
	what, l := "values."+v.ID, v.Source.Learn
	if l.Run == "" {
		return // which was said
	}
	x.checkLearnedOn(l.Run, v, p)
	o, err := runOf(l)
	switch {
	case err != nil:
		p.fail(v.line, what, fmt.Errorf("%w (name the folder of a finished ivo iterate)", bare(err)))
		return
	case l.Round > o.Rounds:
		p.add(v.line, "%s: there is no round %d in %s (it has %d)", what, l.Round, l.Run, o.Rounds)
	}
	if len(x.Rewards) > 0 {
		info := x.Rewards[0].Info()
		if folder := run.RewardFolder(info.Name, info.Fingerprint); folder != o.Inputs.Scores && !exists(filepath.Join(l.Run, "rewards", folder), v.line, &Problems{}) {
			p.add(v.line, "%s: the run in %s was not scored by the reward %s (let ivo score do so)", what, l.Run, info.Name)
		}
	}
	for _, policy := range x.Policies {
		if !m.Of(policy) {
			continue
		}
		if fingerprint, err := policy.Fingerprint(); err != nil {
			p.fail(v.line, what, err)
		} else if fingerprint != o.Inputs.Backbone {
			p.add(v.line, "%s: the run in %s was made with another model than %s (name a run of this one, or the method's models)", what, l.Run, policy.Path())
		}
	}
}

// checkLearnedOn finds prompts that are chosen or tested on among those that a value function was learned from, if
// it was in a run.
func (r *Recipe) checkLearnedOn(dir string, v *Value, p *Problems) {
	if !run.IsRun(dir) {
		return
	}
	records, err := loop.Prompts(dir, run.PromptsFile)
	if err != nil { // a run that has been moved in parts says nothing
		return
	}
	learned := Part{File: dir, Records: records}
	for _, part := range r.Prompts.parts()[1:] { // it may have learned from those of train
		if shared := part.shared(&learned, &r.Encoding); len(shared) > 0 {
			p.add(v.line, "values.%s: it was learned from prompts of prompts.%s: %s (take another run, or others of its prompts: what was learned from says little when it is tested on)", v.ID, part.name, some(shared))
		}
	}
}
