package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// verdict is a line of what the method promises on real models, and whether it holds.
type verdict struct{ claim, holds, figures string }

const notMeasured = "not measured at this effort"

// atLeast says whether what an interval is of is at least so much.
func atLeast(x eval.Interval, want float64) string {
	switch {
	case x.Lo >= want:
		return "holds"
	case x.Mean >= want:
		return "holds on average; the interval reaches below"
	}
	return fmt.Sprintf("falls short by %.2f", want-x.Mean)
}

// above says whether a difference is above zero, its interval clear of it.
func above(x eval.Interval) string {
	switch {
	case x.Lo > 0:
		return "holds"
	case x.Mean > 0:
		return "not clear: the interval reaches below zero"
	}
	return "does not hold"
}

// row is a method's row by name.
func (res *result) row(name string) (row, bool) {
	i := slices.IndexFunc(res.rows, func(r row) bool { return r.name == name })
	if i < 0 {
		return row{}, false
	}
	return res.rows[i], true
}

// family is the row of what was taken of a family.
func (res *result) family(name string) (row, bool) {
	for _, c := range res.choices {
		if c.name == name {
			return res.row(c.taken[0].name)
		}
	}
	return row{}, false
}

// best is the row of the method of a kind that decodes at least and at most so many tokens for each
// one and had the largest reward on the prompts that settings are chosen on. Methods that follow a value
// function of more responses are no part of it.
func (res *result) best(k kind, least, most int) (row, bool) {
	var best *row
	for _, c := range res.choices {
		for _, m := range c.taken {
			i := slices.IndexFunc(c.tried, func(r row) bool { return r.name == m.name })
			if i < 0 || m.Learned != "" || m.kind != k || m.decoded() < least || m.decoded() > most {
				continue
			}
			if r := &c.tried[i]; best == nil || mean(r.reward) > mean(best.reward) {
				best = r
			}
		}
	}
	if best == nil {
		return row{}, false
	}
	return res.row(best.name)
}

func sentimentClaims(res *result) (out []verdict) {
	base := res.rows[0]
	say := func(claim string, ok bool, check func() (holds, figures string)) {
		v := verdict{claim: claim, holds: notMeasured}
		if ok {
			v.holds, v.figures = check()
		}
		out = append(out, v)
	}
	onePass, ok := res.family("one-pass")
	say("one-pass, one decode a token, reward at least .82 at a KL of at most 7 nats", ok, func() (string, string) {
		holds, kl := atLeast(interval(onePass.reward), .82), interval(onePass.kl)
		if kl.Mean > 7 {
			holds = fmt.Sprintf("falls short: the KL is %.1f above", kl.Mean-7)
		}
		return holds, fmt.Sprintf("%s: %s, KL %s", onePass.name, show(onePass.reward), show(onePass.kl))
	})
	say("one-pass above every temperature", ok, func() (string, string) {
		least, than := eval.Interval{Lo: math.Inf(1)}, ""
		for _, r := range res.rows {
			if r.kind == alone {
				if d := paired(onePass.reward, r.reward); d.Lo < least.Lo {
					least, than = d, r.name
				}
			}
		}
		return above(least), fmt.Sprintf("least above %s, by %s", than, text(least))
	})
	for _, b := range []struct {
		decoded int
		want    float64
	}{{1, .82}, {2, .88}, {4, .93}} {
		best, ok := res.best(byHead, 1, b.decoded)
		if b.decoded > 1 {
			say(fmt.Sprintf("at %s or fewer, reward at least %.2f", decodes(b.decoded), b.want), ok, func() (string, string) {
				return atLeast(interval(best.reward), b.want), fmt.Sprintf("%s: %s at %.1f", best.name, show(best.reward), best.ratio)
			})
		}
		say(fmt.Sprintf("at %s or fewer, distinct-2 within .04 of the base policy's", decodes(b.decoded)), ok, func() (string, string) {
			d := paired(best.others[distinct], base.others[distinct])
			return atLeast(d, -.04), fmt.Sprintf("%s: %s, by %s", best.name, show(best.others[distinct]), text(d))
		})
	}
	best, ok := res.best(byHead, 1, 9)
	of16, both := res.row("best-of-16 by the reward")
	say("the best within 9 decodes not below best-of-16 by the reward by more than .03", ok && both, func() (string, string) {
		d := paired(best.reward, of16.reward)
		return atLeast(d, -.03), fmt.Sprintf("%s: %s, best-of-16: %s; paired %s", best.name, show(best.reward), show(of16.reward), text(d))
	})
	return out
}

