package recipe

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Run is one of ivo iterate that the experiment makes itself: under each of its seeds, of the prompts to train on,
// with the base policy and the reward of the recipe.
type Run struct {
	ID      string
	Model   string       // id of the policy; "" for the only one
	Options loop.Options // those of all seeds; what the recipe says is filled in where it is opened
	layered bool         // the layers are named
	line    int
	context int // line of its cells

	policy *Policy
	kept   []prompt.Encoded // of the prompts to train on
}

// runs reads the runs by name.
func (r *Recipe) runs(n node) {
	n.entries(func(name string, line int, n node) {
		of := Run{ID: name, Options: loop.Defaults(0), line: line}
		of.read(n)
		r.Runs = append(r.Runs, of)
	})
}

func (r *Run) read(n node) {
	o := &r.Options
	n.fields(map[string]func(node){
		"model":           setText(&r.Model),
		"rounds":          setInteger(&o.Rounds, 1),
		"samples":         setInteger(&o.Samples, 1),
		"round_prompts":   setInteger(&o.RoundPrompts, 0),
		"kind":            func(n node) { o.Head.Kind, _ = one(n, kinds) },
		"warm_start":      setTruth(&o.Head.WarmStart),
		"last_round_only": setTruth(&o.Head.LastRoundOnly),
		"context":         setCells(&o.Context.Cells, &r.context),
		"parallel":        setSequences(&o.Parallel, 1),
		"collect": func(n node) {
			n.fields(map[string]func(node){"beams": setInteger(&o.Collect.Beams, 1), "block": setInteger(&o.Collect.Block, 1)})
		},
		"layers": func(n node) {
			r.layered, o.Layers = true, nil
			for _, e := range n.list() {
				layer, ok := e.integer(0)
				o.Layers, r.layered = append(o.Layers, layer), r.layered && ok
			}
		},
	})
}

// Run is the run of that name, nil where there is none.
func (r *Recipe) Run(id string) *Run {
	if at := slices.IndexFunc(r.Runs, func(x Run) bool { return x.ID == id }); at >= 0 {
		return &r.Runs[at]
	}
	return nil
}

// openRuns finds what of the runs cannot be done.
func (x *Experiment) openRuns(p *Problems) {
	for i := range x.Runs {
		r := &x.Runs[i]
		what := "runs." + r.ID
		switch at := slices.IndexFunc(x.Models, func(m Model) bool { return m.ID == r.Model }); {
		case at < 0:
			p.add(r.line, "%s: there is no model %q (give it model: one of the recipe's)", what, r.Model)
			continue
		case x.Prompts.Train.line == 0:
			p.add(r.line, "%s: there are no prompts to train on (give prompts.train)", what)
			continue
		}
		if r.policy = x.policyOf(r.Model); r.policy == nil || len(x.Rewards) == 0 {
			continue // which was said
		}
		o := &r.Options
		o.Model, o.Prompts, o.Reward = r.policy.Path(), x.Prompts.Train.File, x.Reward.Spec
		o.Sampling, o.MaxTokens, o.Stop, o.Thoughts, o.Context.Threads = x.Sampling, x.MaxTokens, x.Stop, x.Thoughts, x.Context.Threads
		o.LoRA, o.ControlVector = r.policy.adapters.Spelled()
		e := x.Encoding
		o.Encoding = loop.Encoding{Chat: e.Chat, System: e.System, Template: e.Template, ParseContent: e.ParseContent}
		if e.Kwargs != nil {
			kwargs, _ := json.Marshal(e.Kwargs) // it was read from YAML
			o.Encoding.Kwargs = string(kwargs)
		}
		if !e.Date.IsZero() {
			o.Encoding.Date = e.Date.Format(time.DateOnly)
		}
		last := r.policy.Info().Layers
		if !r.layered {
			o.Layers = loop.Defaults(last).Layers
		}
		for i, layer := range o.Layers {
			if layer > last || slices.Contains(o.Layers[:i], layer) {
				p.add(r.line, "%s: layer %d of %v (give each once, from 0 to %d, which is the state after the final norm)", what, layer, o.Layers, last)
			}
		}
		x.room(r.policy, o.Context.Cells, r.context, what+".context", p)
		if err := o.Validate(); err != nil {
			p.fail(r.line, what, bare(err))
			continue
		}
		var err error
		if r.kept, _, err = prompt.Fit(r.policy.Encoder, x.Prompts.Train.Records, func(tokens int) error { return o.Fits(tokens, r.policy.Info().ContextTrain) }, true); err != nil {
			p.fail(r.line, what, err)
		}
	}
}

