package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// Frontier compares strategies and value sources on the same prompts.
type Frontier struct {
	Reward string        // name of the reward
	Model  string        // file of the policy
	Temp   float64       // of the base policy
	Seeds  int           // answers to each prompt; 0 where methods differ in it
	Rows   []FrontierRow // the base policy first
}

// FrontierRow is one method.
type FrontierRow struct {
	eval.Result
	Family string // methods that differ in one setting alone, in its order
	Guided bool   // by a value, token by token or block by block
	Ranked bool   // whole answers ranked by a value
	Tuned  bool   // of a policy that was trained
}

// WriteFrontier creates or replaces the page at path.
func WriteFrontier(path string, f Frontier) error { return write(path, "frontier.html", &f) }

func (r *FrontierRow) kind() string {
	switch {
	case r.Guided:
		return guided
	case r.Ranked:
		return ranked
	case r.Tuned:
		return tuned
	}
	return alone
}

// Trained says whether some policy was.
func (f *Frontier) Trained() bool {
	return slices.ContainsFunc(f.Rows, func(r FrontierRow) bool { return r.Tuned })
}

// Bound says whether the row's KL is a bound.
func (r *FrontierRow) Bound() bool { return r.KLKind == decode.KLBound }

// divergence shows reward against the exact KL from the base policy.
func divergence(f *Frontier) *chart {
	var points []point
	seen := map[string]bool{}
	for i := range f.Rows {
		r := &f.Rows[i]
		if r.Bound() {
			continue
		}
		p := point{x: r.KL, y: r.Reward, class: r.kind(), title: fmt.Sprintf("%s: %s at %s nats", r.Method, interval(r.Reward), num(r.KL.Mean, 2))}
		if !seen[r.Family] {
			p.label, seen[r.Family] = r.Family, true
		}
		points = append(points, p)
	}
	return plot("Mean reward against distance from the base policy", axis{title: "KL from the base policy, nats a response"}, axis{title: "mean reward of an answer"}, 380, 44, 24, points, false)
}

// price shows reward against the tokens decoded.
func price(f *Frontier) *chart {
	var methods []method
	for i := range f.Rows {
		r := &f.Rows[i]
		methods = append(methods, method{Result: r.Result, Kind: r.kind()})
	}
	c := compute(methods)
	best := slices.MaxFunc(methods, func(a, b method) int { return cmp.Compare(a.Reward.Mean, b.Reward.Mean) })
	for i := range c.Marks { // so many names would hide the marks; each has its title
		if c.Marks[i].Label != best.Method {
			c.Marks[i].Label = ""
		}
	}
	return c
}
