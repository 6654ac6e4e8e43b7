package recipe

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// mostSamples of a prompt are as many as somebody means: their answers are in memory at once.
const mostSamples = 1000

// mostVariations of one method are a sweep that somebody meant.
const mostVariations = 1000

// uses are the keys of a strategy that make a difference to each method, besides proposal.
var uses = map[decode.Method][]string{
	decode.MethodSample:        {"proposal", "raw", "guide"},
	decode.MethodBestOfN:       {"n", "proposal", "raw", "rerank", "guide"},
	decode.MethodTokenwise:     {"k", "beta", "raw", "rest", "least_p", "guide"},
	decode.MethodGreedy:        {"k", "beta", "raw", "least_p", "guide"},
	decode.MethodBlockSampling: {"k", "beta", "raw", "rest", "least_p", "block", "guide"},
	decode.MethodOnePass:       {"k", "beta", "raw", "rest", "least_p", "guide"},
	decode.MethodBlockBestOfK:  {"n", "block", "proposal", "raw", "rerank", "rollouts", "rollout_tokens", "guide"},
	decode.MethodBlockBeam:     {"beams", "block", "proposal", "raw", "rerank", "rollouts", "rollout_tokens", "guide"},
}

// axis is a key of a method with the values that it is swept over: functions that set them.
type axis struct {
	key    string
	line   int
	values []string
	set    []func(*Method)
	swept  bool // it was written as a list
}

// entry is a method as it is written, before its sweeps are unfolded.
type entry struct {
	node
	base Method
	axes []*axis
	id   string
}

// methods reads the list of methods and unfolds their sweeps.
func (r *Recipe) methods(n node) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		n.wrong("write a list of methods, the base policy first", "it is %s", n.kind())
		return
	}
	ids := map[string]int{}
	whole, known := true, 0 // whether all could be read, and the number of methods before the first that could not
	for _, e := range n.list() {
		all := r.method(e)
		for _, m := range all {
			if line, twice := ids[m.ID]; twice {
				e.wrong("give every method and variation an id of its own", "the id %q is taken by the method on line %d", m.ID, line)
				break
			}
			ids[m.ID] = e.Line
		}
		r.Methods = append(r.Methods, all...)
		if whole = whole && all != nil; whole {
			known = len(r.Methods)
		}
	}
	r.checkFirst(r.Methods[:known], n.p)
	if whole {
		r.checkModels(n.p)
	}
}

func (r *Recipe) method(n node) []Method {
	e := &entry{node: n, base: Method{
		Strategy: decode.Strategy{Method: decode.MethodSample, N: 4, Beam: decode.Beam{Beams: 4, Block: 4}, Guide: decode.Guide{TopK: 20, Beta: 2, Rest: decode.RestParent, LeastP: 0.001, Every: 1}},
		Sampling: r.Sampling, Thoughts: r.Thoughts, Samples: 1, BestOf: 1, line: n.Line,
	}}
	e.base.Sampling.LogitBias = maps.Clone(r.Sampling.LogitBias) // to which it may add
	before := len(n.p.List)
	n.fields(map[string]func(node){
		"id":       setText(&e.id),
		"family":   setText(&e.base.Family),
		"strategy": e.strategy,
		"value":    func(n node) { swept(e, n, "value", node.text, func(m *Method, v string) { m.Value = v }) },
		"policy":   func(n node) { swept(e, n, "policy", node.text, func(m *Method, v string) { m.Policy = v }) },
		"soft":     setTruth(&e.base.Soft),
		"sampling": e.sampling,
		"samples": func(n node) {
			swept(e, n, "samples", func(n node) (int, bool) { return n.within(1, mostSamples) }, func(m *Method, v int) { m.Samples = v })
		},
		"best_of": e.integers("best_of", 1, func(m *Method, v int) { m.BestOf = v }),
		"by":      func(n node) { e.base.By, _ = one(n, []By{ByReward, ByValue}) },
		"models": func(n node) {
			if e.base.Models = n.texts(); n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
				n.wrong("name some, or leave the key out, which means all", "it names no model")
			}
		},
		"choose": e.choose,
		"reasoning_budget": e.integers("reasoning_budget", 0, func(m *Method, v int) {
			m.Thoughts.Limited, m.Thoughts.Budget = true, v
		}),
	})
	if n.Kind != yaml.MappingNode {
		return nil
	}
	if e.id == "" {
		n.wrong("give it a name that the results will bear", "a method has no id")
	}
	e.base.Entry = cmp.Or(e.id, n.name)
	var all []Method
	if len(n.p.List) == before { // or what is not known would be said to be wrong again
		all = e.unfold()
	}
	if all == nil {
		for _, m := range e.each() {
			r.checkNamed(&m, n.p)
		}
	}
	for i := range all {
		_, said := all[i].value("repeat_last_n")
		lookBack(&all[i].Sampling, said || r.looksBack)
		r.check(&all[i], n.p)
	}
	return all
}

