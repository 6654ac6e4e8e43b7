package recipe

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/orchestrator/tune"
)

// Tuned is a policy that was made from one of the recipe's models, which methods answer by and are measured
// from: a file, or what ivo tune makes of the samples of one of the recipe's runs, chosen on the validation
// prompts by the recipe's reward.
type Tuned struct {
	ID      string
	Model   string       // id of the model that it was made from; "" for the only one
	File    string       // may have {seed} in its name
	Run     string       // id of the run
	Round   int          // whose samples the pairs are: in round 1 the model drew them by itself; 0 for all
	Options tune.Options // what the recipe says is filled in where it is opened
	line    int
}

// tuned reads the policies by name: a file, or a mapping.
func (r *Recipe) tuned(n node) {
	n.entries(func(name string, line int, n node) {
		t := Tuned{ID: name, Round: 1, Options: tune.Options{Loss: tune.DPO, Samples: 2, Seed: 1}, line: line}
		if n.Kind == yaml.ScalarNode {
			t.File, _ = n.text()
		} else {
			t.read(n, r)
		}
		if !slices.ContainsFunc(r.Models, func(m Model) bool { return m.ID == t.Model }) {
			n.wrong("give it model: one of the recipe's", "there is no model %q that it was made from", t.Model)
		}
		r.Tuned = append(r.Tuned, t)
	})
}

func (t *Tuned) read(n node, r *Recipe) {
	o := &t.Options
	n.fields(map[string]func(node){
		"file":   setText(&t.File),
		"model":  setText(&t.Model),
		"run":    setText(&t.Run),
		"round":  setInteger(&t.Round, 0),
		"loss":   func(n node) { o.Loss, _ = one(n, tune.Losses) },
		"beta":   setNumbers(&o.Betas),
		"lr":     setNumbers(&o.Rates),
		"epochs": setInteger(&o.Epochs, 1), "keep": setInteger(&o.Keep, 1), "rank": setInteger(&o.Rank, 0),
		"samples": func(n node) {
			if samples, ok := n.within(1, mostSamples); ok {
				o.Samples = samples
			}
		},
		"max_kl": func(n node) {
			if o.MaxKL, _ = n.number(); o.MaxKL < 0 {
				n.wrong("give it a number of nats, 0 for any", "it is %s", n.kind())
			}
		},
	})
	of := r.Run(t.Run)
	switch {
	case n.Kind != yaml.MappingNode:
	case (t.File == "") == (t.Run == ""):
		n.wrong("give it a file, or the run whose samples it is trained on", "it has %s", map[bool]string{true: "neither", false: "both"}[t.File == ""])
	case t.File != "":
	case of == nil:
		n.wrong("name one of runs", "there is no run %q", t.Run)
	case t.Round > of.Options.Rounds:
		n.wrong("name one of them", "the run %q has %d rounds", of.ID, of.Options.Rounds)
	case r.Prompts.Validation.line == 0:
		n.wrong("give prompts.validation", "policies are chosen on validation prompts, and there are none")
	case o.Loss == tune.SFT && o.Betas != nil:
		n.wrong("leave it out", "%s has no beta", o.Loss)
	default:
		t.Model = of.Model
	}
}

func setNumbers(to *[]float64) func(node) {
	return func(n node) {
		for _, e := range n.list() {
			x, ok := e.number()
			if ok && !(x > 0) {
				e.wrong("give positive ones", "it is %v", x)
			}
			*to = append(*to, x)
		}
	}
}

// Policy is the tuned policy of that name, nil where there is none.
func (r *Recipe) Policy(id string) *Tuned {
	if at := slices.IndexFunc(r.Tuned, func(t Tuned) bool { return t.ID == id }); at >= 0 {
		return &r.Tuned[at]
	}
	return nil
}

// checkPolicy finds what a method that a tuned policy answers by cannot be, and says whose model it is measured from.
func (r *Recipe) checkPolicy(m *Method, say func(hint, format string, args ...any)) {
	t := r.Policy(m.Policy)
	switch {
	case t == nil: // which was said
	case m.Value != "" || m.Rerank || m.Strategy.Method != decode.MethodSample || m.Strategy.Proposal != 0:
		say("use strategy: sample without a value, of whose samples best_of may take the best", "another policy than the model is not guided")
	case m.Models == nil:
		m.Models = []string{t.Model}
	case len(m.Models) != 1 || m.Models[0] != t.Model:
		say("leave models out", "the policy %q was made from the model %q", t.ID, t.Model)
	}
}

