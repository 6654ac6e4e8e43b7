package llama

import (
	"iter"
	"math"
	"slices"
	"strings"
)

// After each character llama.cpp expands the rules that may come next until it has all
// the terminals that the text may go on with: by plain recursion, into a stack of open
// rules for each, compared with all the others. For a mask it does so for what may come
// after each of them, and again for each further character of a token. What bounds that
// work:
const (
	maxExpansion  = 1 << 14 // steps, and so the stacks that are open at once: half a second
	maxExpansions = 1 << 22 // steps for all rules, each once: llama.cpp's search for left recursion
	maxMaskWork   = 1 << 26 // comparisons: a second
	maskLevels    = 4       // characters of a token for which that is counted
	maxRecursion  = 12000   // depth: 2.4 MB of stack
	minText       = 256     // bytes that any grammar must be good for
	saturated     = 1 << 30
)

// expansion is the work of expanding a sequence of elements down to its first terminals.
type expansion struct {
	steps int // calls of llama_grammar_advance_stack
	empty int // ways in which the sequence can stand for the empty text
	depth int // of the recursion
	// mask is the number of comparisons of the expansions after each of the terminals, for
	// tokens of one character, two and so on.
	mask [maskLevels]int
}

// then is the expansion of a sequence that goes on with next.
func (e expansion) then(next expansion) expansion {
	if e.empty == 0 {
		return e
	}
	for i, n := range next.mask {
		e.mask[i] = min(e.mask[i]+e.empty*n, saturated)
	}
	e.steps = min(e.steps+e.empty*next.steps, saturated)
	e.empty = min(e.empty*next.empty, saturated)
	e.depth = min(e.depth+next.depth, saturated)
	return e
}

// or is the worst of two expansions.
func (e expansion) or(f expansion) expansion {
	for i, n := range f.mask {
		e.mask[i] = max(e.mask[i], n)
	}
	return expansion{max(e.steps, f.steps), max(e.empty, f.empty), max(e.depth, f.depth), e.mask}
}

// plus is the expansion of two alternatives.
func (e expansion) plus(f expansion) expansion {
	for i, n := range f.mask {
		e.mask[i] = min(e.mask[i]+n, saturated)
	}
	return expansion{e.steps + f.steps, e.empty + f.empty, max(e.depth, f.depth), e.mask}
}

func (e expansion) tooMuch() bool {
	return e.steps > maxExpansion || e.empty > maxExpansion || e.depth > maxRecursion || e.mask[maskLevels-1] > maxMaskWork
}

// expander finds the work that the rules of a grammar make.
type expander struct {
	*gbnf
	rule  []expansion // of each rule
	after []expansion // of what may follow each rule, where it may be empty
	state []int8      // 0 not visited, 1 on the path, 2 done
	path  []int32
	steps int // of all rules
}

// bound refuses a grammar that llama.cpp cannot expand within bounds, and finds the
// longest text that it can follow.
func (g *gbnf) bound() error {
	n := len(g.rules)
	x := expander{gbnf: g, rule: make([]expansion, n), after: make([]expansion, n)}
	// The first time finds the steps, the others, which need what came before, the work
	// of a mask for tokens of one character more.
	for range 1 + maskLevels {
		x.state, x.steps = make([]int8, n), 0
		for i := range g.rules {
			if x.state[i] == 0 {
				if err := x.visit(int32(i)); err != nil {
					return err
				}
			}
		}
		if err := x.follow(); err != nil {
			return err
		}
	}
	return nil
}

func (r *gbnfRule) alternatives() iter.Seq[[]int32] {
	return func(yield func([]int32) bool) {
		for body := r.body; ; {
			i := slices.Index(body, gbnfAlternative)
			if i < 0 {
				yield(body)
				return
			}
			if !yield(body[:i]) {
				return
			}
			body = body[i+1:]
		}
	}
}

// before is the expansion of an element of rule id that rest follows there.
func (x *expander) before(id, element int32, rest expansion) expansion {
	if element < 0 {
		next := rest.then(x.after[id])
		e := expansion{steps: 1, depth: 1}
		work := min(next.steps*next.steps, saturated)
		e.mask[0] = work
		for i := range maskLevels - 1 {
			e.mask[i+1] = min(work+next.mask[i], saturated)
		}
		return e
	}
	e := x.rule[element]
	e.steps++
	e.depth++
	return e.then(rest)
}

// visit finds the expansion of a rule. It needs those of the rules that the rule can
// begin with, and refuses one that is still on the path: left recursion.
func (x *expander) visit(id int32) error {
	x.state[id] = 1
	x.path = append(x.path, id)
	if len(x.path) > maxRecursion {
		return x.tooMuch(id)
	}
	r := &x.rules[id]
	var sum expansion
	for seq := range r.alternatives() {
		n := 0
		for n < len(seq) {
			first := seq[n]
			n++
			if first < 0 {
				break
			}
			if x.state[first] == 1 {
				return x.leftRecursion(first)
			}
			if x.state[first] == 0 {
				if err := x.visit(first); err != nil {
					return err
				}
			}
			if x.rule[first].empty == 0 {
				break
			}
		}
		e := expansion{empty: 1}
		for _, element := range slices.Backward(seq) {
			e = x.before(id, element, e)
		}
		if sum = sum.plus(e); sum.tooMuch() {
			return x.tooMuch(id)
		}
	}
	if x.steps += sum.steps; x.steps > maxExpansions {
		return x.tooMuch(id)
	}
	x.rule[id], x.state[id] = sum, 2
	x.path = x.path[:len(x.path)-1]
	return nil
}