// each are methods that have one of the values each: enough for what is wrong with a value by itself.
func (e *entry) each() (out []Method) {
	for _, a := range e.axes {
		for _, set := range a.set {
			m := e.base
			set(&m)
			out = append(out, m)
		}
	}
	return append(out, e.base)
}

// swept reads a value or a list of values of a key.
func swept[T any](e *entry, n node, key string, read func(node) (T, bool), set func(*Method, T)) {
	a := &axis{key: key, line: n.Line, swept: n.Kind == yaml.SequenceNode}
	for _, v := range n.list() {
		value, ok := read(v)
		if !ok {
			continue
		}
		if slices.Contains(a.values, v.Value) {
			v.wrong("write each value once", "a sweep over %s has %s twice", key, v.Value)
		}
		a.values, a.set = append(a.values, v.Value), append(a.set, func(m *Method) { set(m, value) })
	}
	if a.swept && len(n.Content) == 0 {
		n.wrong("give it values, or leave the key out", "a sweep over nothing")
	}
	if len(a.set) > 0 {
		e.axes = append(e.axes, a)
	}
}

func (e *entry) integers(key string, least int, set func(*Method, int)) func(node) {
	return func(n node) {
		swept(e, n, key, func(n node) (int, bool) { return n.integer(least) }, set)
	}
}

func (e *entry) numbers(key string, set func(*Method, float64)) func(node) {
	return func(n node) { swept(e, n, key, node.number, set) }
}

// strategy reads the name of a method, or its options too.
func (e *entry) strategy(n node) {
	s := &e.base.Strategy
	if n.Kind == yaml.ScalarNode {
		setMethod(s)(n)
		return
	}
	written := map[string]node{}
	note := func(key string, read func(node)) func(node) {
		return func(n node) { written[key] = n; read(n) }
	}
	known := map[string]func(node){
		"n":              e.integers("n", 1, func(m *Method, v int) { m.Strategy.N = v }),
		"beams":          e.integers("beams", 1, func(m *Method, v int) { m.Strategy.Beam.Beams = v }),
		"block":          e.integers("block", 1, func(m *Method, v int) { m.Strategy.Beam.Block = v }),
		"k":              e.integers("k", 1, func(m *Method, v int) { m.Strategy.Guide.TopK = v }),
		"beta":           e.numbers("beta", func(m *Method, v float64) { m.Strategy.Guide.Beta = v }),
		"least_p":        e.numbers("least_p", func(m *Method, v float64) { m.Strategy.Guide.LeastP = v }),
		"proposal":       e.numbers("proposal", func(m *Method, v float64) { m.Strategy.Proposal = v }),
		"rollouts":       e.integers("rollouts", 0, func(m *Method, v int) { m.Strategy.Rollouts.N = v }),
		"rollout_tokens": e.integers("rollout_tokens", 0, func(m *Method, v int) { m.Strategy.Rollouts.Tokens = v }),
		"raw":            setTruth(&s.RawBeta),
		"rerank":         setTruth(&e.base.Rerank),
		"rest": func(n node) {
			swept(e, n, "rest", func(n node) (decode.Rest, bool) { return one(n, decode.Rests) }, func(m *Method, v decode.Rest) { m.Strategy.Guide.Rest = v })
		},
	}
	known["guide"] = func(n node) {
		swept(e, n, "guide", func(n node) (decode.Guided, bool) { return one(n, guided) }, func(m *Method, v decode.Guided) {
			if m.Thoughts.Guided = v; v == guidedAll {
				m.Thoughts.Guided = decode.GuidedAll
			}
		})
	}
	fields := map[string]func(node){"method": setMethod(s)}
	for key, read := range known {
		fields[key] = note(key, read)
	}
	n.fields(fields)
	for _, key := range slices.Sorted(maps.Keys(written)) {
		if reads, ok := uses[s.Method]; ok && !slices.Contains(reads, key) {
			written[key].wrong(fmt.Sprintf("leave it out; %s reads %s", s.Method, strings.Join(reads, ", ")), "it makes no difference to %s", s.Method)
		}
	}
}

