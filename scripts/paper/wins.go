package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Table 1: how often each method wins against the base policy, and what was tried before its setting was taken.

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