func (x *expander) tooMuch(id int32) error {
	r := x.rules[id]
	return x.errorf(r.at, "use fewer alternatives and fewer parts that may be empty", "rule %s takes too many steps to expand", r.name)
}

// leftRecursion is the error for a rule on the path that a rule at its end begins with.
func (x *expander) leftRecursion(id int32) error {
	var names []string
	at := x.rules[id].at
	for _, i := range x.path[slices.Index(x.path, id):] {
		if r := x.rules[i]; r.named {
			if names = append(names, r.name); len(names) == 1 {
				at = r.at
			}
		}
	}
	switch len(names) {
	case 0:
		return x.errorf(at, "leave the empty alternative out of it", "what is repeated here may be empty")
	case 1:
		return x.errorf(at, "put what it begins with first, and repeat the rest with *", "rule %s can begin with itself", names[0])
	}
	return x.errorf(at, "put what they begin with first, and repeat the rest with *", "rule %s can begin with itself, by way of %s", names[0], strings.Join(names[1:], ", "))
}

// site is a place where a rule stands in another, with the work of what follows it there.
type site struct {
	rule int32
	rest expansion
}

// sites are the places where rules stand in rule id.
func (x *expander) sites(id int32) iter.Seq[site] {
	return func(yield func(site) bool) {
		for seq := range x.rules[id].alternatives() {
			rest := expansion{empty: 1}
			for _, e := range slices.Backward(seq) {
				if e >= 0 && !yield(site{e, rest}) {
					return
				}
				rest = x.before(id, e, rest)
			}
		}
	}
}

// follow adds to the work of a rule that of what may follow it. Where that may be
// empty, what follows the rules around it comes into it as well, and where rules stand
// in each other in a circle it grows with the text: every round leaves something on the
// stack.
func (x *expander) follow() error {
	comps, comp := x.components()
	after := make([]expansion, len(comps))
	for i := range after {
		after[i] = expansion{steps: 1, empty: 1, depth: 1} // the end of the text
	}
	for p := range x.rules {
		for s := range x.sites(int32(p)) {
			if s.rest.empty == 0 {
				after[comp[s.rule]] = after[comp[s.rule]].or(s.rest)
			}
		}
	}
	var most, round expansion // at any place, and what a round adds to it
	around := int32(0)        // a rule of that round
	for c, rules := range slices.Backward(comps) {
		var loop expansion
		for _, p := range rules {
			worst := x.rule[p]
			for s := range x.sites(p) {
				worst = worst.or(x.before(p, s.rule, s.rest))
				switch {
				case s.rest.empty == 0:
				case comp[s.rule] != int32(c):
					after[comp[s.rule]] = after[comp[s.rule]].or(s.rest.then(after[c]))
				case s.rest.empty > 1:
					r := x.rules[p]
					return x.errorf(r.at, "make it empty in one way only",
						"rule %s stands in itself before something that can be empty in more than one way", r.name)
				default:
					loop.steps += s.rest.steps
					loop.depth += s.rest.depth
				}
			}
			worst = worst.then(after[c])
			if worst.tooMuch() {
				return x.tooMuch(p)
			}
			most = most.or(worst)
		}
		if loop.steps > round.steps {
			around = rules[0]
		}
		round = round.or(loop)
	}
	for i, c := range comp {
		x.after[i] = after[c]
	}
	x.maxText = math.MaxInt
	if round.depth > 0 {
		x.maxText = min((maxRecursion-most.depth)/round.depth, (maxExpansion-most.steps)/round.steps)
	}
	if x.maxText < minText {
		r := x.rules[around]
		return x.errorf(r.at, "make less of it optional", "rule %s stands in itself before too much that may be empty", r.name)
	}
	return nil
}

// components are the sets of rules that stand in each other in a circle with nothing
// after them that could not be empty: the strongly connected components by Tarjan's
// algorithm, each after all those that stand in it. comp is the component of each rule.
func (x *expander) components() (comps [][]int32, comp []int32) {
	n := len(x.rules)
	comp = make([]int32, n)
	index, low := make([]int, n), make([]int, n)
	var stack []int32
	next := 0
	var visit func(int32)
	visit = func(v int32) {
		next++
		index[v], low[v] = next, next
		stack = append(stack, v)
		for s := range x.sites(v) {
			switch w := s.rule; {
			case s.rest.empty == 0:
			case index[w] == 0:
				visit(w)
				low[v] = min(low[v], low[w])
			case comp[w] < 0:
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] == index[v] {
			i := len(stack)
			for comp[v] < 0 {
				i--
				comp[stack[i]] = int32(len(comps))
			}
			comps = append(comps, slices.Clone(stack[i:]))
			stack = stack[:i]
		}
	}
	for i := range comp {
		comp[i] = -1
	}
	for v := range n {
		if index[v] == 0 {
			visit(int32(v))
		}
	}
	return comps, comp
}
