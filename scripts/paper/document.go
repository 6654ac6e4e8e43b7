package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/valuehead"
)

// document is what is written: it holds nothing but what follows from the cells, so that a run that was stopped and
// went on gives the same bytes.
type document struct {
	bytes.Buffer
	*paper
}

// say writes a line.
func (d *document) say(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

// table begins a table.
func (d *document) table(columns ...string) {
	d.say("")
	d.say("%s", strings.Join(columns, " | "))
	d.say("---%s", strings.Repeat("|---", len(columns)-1))
}

func (p *paper) write(all []*study) error {
	d := &document{paper: p}
	title := "# The paper's experiments, in the lab"
	if p.real {
		title = "# The paper's experiments, on a real model"
	}
	d.say("%s", title)
	d.say("")
	target := map[bool]string{true: "paper-real", false: "paper"}[p.real]
	few := ""
	if p.few {
		few = fmt.Sprintf(" with at most %d of its seeds", p.Seeds)
	}
	d.say("Written by `make %s EFFORT=%s`%s (scripts/paper); not to be edited. What each method gave under each seed lies in [%s](%s), so that", target, p.name, few, filepath.Base(p.cells), link(p.doc, p.cells))
	d.say("the same command writes this again in seconds and, where something has changed, does anew what that concerns. The paper is arXiv 2503.02368; its numbers are of other")
	d.say("models and rewards, so what can be compared are orders and shapes. Every seed has value functions of its own, learned from answers of its own. Intervals are 95 %% intervals of a")
	d.say("bootstrap over prompts and seeds; differences and verdicts are of methods on the same prompts under the same seeds, paired.")
	if p.name != "full" {
		d.say("This is the effort `%s`: of each recipe at most %s.", p.name, p.atMost())
	}
	d.say("")
	d.say("study | what | carried out")
	d.say("---|---|---")
	for _, s := range all {
		done := "no: " + s.lacks
		if s.lacks == "" {
			done = fmt.Sprintf("%d prompts to learn from, %d to choose on, %d to test on; seeds: %d", len(s.x.Prompts.Train.Records), len(s.x.Prompts.Validation.Records), len(s.x.Prompts.Test.Records), len(s.x.Seeds))
			if n := len(s.missing); n > 0 {
				done += fmt.Sprintf("; %d methods, those that are missing below, have not been carried out yet", n)
			}
		}
		d.say("%s | %s | %s", s.name, s.about, done)
	}
	d.verdicts(all)
	d.frontier(all)
	d.wins(all)
	d.beams(all)
	d.transfer(all)
	d.safety(all)
	d.growth(all)
	d.timing(all)
	d.settings(all)
	d.compute(all)
	d.proxy(all)
	if err := os.MkdirAll(filepath.Dir(p.doc), 0o755); err != nil {
		return err
	}
	for _, s := range all {
		if s.task && s.lacks == "" {
			if err := s.page(p.page(s)); err != nil {
				return err
			}
		}
	}
	return atomicfile.WriteBytes(p.doc, d.Bytes())
}

// page is where a task's plots lie: beside the cells.
func (p *paper) page(s *study) string { return filepath.Join(filepath.Dir(p.cells), s.name+".html") }

func link(doc, to string) string {
	rel, err := filepath.Rel(filepath.Dir(doc), to)
	if err != nil {
		return to
	}
	return filepath.ToSlash(rel)
}

// atMost says how much of a recipe the effort takes.
func (e effort) atMost() string {
	seeds := "one seed"
	if e.Seeds != 1 {
		seeds = fmt.Sprintf("%d seeds", e.Seeds)
	}
	return fmt.Sprintf("%d prompts to learn from, %d to choose on, %d to test on, and %s", e.Train, e.Validation, e.Test, seeds)
}

// tasks are the studies of a task that were carried out; what is missing of the others is said.
func (d *document) tasks(all []*study) (out []*study) {
	for _, s := range all {
		switch {
		case s.task && s.lacks == "":
			out = append(out, s)
		case s.task:
			d.say("")
			d.say("%s: not carried out, %s.", s.name, s.lacks)
		}
	}
	return out
}

// named is the study of a name where it was carried out; else nil, which is said.
func (d *document) named(all []*study, name string) *study {
	for _, s := range all {
		if s.name == name && s.lacks == "" {
			return s
		} else if s.name == name {
			d.say("")
			d.say("Not carried out: %s.", s.lacks)
			return nil
		}
	}
	d.say("")
	d.say("Not a part of this document.")
	return nil
}

func (d *document) verdicts(all []*study) {
	d.say("")
	d.say("## What the paper claims, and whether it holds here")
	var lines []claimed
	counts := map[string]int{}
	for _, s := range all {
		if s.lacks != "" {
			lines = append(lines, claimed{s, "", verdict{"all", unknown, s.lacks}})
			continue
		}
		for _, part := range []struct {
			figure string
			of     func() []verdict
			task   bool
		}{
			{"Fig. 2", s.frontierClaims, true}, {"Table 1", s.winClaims, true}, {"Fig. 3", s.beamClaims, true}, {"Fig. 4", s.growthClaims, true},
			{"Table 2", s.transferClaims, false}, {"Table 3", s.safetyClaims, false}, {"Proxy", s.proxyClaims, false},
		} {
			if s.task != part.task {
				continue
			}
			for _, v := range part.of() {
				lines = append(lines, claimed{s, part.figure, v})
				counts[strings.SplitN(v.holds, ":", 2)[0]]++
			}
		}
	}
	d.say("")
	d.say("A claim holds where the paired interval is clear of zero on its side, does not hold where it is clear on the other side, and is not clear else. Where a curve is compared with another")
	d.say("one at every matched KL, it holds where it is clearly above at all of the other one's settings. Of %d claims that were measured, %d hold and %d do not.",
		len(lines)-counts[unknown]-len(slices.DeleteFunc(slices.Clone(all), func(s *study) bool { return s.lacks == "" })), counts[holds], counts[fails])
	d.table("study", "figure", "claim", "verdict", "figures")
	for _, l := range lines {
		d.say("%s | %s | %s | %s | %s", l.study.name, l.figure, l.claim, l.holds, l.figures)
	}
	d.failures(lines, all)
}

// claimed is a claim of a study with its verdict.
type claimed struct {
	study  *study
	figure string
	verdict
}

// row tells of a method in a table of those that are compared by reward and KL.
func (d *document) row(s *study, r *result) {
	kl := digits(r.Row.KL, 2)
	if r.KLKind == decode.KLBound {
		kl = "at most " + kl
	}
	others := ""
	for _, name := range s.watched {
		others += " | " + text(r.Others[name])
	}
	d.say("%s | %s | %s | %s | %.1f%s", r.Row.Method, text(r.Row.Reward), kl, percent(r.Row.Wins), r.DecodedPerEmitted, others)
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
	d.say("Here greedy decoding and lower temperatures, which cost nothing, are shown too. KL is that of a whole answer, where the paper's is that of a token's. ARGS asks the reward itself about every candidate's text,")
	if d.real {
		d.say("which is an oracle where the rule can count on unfinished text. All methods decode one token a token: IVO, IVO* and FUDGE tilt the whole vocabulary by what each token adds to the value,")
		d.say("VAS and CD-Q the candidates by heads that value tokens before they are fed. Betas count in units of what the value moves in an answer.")
	} else {
		d.say("which is an oracle where the rule can count on unfinished text. IVO is tokenwise guidance by a mean value (Eq. 5), IVO soft by the soft value, IVO pessimistic by the mean of the worst quarter of its returns, IVO within 2 by values that are kept within two deviations of the rewards' mean.")
	}
	for _, s := range d.tasks(all) {
		d.say("")
		d.say("[%s, plotted](%s)", s.name, link(d.doc, d.page(s)))
		d.rows(s, "base", "temperature", "greedy", "IVO", "IVO within 2", "IVO soft", "IVO pessimistic", "IVO*", "FUDGE", "VAS", "CD-Q", "ARGS", "DPO", "IPO", "SFT")
	}
}

func (s *study) winClaims() (out []verdict) {
	own := s.chosen("IVO")
	for _, name := range []string{"FUDGE", "VAS", "CD-Q", "ARGS", "DPO", "IPO"} {
		other := s.chosen(name)
		v := verdict{fmt.Sprintf("IVO wins more often against the base policy than %s", name), unknown, ""}
		if own != nil && other != nil {
			x := s.minus(experiment.Wins(own.Cells, s.rows[0].Cells, 0), experiment.Wins(other.Cells, s.rows[0].Cells, 0))
			v.holds, v.figures = above(x), fmt.Sprintf("%s and %s: difference %s", percent(own.Row.Wins), percent(other.Row.Wins), percent(x))
		}
		out = append(out, v)
	}
	beam := s.of("beam, IVO")
	for _, name := range []string{"DPO", "IPO"} {
		if other := s.chosen(name); beam != nil && other != nil {
			x := s.minus(experiment.Wins(beam.Cells, s.rows[0].Cells, 0), experiment.Wins(other.Cells, s.rows[0].Cells, 0))
			out = append(out, verdict{fmt.Sprintf("beam search by IVO wins more often against the base policy than %s", name), above(x),
				fmt.Sprintf("%s and %s: difference %s", percent(beam.Row.Wins), percent(other.Row.Wins), percent(x))})
			out = append(out, s.claim(fmt.Sprintf("as a baseline, %s is above SFT on the best of the same answers", name), other, s.of("SFT"), 0))
		}
	}
	return out
}

func (d *document) wins(all []*study) {
	d.say("")
	d.say("## Table 1: win rate against the base policy")
	d.say("")
	d.say("The paper, on HH by GPT-4: FUDGE 64.85, VAS 68.49, DPO 72.45, IPO 66.55, IVO 77.52 %%. Here the judges are the rewards: of an answer and one of the base policy to the same prompt, the one with more wins;")
	d.say("ties count one half. The setting of each method is the one with the largest reward on the validation prompts. The training's price is an estimate: 2 operations a parameter and token of the policy for")
	d.say("what is sampled, 6 a parameter of the head and state for each pass over these, or 2 a pair of columns and state of a head in closed form; of DPO and IPO 6 a parameter and token that is trained on and 2 a token that is read, over all settings that were tried.")
	if d.real {
		d.say("A step of DPO of all of this model's weights takes 5.4 GB and a second of a core for 124 tokens (docs/log.md); here adapters are trained, whose step needs neither moments nor gradients of all weights.")
	}
	for _, s := range d.tasks(all) {
		columns := []string{s.name, s.x.Reward.Spec + ": wins"}
		for _, name := range s.watched {
			columns = append(columns, name+": wins")
		}
		d.table(append(columns, "training, FLOPs")...)
		for _, name := range []string{"FUDGE", "VAS", "CD-Q", "ARGS", "DPO", "IPO", "IVO"} {
			r := s.chosen(name)
			if r == nil {
				d.say("%s%s", name, strings.Repeat(" | "+unknown, len(columns)))
				continue
			}
			line := r.Row.Method + " | " + percent(r.Row.Wins)
			for i := range s.watched {
				line += " | " + percent(s.resample.Of(experiment.Wins(r.Cells, s.rows[0].Cells, 1+i)).Interval())
			}
			d.say("%s | %s", line, s.price(name, r))
		}
		d.tuning(s)
	}
}

// tuning tells what was tried before a setting of each method was taken, so that no method has had more of a chance
// than others without its being seen.
func (d *document) tuning(s *study) {
	prompts := len(s.x.Prompts.Validation.Records)
	d.table("what choosing took: "+s.name, "settings", "policies trained", "compared", "trajectories a prompt", "tokens trained on", "answers to choose by")
	for _, name := range []string{"FUDGE", "VAS", "CD-Q", "ARGS", "DPO", "IPO", "IVO"} {
		at := slices.IndexFunc(s.choices, func(c experiment.Choice) bool { return c.Rows[0].Family == name+" chosen" })
		if at < 0 {
			continue
		}
		settings, trained, compared, tokens := len(s.choices[at].Rows), 0, 0, 0
		r := s.chosen(name)
		if r == nil {
			continue
		}
		answers := settings * prompts * r.Outcome.Method.Samples
		for _, t := range s.tunings {
			if strings.HasPrefix(t.Policy, name+" ") && t.Seed == s.x.Seeds[0] {
				e := t.Report.Effort
				trained, compared, tokens, answers = trained+e.Trained, compared+e.Compared, tokens+e.Tokens, answers+e.Answers
			}
		}
		d.say("%s | %d | %d | %d | %s | %d | %d", name, settings, trained, compared, s.trajectories(name), tokens, answers)
	}
}

// trajectories are those of a prompt that a method has learned from.
func (s *study) trajectories(name string) string {
	switch name {
	case "ARGS":
		return "0"
	case "IVO":
		return "8, in two rounds"
	}
	return "4"
}

// price is about what it took to learn what a method goes by, as far as that is known.
func (s *study) price(name string, r *result) string {
	if r.Outcome.Method.Policy != "" { // all that were tried
		flops := 0.0
		for _, t := range s.tunings {
			if strings.HasPrefix(t.Policy, name+" ") && t.Seed == s.x.Seeds[0] {
				flops += t.Report.Effort.FLOPs
			}
		}
		return fmt.Sprintf("%.1e", flops)
	}
	v := s.x.Value(r.Value)
	for _, l := range s.learned {
		if l.Value != r.Value {
			continue
		}
		tokens := float64(max(1, v.Source.After)*l.Trajectories) * l.Tokens
		const epochs = 5
		learning := 6 * float64(l.Parameters) * epochs                                  // a state
		if l.Head == string(valuehead.Linear) || l.Head == string(valuehead.Additive) { // in closed form
			learning = 2 * float64(l.Parameters) * float64(l.Parameters)
		}
		return fmt.Sprintf("%.1e", (2*s.models[0].parameters+learning)*tokens)
	}
	if v.Source.Reward != "" {
		return "0"
	}
	return "not kept"
}

func (d *document) beams(all []*study) {
	d.say("")
	d.say("## Fig. 3: block beam search with each value function")
	d.say("")
	d.say("The paper: on TL;DR base 3.2, ARGS 3.55, FUDGE 4.05, VAS 4.15, IVO* 4.25, IVO 4.3; on HH 2.1, -, 2.7, 2.7, 2.8, 3.1. There four beams of blocks of four tokens, here %s.", map[bool]string{true: "three of eight", false: "the same"}[d.real])
	for _, s := range d.tasks(all) {
		d.rows(s, "base", "greedy", "beam", "beam sizes", "block sizes")
	}
}

func (d *document) growth(all []*study) {
	d.say("")
	d.say("## Fig. 4: trajectories and rounds")
	d.say("")
	d.say("The paper: the main jump at four trajectories a prompt; rounds 2.82, 3.1, 3.15. Here the same beam search; as many trajectories of the base policy as two and three rounds take are the control.")
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

func (d *document) timing(all []*study) {
	d.say("")
	d.say("## Table 4 and Fig. 5: relative time, and block size")
	d.say("")
	d.say("The paper: 2.7 : 1.5 : 1.0 and 4.4 : 1.6 : 1.0. Processor time of an emitted token by one thread, prompts included, of one prompt at a time, all methods in turns in one run.")
	for _, s := range d.tasks(all) {
		if s.times == nil {
			continue
		}
		d.table(s.name, "time of a token", "relative to the base policy", "decoded a token", "reward")
		for _, t := range s.times {
			reward := ""
			if r := s.of(t.Method); r != nil {
				reward = text(r.Row.Reward)
			}
			d.say("%s | %.2g ms | %s | %.1f | %s", t.Method, 1e3*t.Seconds, digits(t.Relative, 1), t.Decoded, reward)
		}
	}
}

func (d *document) settings(all []*study) {
	d.say("")
	d.say("## Table 5: settings")
	d.table("", "the paper", "here")
	for _, row := range [][3]string{
		{"trajectories a prompt, K", "4", "4"}, {"temperature", ".7", ".7"}, {"candidates, k", "20", "20; the whole vocabulary where a table of tokens tilts it"}, {"beta", "2", "swept; chosen on validation prompts where one is taken"},
		{"rounds", "2", "2"}, {"learning rate", "5e-6, of a language model", "2e-3, of a head on the policy's states; none of one in closed form"}, {"batch", "128", "whole answers, 1,024 states or more"},
		{"value function", "a fine-tuned language model", "a head on what the policy's own decoding yields: " + kinds(all)},
		{"round 2's policy", "blockwise, beta 2", "block beam search, two beams of blocks of four"},
	} {
		d.say("%s | %s | %s", row[0], row[1], row[2])
	}
	for _, s := range all {
		if s.lacks != "" || len(s.choices) == 0 {
			continue
		}
		d.table(s.name, "chosen", "on the validation prompts")
		for _, c := range s.choices {
			var tried []string
			for _, r := range c.Rows {
				tried = append(tried, fmt.Sprintf("%s: %.2f at %.2f", r.Method, r.Reward.Mean, r.KL.Mean))
			}
			d.say("%s | %s | %s", c.Rows[0].Family, c.Taken, strings.Join(tried, "; "))
		}
	}
}

// kinds are those of the heads that IVO's values are, by study.
func kinds(all []*study) string {
	var of []string
	for _, s := range all {
		var heads []string
		for _, l := range s.learned {
			if (l.Value == "IVO" || l.Value == "IVO*") && !slices.Contains(heads, l.Head) {
				heads = append(heads, l.Head)
			}
		}
		if len(heads) > 0 {
			of = append(of, s.name+" "+strings.Join(heads, ", "))
		}
	}
	return strings.Join(of, "; ")
}

// compute compares what methods give with what the best of several answers gives that decodes as much.
func (d *document) compute(all []*study) {
	d.say("")
	d.say("## Past the paper: reward against decoded tokens")
	d.say("")
	d.say("Best-of-n at equal decoded tokens is what lies between its two nearest n, in a straight line over the logarithm.")
	for _, s := range d.tasks(all) {
		d.table(s.name, "reward", "decoded tokens an answer", "reward calls", "less best-of-n by IVO at equal tokens", "less best-of-n by the reward")
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
	if x <= c[0].kl {
		return c[0].rewards, true
	}
	of := curve{points: c}
	return of.at(x)
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
	d.table("", s.x.Reward.Spec, cmp.Or(strings.Join(s.watched, " | "), "gold"), "KL, nats")
	for i := range s.rows {
		r := &s.rows[i]
		line := r.Row.Method + " | " + text(r.Row.Reward)
		for _, name := range s.watched {
			line += " | " + text(r.Others[name])
		}
		d.say("%s | %s", line, digits(r.Row.KL, 2))
	}
}
