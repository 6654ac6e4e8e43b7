package recipe

import (
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// checkFirst finds a model whose first method, which its others are compared with, is not one.
func (r *Recipe) checkFirst(methods []Method, p *Problems) {
	for _, model := range r.Models {
		at := slices.IndexFunc(methods, func(m Method) bool { return m.of(model.ID) })
		if at < 0 || methods[at].Choose == nil && methods[at].Settings == nil {
			continue
		}
		first := "the first"
		if at > 0 {
			first = fmt.Sprintf("the first of the model %q", model.ID)
		}
		p.add(methods[at].line, "%s is %s, which others are compared with, and has several variations (put one without a sweep first, such as {id: base, strategy: sample})", methods[at].name(), first)
	}
}

// checkModels finds those that nothing is done with.
func (r *Recipe) checkModels(p *Problems) {
	for _, model := range r.Models {
		used := slices.ContainsFunc(r.Runs, func(x Run) bool { return x.Model == model.ID }) || slices.ContainsFunc(r.Tuned, func(t Tuned) bool { return t.Model == model.ID })
		for i := range r.Methods {
			used = used || r.Methods[i].of(model.ID) || slices.ContainsFunc(r.Methods[i].Models, func(id string) bool { return !r.named(id) }) // which may be meant
		}
		if !used {
			p.add(model.line, "no method is for the model %q (name it under models of one, or leave it out)", model.ID)
		}
	}
}

// saying notes what is wrong with a method.
func (m *Method) saying(p *Problems) func(hint, format string, args ...any) {
	return func(hint, format string, args ...any) {
		p.add(m.line, "%s: %s (%s)", m.name(), fmt.Sprintf(format, args...), hint)
	}
}

// checkNamed finds what a method names and is not there, and a sampling that is none.
func (r *Recipe) checkNamed(m *Method, p *Problems) {
	say := m.saying(p)
	if err := m.Sampling.Check(); err != nil {
		p.fail(m.line, m.name(), bare(err))
	}
	if m.Value != "" && !slices.ContainsFunc(r.Values, func(v Value) bool { return v.ID == m.Value }) {
		say(hintNamed("values", r.Values, func(v Value) string { return v.ID }), "there is no value %q", m.Value)
	}
	if m.Policy != "" && r.Policy(m.Policy) == nil {
		say(hintNamed("policies", r.Tuned, func(t Tuned) string { return t.ID }), "there is no policy %q", m.Policy)
	}
	for _, id := range m.Models {
		if !r.named(id) {
			say("name models of the recipe", "there is no model %q", id)
		}
	}
	if m.Choose == nil {
		return
	}
	if r.Prompts.Validation.line == 0 {
		say("give prompts.validation", "settings are chosen on validation prompts, and there are none")
	}
	for _, x := range m.Choose.Within {
		if !slices.ContainsFunc(r.Watch, func(w Reward) bool { return w.Spec == x.Watch }) {
			say("put it under watch", "what may be chosen is to stay within %v by %s, which is not watched", x.Room, x.Watch)
		}
	}
}

// named says whether there is a model of that name.
func (r *Recipe) named(model string) bool {
	return slices.ContainsFunc(r.Models, func(x Model) bool { return x.ID == model })
}

// check finds what no variation can be, as far as the recipe alone tells.
func (r *Recipe) check(m *Method, p *Problems) {
	r.checkNamed(m, p)
	say := m.saying(p)
	if err := m.Strategy.Check(r.Parallel); err != nil {
		p.fail(m.line, m.name(), bare(err))
	} else if m.Strategy.Method == decode.MethodSample && m.Samples > r.Parallel {
		say("lower samples, or raise parallel", "%d samples of a prompt at once, there is room for %d sequences", m.Samples, r.Parallel)
	}
	if m.Policy != "" {
		r.checkPolicy(m, say)
	}
	if err := m.Thoughts.Check(m.Strategy, true, m.Rerank); err != nil { // if the model marks its thoughts: see openPolicies
		p.fail(m.line, m.name(), bare(err))
	}
	switch {
	case m.BestOf > m.Samples:
		say("raise samples", "the best of %d of %d samples", m.BestOf, m.Samples)
	case m.Samples%m.BestOf != 0:
		say("give samples a multiple of best_of", "%d samples are not sets of %d, of which the best would be taken", m.Samples, m.BestOf)
	case m.BestOf > 1 && m.By == "":
		say("give by: reward or value", "it does not say what the best of %d is chosen by", m.BestOf)
	case m.By == ByValue && m.Value == "":
		say("give it a value", "samples are chosen by a value, and there is none")
	case m.Soft && (!m.Strategy.RawBeta || !m.Strategy.Tokenwise()):
		say("set raw: true, and choose a method that is guided token by token", "soft reads V_beta by the strategy's own beta in units of the reward")
	case m.Policy != "" && m.Sampling.Constrained():
		say("leave sampling.grammar, ignore_eos and min_tokens out", "the KL of another policy from the model under a grammar, or with another end, is not known")
	case m.Value != "" && !m.Sampling.Equal(r.Sampling):
		say("leave sampling or value out", "the KL from another base policy is known without a value only")
	case m.Choose != nil && m.Settings == nil:
		say("leave choose out, or give a key a list of values", "there is nothing to choose from")
	}
}

// hintNamed says what to do about a name that is not there.
func hintNamed[T any](key string, there []T, name func(T) string) string {
	hint := "define it under " + key
	for i, x := range there {
		hint += map[bool]string{true: ", or choose from ", false: ", "}[i == 0] + name(x)
	}
	return hint
}
