package recipe

import (
	"math"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/valuehead"
)

// kinds are those of heads that a recipe may learn.
var kinds = []string{learn.Auto, learn.Ridge, string(valuehead.Additive), string(valuehead.Recall), string(valuehead.MLP), string(valuehead.Linear)}

// values reads the value functions: a head's file, or a mapping.
func (r *Recipe) values(n node) {
	n.entries(func(name string, line int, n node) {
		v := Value{ID: name, line: line}
		if n.Kind == yaml.ScalarNode {
			if file, ok := n.text(); ok {
				v.Source.Heads = []string{file}
			}
		} else {
			v.read(n, r)
		}
		r.Values = append(r.Values, v)
	})
}

func (v *Value) read(n node, r *Recipe) {
	var of []string // where it comes from
	from := func(name string, read func(node)) func(node) {
		return func(n node) {
			if !slices.Contains(of, name) {
				of = append(of, name)
			}
			read(n)
		}
	}
	l := &Learn{Target: string(valuehead.MonteCarloReturn), Seed: 1}
	after, others := 0, false // the run's own value function; or how another is learned
	how := func(read func(node)) func(node) {
		return from("run", func(n node) { others = true; read(n) })
	}
	reading, bounded := 0, false
	read := func(to *float64) func(node) {
		return func(n node) { reading++; *to, _ = n.number() }
	}
	heads := from("head", func(n node) { v.Source.Heads = append(v.Source.Heads, n.texts()...) })
	n.fields(map[string]func(node){
		"head": heads, "heads": heads,
		"model":  from("model", setText(&v.Source.Model)),
		"reward": from("reward", setText(&v.Source.Reward)),
		"run":    from("run", setText(&l.Run)),
		"after":  from("run", setInteger(&after, 1)),
		"round":  how(setInteger(&l.Round, 0)),
		"target": how(func(n node) {
			if t, ok := one(n, valuehead.Targets); ok {
				l.Target = string(t)
			}
		}),
		"kind":  how(func(n node) { l.Kind, _ = one(n, kinds) }),
		"ahead": how(setTruth(&l.Ahead)),
		"seed": how(func(n node) {
			if s, ok := n.within(0, math.MaxInt); ok {
				l.Seed = uint64(s)
			}
		}),
		"beta": read(&v.Reading.Beta), "pessimistic": read(&v.Reading.Pessimistic), "quantile": read(&v.Reading.Quantile),
		"within": func(n node) { bounded = true; v.Reading.Within, _ = n.number() },
	})
	if n.Kind != yaml.MappingNode {
		return
	}
	slices.Sort(of)
	switch {
	case len(of) == 0:
		n.wrong("give it head, model, reward or run", "it does not say where the values come from")
	case len(of) > 1 && !slices.Equal(of, []string{"head", "model"}) && !(slices.Equal(of, []string{"model", "run"}) && (after > 0 || r.Run(l.Run) != nil)):
		n.wrong("give one of head, model, reward and run, or a head with the model whose states it reads", "it has %v", of)
	case slices.Contains(of, "run") && l.Run == "":
		n.wrong("name one of runs, or a folder of ivo iterate", "run is missing")
	case bounded && v.Source.Reward != "":
		n.wrong("leave it out", "within bounds what was learned, and a reward is what it is")
	case reading > 0 && v.Source.Reward != "":
		n.wrong("leave them out", "beta, pessimistic and quantile read a distribution, and a reward has none")
	}
	if slices.Contains(of, "run") {
		l.resolve(n)
		v.Source.Learn = l
		v.ofRun(n, r, after, others)
	}
	if err := v.Reading.Check(); err != nil {
		n.p.fail(n.Line, n.name, bare(err))
	}
}

// resolve fills in what a target leaves open: that of TD is for all heads but additive ones, and that of CD-Q for those
// in closed form, and for those that value tokens before they are fed, as recall heads can.
func (l *Learn) resolve(n node) {
	target := valuehead.Target(l.Target)
	bootstraps := target == valuehead.CDQ || target == valuehead.TDLambda
	switch kind := valuehead.Kind(l.Kind); {
	case kind == valuehead.Additive && bootstraps, target == valuehead.CDQ && (kind == valuehead.MLP || kind == valuehead.Linear):
		n.wrong("choose ridge or recall, or leave kind out", "a head of kind %s is not fitted to the target %s", kind, target)
	case kind == valuehead.Recall && target == valuehead.CDQ:
		l.Ahead = true
	case kind == "" && l.Ahead:
		l.Kind = string(valuehead.Recall)
	case kind == "" && target == valuehead.CDQ:
		l.Kind = learn.Auto
	}
	if l.Ahead && l.Kind != string(valuehead.Recall) {
		n.wrong("choose recall, or leave ahead out: what tokens add is learned beside heads of other kinds", "heads of kind %s do not value tokens before they are fed", l.Kind)
	}
}
