package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// verdict is what the paper claims, and whether it holds here.
type verdict struct {
	claim, holds, figures string
	ours                  bool // the paper does not claim it
}

const (
	holds   = "holds"
	open    = "not clear"
	fails   = "does not hold"
	unknown = "not measured"
)

// asOurs are claims that the paper does not make.
func asOurs(of ...verdict) []verdict {
	for i := range of {
		of[i].ours = true
	}
	return of
}

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
		return verdict{claim: what, holds: unknown}
	}
	d := s.minus(a.Rewards(reward), b.Rewards(reward))
	return verdict{claim: what, holds: above(d), figures: fmt.Sprintf("%s: %s, %s: %s, difference %s", a.Row.Method, s.mean(a, reward), b.Row.Method, s.mean(b, reward), text(d))}
}

// mean is a result's mean reward as tables show it.
func (s *study) mean(r *result, reward int) string {
	return number(s.resample.Of(r.Rewards(reward)).Interval().Mean)
}

// number is a reward as the document shows it.
func number(x float64) string { return strings.ReplaceAll(fmt.Sprintf("%.2f", x), "-", "−") }

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

// place is a setting's: its divergence in nats, or what else curves are over.
type place struct {
	x       float64
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
	slices.SortStableFunc(c.points, func(a, b place) int { return cmp.Compare(a.x, b.x) })
	return c, true
}

// at is what the curve gives there, in a straight line between its settings; false beyond the last.
func (c *curve) at(x float64) ([][]float64, bool) {
	for i := 1; i < len(c.points); i++ {
		a, b := c.points[i-1], c.points[i]
		if x >= a.x && x <= b.x {
			if a.x == b.x {
				return b.rewards, true
			}
			return mixed(b.rewards, a.rewards, (x-a.x)/(b.x-a.x)), true
		}
	}
	return nil, false
}

// leastTilt is the divergence in nats below which a setting is the base policy to all purposes.
const leastTilt = 0.05

// atMatched compares two curves at the divergences of the second one's settings: those that diverge at all and are not
// clearly below the base policy. A setting beyond what the first one reached is compared with its farthest one: to be
// above that with less divergence counts, not to be says nothing.
func (s *study) atMatched(a, b curve) verdict {
	v := verdict{claim: fmt.Sprintf("%s at or above %s at every matched KL", a.name, b.name), holds: open}
	var n, higher, lower, beyond int
	worst, at := eval.Interval{Hi: math.Inf(1)}, 0.0
	for _, p := range b.points {
		if p.x < leastTilt || s.minus(p.rewards, s.rows[0].Rewards(s.judge)).Hi < 0 {
			continue
		}
		own, reached := a.at(p.x)
		if !reached {
			own = a.points[len(a.points)-1].rewards
		}
		d := s.minus(own, p.rewards)
		n++
		switch {
		case d.Lo > 0:
			higher++
		case !reached:
			beyond++
			continue
		case d.Hi < 0:
			lower++
		}
		if d.Hi < worst.Hi {
			worst, at = d, p.x
		}
	}
	switch {
	case n == 0:
		v.figures = fmt.Sprintf("no setting of %s diverges by %v nats without being clearly below the base policy", b.name, leastTilt)
		return v
	case lower > 0:
		v.holds = fmt.Sprintf("%s: clearly below at %d of %d", fails, lower, n)
	case higher == n:
		v.holds = holds
	default:
		v.holds = fmt.Sprintf("%s: nowhere clearly below, clearly above at %d of %d", open, higher, n)
	}
	if beyond > 0 {
		v.holds += fmt.Sprintf(", %d not below that lie beyond its farthest KL of %.2f", beyond, a.points[len(a.points)-1].x)
	}
	if n > beyond {
		v.figures = fmt.Sprintf("at a KL of %.2f, where it is least above, %s", at, text(worst))
	}
	return v
}

// rivals are the families that guidance is compared with: those of the paper, and then others of ours. K=8 learned from
// as many answers as IVO, all of them the base policy's.
var (
	rivals    = []string{"IVO*", "FUDGE", "VAS", "ARGS", "DPO", "IPO"}
	ownRivals = []string{"CD-Q", "K=8", "SFT", "temperature"}
)

