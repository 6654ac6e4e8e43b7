package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
)

// Figures 2, 3 and 4 as tables, and those that the paper has not.

// row tells of a method in a table of those that are compared by reward and KL.
func (d *document) row(s *study, r *result) {
	others := ""
	for _, name := range s.watched {
		others += " | " + text(r.Others[name])
	}
	d.say("%s | %s | %s | %s | %.1f%s", r.Row.Method, text(r.Row.Reward), r.kl(), percent(r.Row.Wins), r.DecodedPerEmitted, others)
}

// kl is a method's divergence as the document shows it.
func (r *result) kl() string {
	kl := digits(r.Row.KL, 2)
	if r.KLKind == decode.KLBound {
		kl = "at most " + kl
	}
	return kl
}

func (d *document) rows(s *study, families ...string) {
	d.table(append([]string{s.name, "reward", "KL, nats", "win rate", "decoded a token"}, s.watched...)...)
	for i := range s.rows {
		for _, f := range families {
			if s.rows[i].Family == f {
				d.row(s, &s.rows[i])
			}
		}
	}
}

func (d *document) frontier(all []*study) {
	d.say("")
	d.say("## Fig. 2: reward against KL, beta swept")
	d.say("")
	d.say("The paper: on TL;DR, IVO about 3.5 at a KL of .8, all others below 3.2, and FUDGE, VAS and ARGS fall past .4; on HH, IVO 1.75 at .3, DPO 1.65, VAS 1.5, FUDGE 1.3.")
	d.say("Here greedy decoding and lower temperatures, which cost nothing, are shown too. KL is summed over a whole answer; the paper's is per token. ARGS asks the reward itself about every candidate's text")
	if d.real {
		d.say("and takes the best, so that its KL begins with greedy decoding's: an oracle where the rule can count on unfinished text. IVO, IVO*, K=8 (as many answers of the base policy as IVO has) and FUDGE tilt")
		d.say("the whole vocabulary by what each token adds to the value at one decode a token; tokenwise, which is Eq. 5 by IVO's values, VAS and CD-Q feed each candidate. Betas count in units of what the value moves in an answer.")
	} else {
		d.say("and takes the best, so that its KL begins with greedy decoding's: an oracle where the rule can count on unfinished text. IVO is tokenwise guidance by a mean value (Eq. 5); K=8 is the same by a value of as many answers, all of the base policy; IVO in blocks guides by blocks of four tokens, CD-Q ahead at one decode a token.")
	}
	for _, s := range d.tasks(all) {
		d.say("")
		d.say("[%s, plotted](%s)", s.name, link(d.doc, d.page(s)))
		d.rows(s, "base", "temperature", "greedy", "IVO", "tokenwise", "IVO in blocks", "IVO*", "K=8", "FUDGE", "VAS", "CD-Q", "CD-Q ahead", "ARGS", "DPO", "IPO", "SFT")
	}
}

func (d *document) beams(all []*study) {
	d.say("")
	d.say("## Fig. 3: block beam search with each value function")
	d.say("")
	d.say("The paper: on TL;DR base 3.2, ARGS 3.55, FUDGE 4.05, VAS 4.15, IVO* 4.25, IVO 4.3; on HH 2.1, -, 2.7, 2.7, 2.8, 3.1; on AlpacaEval a length-controlled win rate of 26.0 %% by IVO. There four beams of blocks of four tokens, here %s. ARGS, which would ask the reward of every candidate, is in Fig. 2 alone.", map[bool]string{true: "three of eight", false: "the same"}[d.real])
	for _, s := range d.tasks(all) {
		d.rows(s, "base", "temperature", "greedy", "beam", "beam sizes", "block sizes")
		var known []string
		for _, v := range s.x.Values {
			if r2 := s.explained(v.ID); r2 != "not kept" {
				known = append(known, v.ID+" "+r2)
			}
		}
		d.say("")
		d.say("R² over all states and over the last ones, of answers that were held out: %s.", strings.Join(known, "; "))
	}
}

func (d *document) growth(all []*study) {
	d.say("")
	d.say("## Fig. 4: trajectories and rounds")
	d.say("")
	d.say("The paper: the main jump at four trajectories a prompt; rounds 2.82, 3.1, 3.15. Here the same beam search; as many trajectories of the base policy as two and three rounds take are the control. R² is on answers of the run's own that were held out, those of later rounds guided ones: it compares kinds, not rows.")
	for _, s := range d.tasks(all) {
		d.table(s.name, "trajectories a prompt", "rounds", "reward", "R² over all states, at the last")
		for _, x := range []struct {
			method, value        string
			trajectories, rounds int
		}{
			{"beam, K=1", "K=1", 1, 1}, {"beam, K=2", "K=2", 2, 1}, {"beam, IVO*", "IVO*", 4, 1}, {"beam, K=8", "K=8", 8, 1}, {"beam, K=12", "K=12", 12, 1},
			{"beam, IVO", "IVO", 8, 2}, {"beam, 3 rounds", "3 rounds", 12, 3},
		} {
			if r := s.of(x.method); r != nil {
				d.say("%s | %d | %d | %s | %s", x.method, x.trajectories, x.rounds, text(r.Row.Reward), s.explained(x.value))
			}
		}
	}
}