// BySeed says whether there is another policy under each seed.
func (t *Tuned) BySeed() bool { return t.Run != "" || strings.Contains(t.File, "{seed}") }

// openTuned loads the policies that are files, and finds models that cannot be trained.
func (x *Experiment) openTuned(p *Problems) {
	for i := range x.Tuned {
		t := &x.Tuned[i]
		if base := x.policyOf(t.Model); t.Run != "" && base != nil {
			if _, err := train.Trainable(base.Metadata()); err != nil {
				p.fail(t.line, "policies."+t.ID, err)
			} else if width := base.Info().Width; t.Options.Rank > width {
				p.add(t.line, "policies.%s: adapters of rank %d for a model of width %d (lower rank)", t.ID, t.Options.Rank, width)
			} else if len(base.adapters.LoRA)+len(base.adapters.Control) > 0 {
				p.add(t.line, "policies.%s: what is trained are the weights of a model, and this one computes with adapters (leave them out, or merge them into its file)", t.ID)
			}
		}
		seeds := x.Seeds
		if !t.BySeed() {
			seeds = seeds[:1]
		}
		for _, seed := range seeds {
			if file := Files([]string{t.File}, seed)[0]; t.Run == "" && file != "" && exists(file, t.line, p) {
				if err := x.LoadTuned(t, seed, file); err != nil {
					p.fail(t.line, "policies."+t.ID, bare(err))
				}
			}
		}
	}
}

// LoadTuned says where the policy of a seed lies, and loads it.
func (x *Experiment) LoadTuned(t *Tuned, seed uint64, file string) error {
	at := learned{t.ID, x.seedOf(t, seed)}
	base := x.policyOf(t.Model)
	if x.tuned[at] != nil || base == nil {
		return nil // if the model is not there, that was said
	}
	m, err := x.o.Load(file)
	if err != nil {
		return err
	}
	x.tuned[at] = m
	return batch.SameTokens(m, base.Model)
}

func (x *Experiment) seedOf(t *Tuned, seed uint64) uint64 {
	if t.BySeed() {
		return seed
	}
	return 0
}

// Drawing is the model that a method's answers are drawn from under a seed.
func (x *Experiment) Drawing(p *Policy, m *Method, seed uint64) *llama.Model {
	if m.Policy == "" {
		return p.Model
	}
	t := x.Policy(m.Policy)
	return x.tuned[learned{t.ID, x.seedOf(t, seed)}]
}

// DrawingIdentity identifies that model on whatever machine: by its fingerprint or, where it is to be trained, by all
// that this depends on.
func (x *Experiment) DrawingIdentity(p *Policy, m *Method, seed uint64) (string, error) {
	fingerprint, err := p.Fingerprint()
	if err != nil || m.Policy == "" {
		return fingerprint, err
	}
	t := x.Policy(m.Policy)
	if t.Run != "" {
		key, err := x.TunedKey(t, seed)
		return fingerprint + " tuned " + key, err
	}
	tuned, err := x.Drawing(p, m, seed).Fingerprint()
	return fingerprint + " tuned " + tuned, err
}

// TunedKey is that of all that a policy which is trained on a run's samples depends on under a seed.
func (x *Experiment) TunedKey(t *Tuned, seed uint64) (string, error) {
	r := x.Run(t.Run)
	key, err := x.Key(r, seed, max(t.Round, 1))
	if t.Round == 0 {
		key, err = x.Key(r, seed, r.Options.Rounds)
	}
	if err != nil {
		return "", err
	}
	o, w := x.Tuning(t, seed)
	o.Workers, o.Context.Threads = 0, 0
	return run.Key("tuned", 1, key, t.Round, o, w.Reward.Info().Fingerprint, w.Validation), nil
}

// Tuning is what a policy is trained by under a seed, but for its pairs and files.
func (x *Experiment) Tuning(t *Tuned, seed uint64) (tune.Options, tune.Work) {
	o, p := t.Options, x.policyOf(t.Model)
	o.Seed, o.Sampling, o.MaxTokens, o.Stop = seed, x.Sampling, x.MaxTokens, x.Stop
	o.Context, o.Parallel, o.Workers = x.Context, x.Parallel, x.Context.Threads
	return o, tune.Work{Model: p.Model, Encoder: p.Encoder, Reward: x.Rewards[0], Validation: p.Validation, Tested: p.Test, Load: x.o.Load}
}