func (x *Experiment) policyOf(id string) *Policy {
	if at := slices.IndexFunc(x.Policies, func(p *Policy) bool { return p.ID == id }); at >= 0 {
		return x.Policies[at]
	}
	return nil
}

// Loop is what a run is made of under a seed.
func (x *Experiment) Loop(r *Run, seed uint64) (loop.Options, loop.Work) {
	o := r.Options
	o.Seed = seed
	return o, loop.Work{Model: r.policy.Model, Encoder: r.policy.Encoder, Reward: x.Rewards[0], Prompts: r.kept, Drawer: x.Drawer, Elsewhere: x.Elsewhere, Own: x.Own}
}

// Key is that of all that the run's first rounds under a seed depend on, on whatever machine.
func (x *Experiment) Key(r *Run, seed uint64, rounds int) (string, error) {
	fingerprint, err := r.policy.Fingerprint()
	if err != nil {
		return "", err
	}
	o, w := x.Loop(r, seed)
	o.Rounds, o.Model, o.Prompts, o.Context.Threads = rounds, "", "", 0
	o.LoRA, o.ControlVector = nil, nil // which are in the fingerprint
	o.Encoding = loop.Encoding{}
	return run.Key("run", 1, fingerprint, r.policy.Encoder.Identity(), w.Reward.Info().Fingerprint, o, w.Prompts), nil
}

// checkRun finds what is wrong with a value function that a run of the recipe is to teach.
func (x *Experiment) checkRun(m *Method, v *Value, p *Problems) {
	what, r := "values."+v.ID, x.Run(v.Source.Run)
	l := v.Source.Learn
	if rounds := r.Options.Rounds; v.Source.After > rounds || l != nil && l.Round > rounds {
		p.add(v.line, "%s: the run %q has %d rounds (name one of them)", what, r.ID, rounds)
	}
	if v.Source.Model != "" {
		exists(v.Source.Model, v.line, p)
		return
	}
	for _, policy := range x.Policies {
		if m.Of(policy) && policy.ID != r.Model {
			p.add(v.line, "%s: its head reads the states of the model %q, and %s is another one (give it model: the file of the former, or the method models: [%s])", what, r.Model, policy.Path(), r.Model)
		}
	}
}

// ofRun makes of a value that names a run of the recipe one that is learned from it, and of one that names the
// value function of a run's round its file.
func (v *Value) ofRun(n node, r *Recipe, after int, others bool) {
	s := &v.Source
	if after > 0 && others {
		n.wrong("leave them out, or after", "the value function after a round is there, and round, target, kind, ahead and seed say how another is learned")
	}
	if r.Run(s.Learn.Run) != nil {
		s.Run, s.After = s.Learn.Run, after
	} else if after > 0 {
		s.Heads = []string{s.Learn.Run + "/" + run.Head(after)}
	}
	if after > 0 {
		s.Learn = nil
	}
}

// Foretold says whether all that the value's guidance depends on is known before it is learned.
func (x *Experiment) Foretold(value string) bool {
	return value == "" || !x.Value(value).learns() || x.Value(value).Source.Run != ""
}

// rounds is the number of a run's rounds that a value function has learned from.
func (v *Value) rounds(r *Run) int {
	switch {
	case v.Source.After > 0:
		return v.Source.After
	case v.Source.Learn.Round > 0:
		return v.Source.Learn.Round
	}
	return r.Options.Rounds
}

// Identity is that of all that a method's guidance under a seed depends on, which for what a run of the recipe
// teaches is known before the run is there.
func (x *Experiment) Identity(m *Method, seed uint64) (string, error) {
	if m.Value == "" {
		return "", nil
	}
	v := x.Value(m.Value)
	r := x.Run(v.Source.Run)
	if r == nil {
		g, err := x.guide(m, seed)
		if err != nil {
			return "", err
		}
		return g.Identity, nil
	}
	key, err := x.Key(r, seed, v.rounds(r))
	if err != nil {
		return "", err
	}
	var learned *Learn
	if v.Source.Learn != nil {
		l := *v.Source.Learn
		l.Seed, learned = seed, &l
	}
	model := ""
	if v.Source.Model != "" {
		content, err := run.Identify(v.Source.Model)
		if err != nil {
			return "", err
		}
		model = content.XXHash
	}
	return run.Key("value of a run", 1, key, v.Source.After, learned, x.reading(v, m), model), nil
}
