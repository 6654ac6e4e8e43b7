package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// reason says why claims do not hold, by what was measured.
type reason struct {
	of  func(study string, v verdict) bool // the claims
	why func(d *document, s *study, all []*study) string
}

// about finds the claims of a study, any for "", that have some words in them.
func about(name string, words ...string) func(string, verdict) bool {
	return func(study string, v verdict) bool {
		return (name == "" || study == name) && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(v.claim, w) })
	}
}

// reasons are those that are known. Each is an experiment that is among the recipes, and its figures are of the cells.
var reasons = []reason{
	{about("", "IVO soft"), (*document).whySoft},
	{about("", "ARGS"), (*document).whyOracle},
	{about("dialogue", "at every matched KL", "wins more often"), (*document).whyTwoWords},
	{about("safety", "harmless"), (*document).whyRefusals},
	{about("real-safety", "harmless"), (*document).whyFar},
}

// failures tells of the claims that do not hold, with the reasons as far as they were found.
func (d *document) failures(lines []claimed, all []*study) {
	d.say("")
	d.say("## Where a claim does not hold, and why")
	type group struct {
		study  *study
		reason int
	}
	var groups []group
	claims := map[group][]string{}
	for _, l := range lines {
		if !strings.HasPrefix(l.holds, fails) {
			continue
		}
		g := group{l.study, slices.IndexFunc(reasons, func(r reason) bool { return r.of(l.study.name, l.verdict) })}
		if claims[g] == nil {
			groups = append(groups, g)
		}
		claims[g] = append(claims[g], l.claim)
	}
	if len(groups) == 0 {
		d.say("")
		d.say("No claim is clearly contradicted.")
		return
	}
	d.table("study", "claims", "why")
	for _, g := range groups {
		why := ""
		if g.reason >= 0 {
			why = reasons[g.reason].why(d, g.study, all)
		}
		if why == "" {
			why = "not found yet"
		}
		d.say("%s | %s | %s", g.study.name, strings.Join(claims[g], "; "), why)
	}
}

// whySoft: V_beta goes to the largest return that a state may have, which is the same for all.
func (d *document) whySoft(s *study, _ []*study) string {
	soft := s.family("IVO soft")
	plain, ok := s.curve("IVO")
	if len(soft) == 0 || !ok {
		return ""
	}
	last := soft[len(soft)-1]
	same, ok := plain.at(mean(last.Outcome.KL()))
	if !ok {
		return ""
	}
	return fmt.Sprintf("The soft value goes to the best return that a state may have as beta grows, and that is alike everywhere: its KL ends at %.2f nats, where the mean's goes on to %.2f. At that KL the two differ by %s.",
		mean(last.Outcome.KL()), plain.points[len(plain.points)-1].kl, text(s.minus(last.Rewards(0), same)))
}

// whyOracle: ARGS asks the rule itself about text that is not finished.
func (d *document) whyOracle(s *study, all []*study) string {
	best := s.best("ARGS")
	if best == nil {
		return ""
	}
	why := fmt.Sprintf("ARGS asks the reward itself %.0f times an answer, which no value function does: an oracle, as the rule counts on unfinished text.", best.RewardCalls)
	if s.of("beam, IVO") != nil {
		why += fmt.Sprintf(" Beam search by IVO, which asks it never, is %s from it.", text(s.minus(s.of("beam, IVO").Rewards(0), best.Rewards(0))))
	}
	if at := slices.IndexFunc(all, func(s *study) bool { return s.name == "proxy" && s.lacks == "" && len(s.family("ARGS")) > 0 }); at >= 0 && !d.real {
		p := all[at]
		args, own := p.best("ARGS"), p.best("IVO*")
		why += fmt.Sprintf(" Where both have the learned reward alone (proxy), the settings with most of it have by gold: %s %s, %s %s, difference %s.",
			own.Row.Method, text(p.interval(own)), args.Row.Method, text(p.interval(args)), text(p.minus(own.Rewards(p.judge), args.Rewards(p.judge))))
	}
	return why
}