func decodes(n int) string {
	if n == 1 {
		return "one decode a token"
	}
	return fmt.Sprintf("%d decodes a token", n)
}

func checksClaims(res *result) (out []verdict) {
	against := func(claim string, a row, okA bool, b row, okB bool) {
		v := verdict{claim: claim, holds: notMeasured}
		if okA && okB {
			d := paired(a.reward, b.reward)
			cost := func(r row) string { return fmt.Sprintf("%.1f decodes a token, %.0f an answer", r.ratio, r.tokens) }
			v.holds, v.figures = above(d), fmt.Sprintf("%s: %s at %s; %s: %s at %s; paired %s", a.name, show(a.reward), cost(a), b.name, show(b.reward), cost(b), text(d))
		}
		out = append(out, v)
	}
	for _, n := range []int{2, 4, 8} {
		a, okA := res.best(rewardToo, 1, n)
		b, okB := res.row(fmt.Sprintf("best-of-%d by the reward", n))
		against(fmt.Sprintf("with the reward inside, above best-of-%d by the reward at equal decodes a token", n), a, okA, b, okB)
		a, okA = res.family(asManyTokens + fmt.Sprintf("best-of-%d by the reward", n))
		against(fmt.Sprintf("with the reward inside, above best-of-%d by the reward at equal decoded tokens an answer", n), a, okA, b, okB)
	}
	onePass, ok := res.family("one-pass")
	greedy, okGreedy := res.row("greedy")
	against("without the reward, one-pass above greedy", onePass, ok, greedy, okGreedy)
	best, okBest := res.best(byHead, 2, 9)
	against("without the reward, better with search", best, okBest, onePass, ok)
	return out
}

// learningClaims are those of the value functions and of the unit of beta.
func learningClaims(res *result) (out []verdict) {
	want := map[string][]struct {
		part string
		r2   float64
	}{"sentiment": {{"over all states", .30}, {"at the last state", .48}}, "checks": {{"at the last state", .30}}}
	all, last, how := fits(&res.trained[0])
	for _, c := range want[res.name] {
		v := verdict{claim: fmt.Sprintf("R² %s at least %.2f, %s", c.part, c.r2, how), holds: "holds"}
		r2 := last
		if c.part == "over all states" {
			r2 = all
		}
		if v.figures = fmt.Sprintf("%.2f", r2); r2 < c.r2 {
			v.holds = fmt.Sprintf("falls short by %.2f", c.r2-r2)
		}
		out = append(out, v)
	}
	const beta = 2
	v := verdict{claim: fmt.Sprintf("beta %d gives a KL of %d nats, within a factor of 2", beta, beta*beta/2), holds: notMeasured}
	for _, c := range res.choices {
		for _, r := range c.tried {
			if c.name != "one-pass" || r.Strategy.Proposal != beta {
				continue
			}
			kl := interval(r.kl)
			v.figures = fmt.Sprintf("%s on the prompts to choose on", text(kl))
			switch most := float64(beta * beta); {
			case kl.Mean > most:
				v.holds = fmt.Sprintf("%.1f times too much", kl.Mean/(beta*beta/2))
			case kl.Mean < most/4:
				v.holds = fmt.Sprintf("%.1f times too little", beta*beta/2/kl.Mean)
			default:
				v.holds = "holds"
			}
		}
	}
	out = append(out, v)
	v = verdict{claim: "what two rounds taught above what as many responses of the base policy did", holds: notMeasured}
	const search = "block-best-of-4 b=8, "
	two, okTwo := res.family(search + twoRounds)
	one, okOne := res.family(search + eightSamples)
	if okTwo && okOne {
		d := paired(two.reward, one.reward)
		v.holds, v.figures = above(d), fmt.Sprintf("%s: %s, %s: %s; paired %s", two.name, show(two.reward), one.name, show(one.reward), text(d))
	}
	return append(out, v)
}

// text is an interval as the report shows it, show that of the mean of one number a prompt.
func text(x eval.Interval) string {
	return strings.ReplaceAll(fmt.Sprintf("%.2f [%.2f, %.2f]", x.Mean, x.Lo, x.Hi), "-", "−")
}

func show(perPrompt []float64) string { return text(interval(perPrompt)) }
