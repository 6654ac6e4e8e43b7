package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Table 1: how often each method wins against the base policy, and what was tried before its setting was taken.

// compared are the methods whose chosen settings Table 1 compares.
var compared = []string{"FUDGE", "VAS", "CD-Q", "ARGS", "SFT", "DPO", "IPO", "K=8", "IVO"}

func (s *study) winClaims() (out []verdict) {
	wins := func(what string, a, b *result) verdict {
		if a == nil || b == nil {
			return verdict{claim: what, holds: unknown}
		}
		d := s.minus(experiment.Wins(a.Cells, s.rows[0].Cells, 0), experiment.Wins(b.Cells, s.rows[0].Cells, 0))
		return verdict{claim: what, holds: above(d), figures: fmt.Sprintf("%s and %s: difference %s", percent(a.Row.Wins), percent(b.Row.Wins), percent(d))}
	}
	for _, name := range compared[:len(compared)-1] {
		v := wins(fmt.Sprintf("IVO wins more often against the base policy than %s", name), s.chosen("IVO"), s.chosen(name))
		if c := s.choice(name); c != nil && c.None {
			v.holds, v.figures = unknown, "none of its settings may be chosen: all repeat themselves more than the base policy by too much, or go too far from it"
		}
		v.ours = name == "ARGS" || slices.Contains(ownRivals, name) // ARGS is not in the paper's table
		out = append(out, v)
	}
	for _, name := range []string{"DPO", "IPO"} {
		if other := s.chosen(name); other != nil {
			out = append(out, asOurs(
				wins(fmt.Sprintf("beam search by IVO wins more often against the base policy than %s", name), s.of("beam, IVO"), other),
				s.claim(fmt.Sprintf("as a baseline, %s is above SFT on the best of the same answers", name), other, s.of("SFT"), 0),
			)...)
		}
	}
	return out
}

func (d *document) wins(all []*study) {
	d.say("")
	d.say("## Table 1: win rate against the base policy")
	d.say("")
	d.say("The paper, on HH by GPT-4: FUDGE 64.85, VAS 68.49, DPO 72.45, IPO 66.55, IVO 77.52 %%. Here the judges are the rewards: an answer wins where its reward is above that of an answer of the base policy to the")
	d.say("same prompt; ties count one half. The setting of each method is the one with the largest reward on the validation prompts%s; so few prompts choose among near ones by chance, of which the intervals know nothing.", map[bool]string{true: ", of those that repeat themselves hardly more than the base policy and go no more than 25 nats an answer from it, about as far as trained policies do"}[d.real])
	d.say("Of a prompt FUDGE learns from one answer, as in its paper, IVO from eight in two rounds, all others from eight of the base policy: VAS and CD-Q from all of them, DPO and IPO from the best and the worst, SFT from the best; K=8 is the control, learned as IVO is.")
	d.say("The training's price is an estimate: 2 operations a parameter and token of the policy for what is decoded, 6 a parameter of the head and state for each pass over these, or 2 a pair of columns and state of a head in closed form;")
	d.say("of policies 6 a parameter and token that is trained on and 2 a token that is read, over all settings that were tried.")
	if d.real {
		d.say("A step of DPO of all of this model's weights takes 5.4 GB and a second of a core for 124 tokens (docs/log.md); here adapters are trained, whose step needs neither moments nor gradients of all weights.")
	}
	for _, s := range d.tasks(all) {
		columns := []string{s.name, s.x.Reward.Spec + ": wins"}
		for _, name := range s.watched {
			columns = append(columns, name+": wins")
		}
		d.table(append(columns, "KL, nats", "decoded a token", "training, FLOPs")...)
		for _, name := range compared {
			r, c := s.chosen(name), s.choice(name)
			if r == nil || c != nil && c.None {
				d.say("%s%s", name, strings.Repeat(" | "+unknown, len(columns)+2))
				continue
			}
			line := r.Row.Method + " | " + percent(r.Row.Wins)
			for i := range s.watched {
				line += " | " + percent(s.resample.Of(experiment.Wins(r.Cells, s.rows[0].Cells, 1+i)).Interval())
			}
			d.say("%s | %s | %.1f | %s", line, r.kl(), r.DecodedPerEmitted, s.price(name, r))
		}
		d.tuning(s)
	}
}

// tuning tells what was tried before a setting of each method was taken, so that no method has had more of a chance
// than others without its being seen.
func (d *document) tuning(s *study) {
	prompts := len(s.x.Prompts.Validation.Records)
	d.table("what choosing took, over all seeds: "+s.name, "settings", "policies trained", "checkpoints compared", "trajectories a prompt", "tokens trained on", "answers to choose by")
	for _, name := range compared {
		r := s.chosen(name)
		c := s.choice(name)
		if r == nil || c == nil && name != "SFT" {
			continue
		}
		settings, trained, checkpoints, tokens := 0, 0, 0, 0
		if c != nil {
			settings = len(c.Rows)
		}
		answers := settings * prompts * r.Outcome.Method.Samples * len(s.x.Seeds)
		for _, t := range s.tunings {
			if trainedAs(t.Policy, name) {
				e := t.Report.Effort
				trained, checkpoints, tokens, answers = trained+e.Trained, checkpoints+e.Compared, tokens+e.Tokens, answers+e.Answers
			}
		}
		d.say("%s | %d | %d | %d | %s | %d | %d", name, settings, trained, checkpoints, trajectories(name), tokens, answers)
	}
}

// trainedAs says whether a policy is one of a method's: "DPO 0.1" of DPO.
func trainedAs(policy, method string) bool {
	return policy == method || strings.HasPrefix(policy, method+" ")
}

// choice is how a method's setting was chosen, nil where it was not.
func (s *study) choice(name string) *experiment.Choice {
	at := slices.IndexFunc(s.choices, func(c experiment.Choice) bool { return c.Rows[0].Family == name+" chosen" })
	if at < 0 {
		return nil
	}
	return &s.choices[at]
}

// trajectories are those of a prompt that a method has learned from.
func trajectories(name string) string {
	switch name {
	case "ARGS":
		return "0"
	case "FUDGE":
		return "1"
	case "IVO":
		return "8, in two rounds"
	}
	return "8"
}

// searched is about how many tokens a later round's search decodes for one of an answer: two beams of blocks of four.
const searched = 3.2

// price is about what it took to learn what a method goes by, under a seed, as far as that is known.
func (s *study) price(name string, r *result) string {
	if r.Outcome.Method.Policy != "" { // all that were tried
		flops := 0.0
		for _, t := range s.tunings {
			if trainedAs(t.Policy, name) && t.Seed == s.x.Seeds[0] {
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
		round := float64(l.Trajectories) * l.Tokens // tokens of one
		if v.Source.Learn != nil && v.Source.Learn.Target == string(valuehead.FUDGE) {
			round /= float64(s.x.Run(v.Source.Run).Options.Samples)
		}
		rounds := float64(max(1, v.Source.After))
		decoded, states := round*(1+searched*(rounds-1)), round*rounds*(rounds+1)/2 // each round learns from those before it too
		const epochs = 5
		learning := 6 * float64(l.Parameters) * epochs                                  // a state
		if l.Head == string(valuehead.Linear) || l.Head == string(valuehead.Additive) { // in closed form
			learning = 2 * float64(l.Parameters) * float64(l.Parameters)
		}
		return fmt.Sprintf("%.1e", 2*s.models[0].parameters*decoded+learning*states)
	}
	if v.Source.Reward != "" {
		return "0"
	}
	return "not kept"
}