// whyTwoWords: what is named by two words is worth something at the second, where there is nothing to choose any more.
func (d *document) whyTwoWords(s *study, _ []*study) string {
	var sizes []string
	for _, x := range []struct{ block, method string }{{"1", "beam of blocks of 1"}, {"2", "beam of blocks of 2"}, {"4", "beam, IVO"}, {"8", "beam of blocks of 8"}} {
		if r := s.of(x.method); r != nil {
			sizes = append(sizes, fmt.Sprintf("%.2f by blocks of %s", mean(r.Rewards(0)), x.block))
		}
	}
	if len(sizes) < 4 {
		return ""
	}
	why := "Answers name things by two words, of which the first is the choice and the second tells what it is worth: a value of the next token comes too late (docs/log.md: at the first word values of things on the list and off it part by .12, at the second by .90). The same values search well as soon as a block holds both: beams get " + strings.Join(sizes, ", ") + "."
	if dpo := s.best("DPO"); dpo != nil {
		why += fmt.Sprintf(" Beam search by IVO less the best of DPO: %s.", text(s.minus(s.of("beam, IVO").Rewards(0), dpo.Rewards(0))))
	}
	if within := s.family("IVO within 2"); len(within) > 0 {
		own := s.family("IVO")
		why += fmt.Sprintf(" Followed far, a sum over tokens values saying more without end: %s has %.2f at %.0f nats; values kept within two deviations of the rewards' mean (`within`) have %.2f at %.0f there.",
			own[len(own)-1].Row.Method, mean(own[len(own)-1].Rewards(0)), mean(own[len(own)-1].Outcome.KL()), mean(within[len(within)-1].Rewards(0)), mean(within[len(within)-1].Outcome.KL()))
	}
	return why
}

// whyFar: what refuses a little more of the harmful requests at a few nats refuses both kinds alike at many.
func (d *document) whyFar(s *study, _ []*study) string {
	harmful, harmless := s.kinds()
	base := &s.rows[0]
	var parts []string
	for _, r := range s.family("one-pass") {
		parts = append(parts, fmt.Sprintf("at %.1f nats %s more of the harmful and %s of the harmless", mean(r.Outcome.KL()),
			percent(shareOf(s.right(r, harmful, true), s.right(base, harmful, true))), percent(shareOf(s.right(base, harmless, false), s.right(r, harmless, false)))))
	}
	return "The value hardly tells twins of the same words apart, so how far it is followed decides: refused are " + strings.Join(parts, "; ") + "."
}

// best is the setting of a family with the most reward; nil of none.
func (s *study) best(family string) (best *result) {
	for _, r := range s.family(family) {
		if best == nil || mean(r.Rewards(0)) > mean(best.Rewards(0)) {
			best = r
		}
	}
	return best
}

// interval is that of a result by what claims of the study are about.
func (s *study) interval(r *result) eval.Interval {
	return s.resample.Of(r.Rewards(s.judge)).Interval()
}

// whyRefusals: a search by a value that hardly tells the requests apart finds the refusals, which are short and sure.
func (d *document) whyRefusals(s *study, _ []*study) string {
	_, harmless := s.kinds()
	base := s.by("base", s.models[0].id)
	if base == nil {
		return ""
	}
	of := s.right(base, harmless, false)
	var parts []string
	for i := range s.rows {
		r := &s.rows[i]
		if r.Row.Model == s.models[0].id && r.Outcome.Method.Value != "" && s.family(r.Family+" chosen") == nil {
			parts = append(parts, fmt.Sprintf("%s %s", r.Row.Method, percent(shareOf(s.right(r, harmless, false), of))))
		}
	}
	return fmt.Sprintf("What was learned has an R² of %s over all states and the last ones, so that some harmless requests are taken for harmful ones; a search over whole blocks finds every refusal that is valued too highly, where guidance token by token follows the values less far. Harmless requests that are answered, more than by the base policy %s: %s. With the task's reward alone, by which an empty refusal of a harmless request costs no more than this policy's answers (docs/log.md), half of them were refused.",
		s.explained(s.x.Values[0].ID), s.models[0].name(), strings.Join(parts, "; "))
}