func (s *study) frontierClaims() (out []verdict) {
	own, ok := s.curve("IVO")
	for _, name := range slices.Concat(rivals, ownRivals) {
		v := verdict{claim: fmt.Sprintf("IVO at or above %s at every matched KL", name), holds: unknown}
		if other, both := s.curve(name); ok && both {
			v = s.atMatched(own, other)
		}
		v.ours = slices.Contains(ownRivals, name)
		out = append(out, v)
	}
	for _, name := range []string{"IVO soft", "IVO pessimistic", "IVO within 2"} {
		if other, both := s.curve(name); ok && both {
			out = append(out, asOurs(s.atMatched(own, other))...)
		}
	}
	if blocks, ok := s.curve("IVO in blocks"); ok {
		for _, name := range []string{"IVO", "DPO", "IPO", "SFT"} {
			if other, both := s.curve(name); both {
				out = append(out, asOurs(s.atMatched(blocks, other))...)
			}
		}
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
	return asOurs(out...)
}

func (s *study) beamClaims() (out []verdict) {
	own := s.of("beam, IVO")
	for _, name := range []string{"IVO*", "FUDGE", "VAS"} {
		out = append(out, s.claim("beam search by IVO above that by "+name, own, s.of("beam, "+name), 0))
	}
	out = append(out, s.claim("beam search by IVO above the base policy", own, &s.rows[0], 0))
	out = append(out, asOurs(s.claim("beam search by IVO above that by CD-Q", own, s.of("beam, CD-Q"), 0), s.claim("beam search by IVO above greedy decoding", own, s.of("greedy"), 0))...)
	return out
}

func (s *study) growthClaims() []verdict {
	return append([]verdict{
		s.claim("four trajectories a prompt teach more than one", s.of("beam, IVO*"), s.of("beam, K=1"), 0),
		s.mainJump(s.of("beam, K=1"), s.of("beam, IVO*"), s.of("beam, K=8")),
		s.claim("a second round adds", s.of("beam, IVO"), s.of("beam, IVO*"), 0),
		s.claim("a third round adds", s.of("beam, 3 rounds"), s.of("beam, IVO"), 0),
	}, asOurs(
		s.claim("two trajectories a prompt teach more than one", s.of("beam, K=2"), s.of("beam, K=1"), 0),
		s.claim("eight teach more than four", s.of("beam, K=8"), s.of("beam, IVO*"), 0),
		s.claim("two rounds above as many trajectories of the base policy", s.of("beam, IVO"), s.of("beam, K=8"), 0),
		s.claim("three rounds above as many trajectories of the base policy", s.of("beam, 3 rounds"), s.of("beam, K=12"), 0),
	)...)
}

// mainJump says whether the step from one to four trajectories is larger than that from four to eight.
func (s *study) mainJump(one, four, eight *result) verdict {
	v := verdict{claim: "the step from one trajectory to four is larger than that from four to eight", holds: unknown}
	if one == nil || four == nil || eight == nil {
		return v
	}
	at := func(r *result) eval.Means { return s.resample.Of(r.Rewards(0)) }
	d := at(four).Minus(at(one)).Minus(at(eight).Minus(at(four))).Interval()
	v.holds, v.figures = above(d), fmt.Sprintf("%s and %s: difference %s", text(s.minus(four.Rewards(0), one.Rewards(0))), text(s.minus(eight.Rewards(0), four.Rewards(0))), text(d))
	return v
}

// timeClaims are Table 4 and Fig. 5: the larger the block, the less a token costs.
func (s *study) timeClaims() (out []verdict) {
	if s.times == nil {
		return nil
	}
	names := [][]string{{"sampling in blocks of 4"}, {"sampling in blocks of 2"}, {"tokenwise beta=2", "IVO beta=2"}}
	what := []string{"in blocks of four", "in blocks of two", "tokenwise"}
	find := func(of []string) *timed {
		for _, name := range of {
			if at := slices.IndexFunc(s.times.Rows, func(t timed) bool { return t.Method == name }); at >= 0 {
				return &s.times.Rows[at]
			}
		}
		return nil
	}
	for i := range 2 {
		a, b := find(names[i]), find(names[i+1])
		if a == nil || b == nil {
			continue
		}
		v := verdict{claim: fmt.Sprintf("a token takes less time %s than %s", what[i], what[i+1]), holds: open}
		switch {
		case a.Relative.Hi < b.Relative.Lo: // more than a paired interval would ask
			v.holds = holds
		case a.Relative.Lo > b.Relative.Hi:
			v.holds = fails
		}
		v.figures = fmt.Sprintf("%s and %s times the base policy's", digits(a.Relative, 1), digits(b.Relative, 1))
		out = append(out, v)
	}
	return out
}

// fallClaims are that of what is followed farther the reward falls: from the setting before the last to the last.
func (s *study) fallClaims() (out []verdict) {
	for _, name := range []string{"FUDGE", "VAS", "ARGS"} {
		of := s.family(name)
		v := verdict{claim: name + " gives less at its largest beta than at the one before", holds: unknown}
		if n := len(of); n > 1 {
			v = s.claim(v.claim, of[n-2], of[n-1], s.judge)
		}
		out = append(out, v)
	}
	return out
}

// computeClaims compare with the best of as many answers as take as many decoded tokens.
func (s *study) computeClaims() (out []verdict) {
	for _, by := range []struct{ family, name string }{{"best-of-n, IVO", "its own values"}, {"best-of-n, the reward", "the reward itself"}} {
		costs := s.bestOfN(by.family)
		for _, own := range []*result{s.chosen("IVO"), s.of("beam, IVO")} {
			if own == nil || len(costs) < 2 {
				continue
			}
			if other, ok := costs.at(own.Decoded); ok {
				d := s.minus(own.Rewards(0), other)
				out = append(out, verdict{claim: fmt.Sprintf("%s above the best of n answers by %s, at equal decoded tokens", own.Row.Method, by.name), holds: above(d), figures: text(d)})
			}
		}
	}
	return asOurs(out...)
}

// chosen is the result of what was chosen of a method on the validation prompts. SFT has one policy, the best of its
// rates.
func (s *study) chosen(name string) *result {
	of := s.family(name + " chosen")
	switch {
	case len(of) > 0:
		return of[0]
	case name == "SFT":
		return s.of(name)
	}
	return nil
}