// explained is the mean over seeds of what a value function explains on held-out prompts.
func (s *study) explained(value string) string {
	all, last, n := 0.0, 0.0, 0.0
	for _, l := range s.learned {
		if l.Value == value {
			all, last, n = all+float64(l.R2), last+float64(l.R2Last), n+1
		}
	}
	if n == 0 {
		return "not kept"
	}
	return fmt.Sprintf("%.2f, %.2f", all/n, last/n)
}

// compute compares what methods give with what the best of several answers gives that decodes as much.
func (d *document) compute(all []*study) {
	d.say("")
	d.say("## Past the paper: reward against decoded tokens")
	d.say("")
	d.say("Best-of-n at equal decoded tokens is what lies between its two nearest n, in a straight line over the logarithm. An answer's last token is not decoded.")
	for _, s := range d.tasks(all) {
		d.table(s.name, "reward", "decoded tokens an answer", "reward calls", "difference from best-of-n by IVO, same decoded tokens", "from best-of-n by the reward")
		byHead, byReward := s.bestOfN("best-of-n, IVO"), s.bestOfN("best-of-n, the reward")
		for i := range s.rows {
			r := &s.rows[i]
			if strings.HasSuffix(r.Family, " chosen") {
				continue
			}
			less := func(c costs) string {
				if r.Kind == experiment.Ranked {
					return ""
				}
				other, ok := c.at(r.Decoded)
				if !ok {
					return "beyond n"
				}
				return text(s.minus(r.Rewards(0), other))
			}
			d.say("%s | %s | %.0f | %.0f | %s | %s", r.Row.Method, text(r.Row.Reward), r.Decoded, r.RewardCalls, less(byHead), less(byReward))
		}
	}
}

// costs are rewards over decoded tokens, from the base policy's on.
type costs []place

func (s *study) bestOfN(family string) (out costs) {
	for _, r := range append([]*result{&s.rows[0]}, s.family(family)...) {
		out = append(out, place{math.Log(r.Decoded), r.Rewards(0)})
	}
	return out
}

func (c costs) at(decoded float64) ([][]float64, bool) {
	x := math.Log(decoded)
	if x <= c[0].x {
		return c[0].rewards, true
	}
	if last := c[len(c)-1]; x > last.x && x <= last.x+math.Log(1.05) { // as many, but for answers of other lengths
		return last.rewards, true
	}
	of := curve{points: c}
	return of.at(x)
}

// readings compares what else may be read from the same value functions.
func (d *document) readings(all []*study) {
	families := []string{"IVO soft", "IVO pessimistic", "IVO within 2"}
	has := func(s *study) bool {
		return slices.ContainsFunc(families, func(f string) bool { return s.family(f) != nil })
	}
	if !slices.ContainsFunc(all, has) {
		return
	}
	d.say("")
	d.say("## Past the paper: other readings of the same values")
	d.say("")
	d.say("IVO soft guides by the soft value of its beta, IVO pessimistic by the mean of the worst quarter of its returns, IVO within 2 by values that are kept within two deviations of the rewards' mean.")
	for _, s := range all {
		if !has(s) {
			continue
		}
		d.rows(s, append([]string{"base", "IVO"}, families...)...)
		if soft := s.family("IVO soft"); soft != nil {
			last, own := soft[len(soft)-1], s.family("IVO")
			d.say("")
			d.say("The soft value goes to the best return that a state may have as beta grows, which is much the same everywhere: %s diverges by %.2f nats, where %s does by %.2f.", last.Row.Method, mean(last.Outcome.KL()), own[len(own)-1].Row.Method, mean(own[len(own)-1].Outcome.KL()))
		}
	}
}

func (d *document) proxy(all []*study) {
	if d.real {
		return
	}
	d.say("")
	d.say("## Past the paper: proxy against gold")
	s := d.named(all, "proxy")
	if s == nil {
		return
	}
	d.say("")
	d.say("All have the learned reward alone, IVO* and pessimistic what was learned of it, ARGS the reward itself about each of ten candidates; the gold rule says what that is worth.")
	d.table("", "the learned reward", strings.Join(s.watched, " | "), "KL, nats")
	for i := range s.rows {
		r := &s.rows[i]
		line := r.Row.Method + " | " + text(r.Row.Reward)
		for _, name := range s.watched {
			line += " | " + text(r.Others[name])
		}
		d.say("%s | %s", line, r.kl())
	}
}