// guided are the parts of an answer that a method may guide, by their names.
const guidedAll = decode.Guided("all")

var guided = []decode.Guided{guidedAll, decode.GuidedThinking, decode.GuidedAnswer}

func setMethod(s *decode.Strategy) func(node) {
	return func(n node) {
		if m, ok := one(n, decode.Methods); ok {
			s.Method = m
		}
	}
}

// sampling changes the base policy's: the KL is that from the recipe's, which may go on with what this leaves it.
func (e *entry) sampling(n node) {
	fields := constraintFields(&e.base.Sampling)
	for key := range samplingFields(&policy.Sampling{}) {
		fields[key] = func(n node) {
			swept(e, n, key, func(n node) (node, bool) {
				before := len(n.p.List)
				samplingFields(&policy.Sampling{})[key](n)
				return n, len(n.p.List) == before
			}, func(m *Method, n node) { samplingFields(&m.Sampling)[key](n) })
		}
	}
	n.fields(fields)
}

// choose reads true, or what may be chosen.
func (e *entry) choose(n node) {
	if n.Kind == yaml.ScalarNode {
		if n.truth() {
			e.base.Choose = &Choose{}
		}
		return
	}
	c := &Choose{}
	n.fields(map[string]func(node){
		"max_kl": func(n node) {
			var ok bool
			if c.MaxKL, ok = n.number(); ok && c.MaxKL <= 0 {
				n.wrong("give it a positive number of nats, or leave it out", "it is %s", n.kind())
			}
		},
		"within": func(n node) {
			n.entries(func(spec string, _ int, n node) {
				room, ok := n.number()
				if ok && room < 0 {
					n.wrong("give it how much less may be, 0 or more", "it is %s", n.kind())
				}
				c.Within = append(c.Within, Within{spec, room})
			})
		},
	})
	e.base.Choose = c
}

var placeholder = regexp.MustCompile(`\{[A-Za-z_]+\}`)

// unfold makes the variations of a method: every combination of the values of its keys.
func (e *entry) unfold() []Method {
	all, count := []Method{e.base}, 1
	for _, a := range e.axes {
		if count *= len(a.set); count > mostVariations {
			e.wrong("sweep over less", "the sweeps of method %q come to more than %d variations", e.id, mostVariations)
			return nil
		}
	}
	for _, a := range e.axes {
		var next []Method
		for _, m := range all {
			for i, set := range a.set {
				v := m
				set(&v)
				setting := Setting{a.key, a.values[i]}
				if v.set = append(slices.Clone(m.set), setting); a.swept {
					v.Settings = append(slices.Clone(m.Settings), setting)
				}
				next = append(next, v)
			}
		}
		all = next
	}
	for i := range all {
		all[i].identify(e)
	}
	return all
}

// name is what problems call it: what several variations lack is said once.
func (m *Method) name() string { return fmt.Sprintf("method %q", m.Entry) }

// value is what one of its keys sets.
func (m *Method) value(key string) (string, bool) {
	i := slices.IndexFunc(m.set, func(s Setting) bool { return s.Name == key })
	if i < 0 {
		return "", false
	}
	return m.set[i].Value, true
}

// identify makes a variation's id, and its family where none is given: the id without its settings.
func (m *Method) identify(e *entry) {
	said := map[string]bool{}
	m.ID = placeholder.ReplaceAllStringFunc(e.id, func(text string) string {
		key := strings.Trim(text, "{}")
		v, ok := m.value(key)
		if !ok {
			e.wrong("name a key of the method that has a value, or a list of values", "the id %q names {%s}, which is not set", e.id, key)
		}
		said[key] = true
		return v
	})
	for _, s := range m.Settings {
		if !said[s.Name] {
			m.ID += fmt.Sprintf(" %s=%s", s.Name, s.Value)
		}
	}
	m.Family = cmp.Or(m.Family, strings.Join(strings.Fields(placeholder.ReplaceAllString(e.id, "")), " "))
}
