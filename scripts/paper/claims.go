package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// verdict is what the paper claims, and whether it holds here.
type verdict struct{ claim, holds, figures string }

const (
	holds    = "holds"
	open     = "not clear: the interval reaches across zero"
	fails    = "does not hold"
	unknown  = "not measured"
	notBelow = "nowhere clearly below"
)

// above says whether a difference is above zero, its interval clear of it.
func above(x eval.Interval) string {
	switch {
	case x.Lo > 0:
		return holds
	case x.Hi < 0:
		return fails
	}
	return open
}

// claim states the difference of two methods by a reward; either may be missing.
func (s *study) claim(what string, a, b *result, reward int) verdict {
	if a == nil || b == nil {
		return verdict{what, unknown, ""}
	}
	d := s.minus(a.Rewards(reward), b.Rewards(reward))
	return verdict{what, above(d), fmt.Sprintf("%s %.2f, %s %.2f: difference %s", a.Row.Method, mean(a.Rewards(reward)), b.Row.Method, mean(b.Rewards(reward)), text(d))}
}

func mean(values [][]float64) float64 {
	sum, n := 0.0, 0
	for _, of := range values {
		for _, x := range of {
			sum, n = sum+x, n+1
		}
	}
	return sum / float64(n)
}

// curve is the reward of a method over its divergence from the base policy, from that itself on.
type curve struct {
	name   string
	points []place
}

type place struct {
	kl      float64
	rewards [][]float64
}

// curve is that of a family's settings, with the base policy before them.
func (s *study) curve(family string) (c curve, ok bool) {
	of := s.family(family)
	if len(of) == 0 {
		return c, false
	}
	c.name = family
	for _, r := range append([]*result{&s.rows[0]}, of...) {
		c.points = append(c.points, place{mean(r.Outcome.KL()), r.Rewards(s.judge)})
	}
	slices.SortStableFunc(c.points, func(a, b place) int { return cmp.Compare(a.kl, b.kl) })
	return c, true
}

// at is what the curve gives at a divergence, in a straight line between its settings; false beyond the last.
func (c *curve) at(kl float64) ([][]float64, bool) {
	for i := 1; i < len(c.points); i++ {
		a, b := c.points[i-1], c.points[i]
		if kl >= a.kl && kl <= b.kl {
			if a.kl == b.kl {
				return b.rewards, true
			}
			return mixed(b.rewards, a.rewards, (kl-a.kl)/(b.kl-a.kl)), true
		}
	}
	return nil, false
}

// atMatched compares two curves at the divergences of the second one's settings, and says what the least gain of the
// first one is. A setting beyond what the first one reached is compared with its farthest one, which diverges less.
func (s *study) atMatched(a, b curve) verdict {
	v := verdict{claim: fmt.Sprintf("%s at or above %s at every matched KL", a.name, b.name), holds: holds}
	least, below, unclear, n := eval.Interval{Mean: math.Inf(1)}, 0, 0, 0
	at := 0.0
	for _, p := range b.points {
		if p.kl == 0 {
			continue
		}
		own, ok := a.at(p.kl)
		if !ok {
			own = a.points[len(a.points)-1].rewards
		}
		d := s.minus(own, p.rewards)
		n++
		switch {
		case d.Hi < 0:
			below++
		case d.Lo <= 0:
			unclear++
		}
		if d.Mean < least.Mean {
			least, at = d, p.kl
		}
	}
	switch {
	case below > 0:
		v.holds = fmt.Sprintf("%s: clearly below at %d of %d", fails, below, n)
	case unclear > 0:
		v.holds = fmt.Sprintf("%s, clearly above at %d of %d", notBelow, n-unclear, n)
	}
	v.figures = fmt.Sprintf("least gain %s, at a KL of %.2f", text(least), at)
	return v
}

// rivals are the families that guidance is compared with: those of the paper, and what costs nothing.
var rivals = []string{"IVO*", "FUDGE", "VAS", "CD-Q", "ARGS", "DPO", "IPO", "SFT", "temperature"}

func (s *study) frontierClaims() (out []verdict) {
	own, ok := s.curve("IVO")
	for _, name := range rivals {
		other, both := s.curve(name)
		if !ok || !both {
			out = append(out, verdict{fmt.Sprintf("IVO at or above %s at every matched KL", name), unknown, ""})
			continue
		}
		out = append(out, s.atMatched(own, other))
	}
	if soft, ok := s.curve("IVO soft"); ok {
		out = append(out, s.atMatched(soft, own))
	}
	return out
}

// proxyClaims are of methods that have the same learned reward, by the gold rule.
func (s *study) proxyClaims() (out []verdict) {
	if s.judge == 0 {
		return nil
	}
	own, ok := s.curve("IVO*")
	for _, name := range []string{"ARGS", "pessimistic"} {
		if other, both := s.curve(name); ok && both {
			out = append(out, s.atMatched(own, other))
		}
	}
	return out
}

func (s *study) beamClaims() (out []verdict) {
	own := s.of("beam, IVO")
	for _, name := range []string{"IVO*", "FUDGE", "VAS", "CD-Q"} {
		out = append(out, s.claim("beam search by IVO above that by "+name, own, s.of("beam, "+name), 0))
	}
	return append(out, s.claim("beam search by IVO above the base policy", own, &s.rows[0], 0), s.claim("beam search by IVO above greedy decoding", own, s.of("greedy"), 0))
}

func (s *study) growthClaims() []verdict {
	return []verdict{
		s.claim("four trajectories a prompt teach more than one", s.of("beam, IVO*"), s.of("beam, K=1"), 0),
		s.claim("eight teach more than four", s.of("beam, K=8"), s.of("beam, IVO*"), 0),
		s.claim("a second round adds", s.of("beam, IVO"), s.of("beam, IVO*"), 0),
		s.claim("a third round adds", s.of("beam, 3 rounds"), s.of("beam, IVO"), 0),
		s.claim("two rounds above as many trajectories of the base policy", s.of("beam, IVO"), s.of("beam, K=8"), 0),
		s.claim("three rounds above as many trajectories of the base policy", s.of("beam, 3 rounds"), s.of("beam, K=12"), 0),
	}
}

// chosen is the result of what was chosen of a method on the validation prompts.
func (s *study) chosen(name string) *result {
	of := s.family(name + " chosen")
	if len(of) == 0 {
		return nil
	}
	return of[0]
}
