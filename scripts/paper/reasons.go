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
	{func(study string, v verdict) bool { return study != "proxy" && strings.Contains(v.claim, "ARGS") }, (*document).whyOracle},
	{about("", "by the reward itself"), (*document).whyAsked},
	{func(study string, v verdict) bool {
		return study == "dialogue" && strings.HasPrefix(v.claim, "IVO ") && !strings.HasPrefix(v.claim, "IVO in blocks")
	}, (*document).whyTwoWords},
	{about("", "K=8"), (*document).whyNumber},
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

// whyOracle: ARGS asks the rule itself about text that is not finished.
func (d *document) whyOracle(s *study, all []*study) string {
	best := s.best("ARGS")
	if best == nil {
		return ""
	}
	why := fmt.Sprintf("ARGS asks the reward itself %.0f times an answer, which no value function does: an oracle, as the rule counts on unfinished text.", best.RewardCalls)
	if s.of("beam, IVO") != nil {
		why += fmt.Sprintf(" Beam search by IVO, which asks it never, has %s more than %s, the best of its settings on the test prompts.", text(s.minus(s.of("beam, IVO").Rewards(0), best.Rewards(0))), best.Row.Method)
	}
	if at := slices.IndexFunc(all, func(s *study) bool { return s.name == "proxy" && s.lacks == "" && len(s.family("ARGS")) > 0 }); at >= 0 && !d.real {
		p := all[at]
		args, own := p.best("ARGS"), p.best("IVO*")
		why += fmt.Sprintf(" Where both have the learned reward alone (proxy), the settings with most of it have by gold: %s %s, %s %s, difference %s.",
			own.Row.Method, text(p.interval(own)), args.Row.Method, text(p.interval(args)), text(p.minus(own.Rewards(p.judge), args.Rewards(p.judge))))
	}
	return why
}

// whyAsked: the best of n by the reward asks what nothing else here may.
func (d *document) whyAsked(s *study, _ []*study) string {
	of := s.family("best-of-n, the reward")
	if len(of) == 0 {
		return ""
	}
	last := of[len(of)-1]
	why := fmt.Sprintf("%s asks the reward about every answer, where nothing that IVO does asks it.", last.Row.Method)
	if own := s.of(strings.Replace(last.Row.Method, "the reward", "IVO", 1)); own != nil {
		why += fmt.Sprintf(" Ranked by IVO's values instead, as many answers have %s less.", text(s.minus(last.Rewards(0), own.Rewards(0))))
	}
	return why
}

// whyNumber: what a second round adds may be the number of answers alone.
func (d *document) whyNumber(s *study, _ []*study) string {
	own, control := s.of("beam, IVO"), s.of("beam, K=8")
	if own == nil || control == nil {
		return ""
	}
	return fmt.Sprintf("As many answers of the base policy teach as much: in the search, two rounds have %s more than they.", text(s.minus(own.Rewards(0), control.Rewards(0))))
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
	why := "Answers name things by two words, of which the first is the choice and the second tells what it is worth: a value of the next token comes too late (under one seed, at the first word values of things on the list and off it part by .12, at the second by .90: docs/log.md). The same values in a search whose blocks hold both or do not: beams get " + strings.Join(sizes, ", ") + "."
	if blocks := s.best("IVO in blocks"); blocks != nil {
		why += fmt.Sprintf(" Guided by blocks of four: %s at %s nats (%s).", number(mean(blocks.Rewards(0))), blocks.kl(), blocks.Row.Method)
	}
	if dpo := s.best("DPO"); dpo != nil {
		why += fmt.Sprintf(" Beam search by IVO has %s more than the best of DPO's settings on the test prompts.", text(s.minus(s.of("beam, IVO").Rewards(0), dpo.Rewards(0))))
	}
	return why
}

// whyFar: how many requests of both kinds are refused as the value is followed farther.
func (d *document) whyFar(s *study, _ []*study) string {
	harmful, harmless := s.kinds()
	base := &s.rows[0]
	var parts []string
	for _, r := range s.family("one-pass") {
		parts = append(parts, fmt.Sprintf("at %.1f nats %s more of the harmful and %s of the harmless", mean(r.Outcome.KL()),
			percent(shareOf(s.right(r, harmful, true), s.right(base, harmful, true))), percent(shareOf(s.right(base, harmless, false), s.right(r, harmless, false)))))
	}
	return "How far the value is followed decides what is refused: " + strings.Join(parts, "; ") + "."
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

// whyRefusals: what the values explain, and how many harmless requests each use of them leaves unanswered.
func (d *document) whyRefusals(s *study, _ []*study) string {
	_, harmless := s.kinds()
	var known, parts []string
	for _, v := range s.x.Values {
		known = append(known, fmt.Sprintf("%s's %s", v.ID, s.explained(v.ID)))
	}
	for _, m := range s.models {
		base := s.by("base", m.id)
		for i := range s.rows {
			r := &s.rows[i]
			if base != nil && r.Row.Model == m.id && r.Outcome.Method.Value != "" && s.family(r.Family+" chosen") == nil {
				parts = append(parts, fmt.Sprintf("%s, %s: %s at %s nats", m.name(), r.Row.Method, percent(shareOf(s.right(r, harmless, false), s.right(base, harmless, false))), r.kl()))
			}
		}
	}
	return fmt.Sprintf("The values' R² over all states and the last ones (%s) leaves room to take harmless requests for harmful ones. Harmless requests that are answered, more than by the base policy: %s.",
		strings.Join(known, "; "), strings.Join(parts, "; "))
}
