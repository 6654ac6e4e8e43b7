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
	{about("", "at its largest beta"), (*document).whyStill},
	{func(study string, v verdict) bool { return study != "proxy" && strings.Contains(v.claim, "ARGS") }, (*document).whyOracle},
	{about("", "by the reward itself"), (*document).whyAsked},
	{func(study string, v verdict) bool { return study == "dialogue" && strings.HasPrefix(v.claim, "IVO ") }, (*document).whyWhole},
	{func(_ string, v verdict) bool {
		return strings.HasPrefix(v.claim, "IVO wins") && (strings.HasSuffix(v.claim, "DPO") || strings.HasSuffix(v.claim, "IPO"))
	}, (*document).whyTaken},
	{about("", "K=8"), (*document).whyNumber},
	{about("", "IVO in blocks"), (*document).whyCandidates},
	{about("", "above SFT"), (*document).whySFT},
	{about("", "harmless"), (*document).whyFar},
	{about("", "beam search by IVO wins"), (*document).whyNear},
	{about("", "that by CD-Q"), (*document).whySame},
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
		why += fmt.Sprintf(" Beam search by IVO, which asks it never, is %s from %s, the best of its settings on the test prompts.", text(s.minus(s.of("beam, IVO").Rewards(0), best.Rewards(0))), best.Row.Method)
	}
	if at := slices.IndexFunc(all, func(s *study) bool { return s.name == "proxy" && s.lacks == "" && len(s.family("ARGS")) > 0 }); at >= 0 && !d.real {
		p := all[at]
		args, own := p.best("ARGS"), p.best("IVO*")
		why += fmt.Sprintf(" Where both have a learned reward alone (the study proxy, of summaries), the settings with most of it have by gold: %s %s, %s %s, difference %s.",
			own.Row.Method, text(p.interval(own)), args.Row.Method, text(p.interval(args)), text(p.minus(own.Rewards(p.judge), args.Rewards(p.judge))))
	}
	return why
}

// whyStill: how far the sweeps go.
func (d *document) whyStill(s *study, _ []*study) string {
	var parts []string
	for _, name := range []string{"FUDGE", "VAS", "ARGS"} {
		if of := s.family(name); len(of) > 1 {
			last := of[len(of)-1]
			parts = append(parts, fmt.Sprintf("%s is at %s nats", last.Row.Method, last.kl()))
		}
	}
	return "The reward rises to the end of what was tried, farther was not gone: " + strings.Join(parts, ", ") + "."
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

// whyCandidates: a block is chosen among few that the base policy drew.
func (d *document) whyCandidates(s *study, _ []*study) string {
	own, blocks := s.family("IVO"), s.family("IVO in blocks")
	if len(own) == 0 || len(blocks) == 0 {
		return ""
	}
	a, b := own[len(own)-1], blocks[len(blocks)-1]
	return fmt.Sprintf("A block is one of twenty that the base policy drew, where a token is one of its twenty likeliest: with the largest beta they come to %s and %s nats, at %.1f and %.1f decoded tokens a token.", b.kl(), a.kl(), b.DecodedPerEmitted, a.DecodedPerEmitted)
}

// whySFT: what preferences teach where the best of few answers is good already.
func (d *document) whySFT(s *study, _ []*study) string {
	sft := s.of("SFT")
	if sft == nil {
		return ""
	}
	parts := []string{fmt.Sprintf("SFT %s at %s nats", number(mean(sft.Rewards(0))), sft.kl())}
	for _, name := range []string{"DPO", "IPO"} {
		for _, r := range s.family(name) {
			parts = append(parts, fmt.Sprintf("%s %s at %s", r.Row.Method, number(mean(r.Rewards(0))), r.kl()))
		}
	}
	return "Of the same answers, at the best step of the better rate by the validation prompts, which are few: " + strings.Join(parts, "; ") + ". With 720 pairs and 80 prompts to choose on DPO is .57 [.45, .68] above SFT on summaries under one seed and .13 [−.14, .40] under two others (docs/log.md): it takes more than these."
}

// whyNumber: what a second round adds may be the number of answers alone.
func (d *document) whyNumber(s *study, _ []*study) string {
	own, control := s.of("beam, IVO"), s.of("beam, K=8")
	if own == nil || control == nil {
		return ""
	}
	return fmt.Sprintf("As many answers of the base policy teach as much: in the search, two rounds are %s from them.", text(s.minus(own.Rewards(0), control.Rewards(0))))
}

// whyWhole: values that tell whole answers apart need not tell what to say next.
func (d *document) whyWhole(s *study, _ []*study) string {
	own, ranked, base := s.family("IVO"), s.of("best-of-16, IVO"), &s.rows[0]
	var sizes []string
	for _, x := range []struct{ block, method string }{{"1", "beam of blocks of 1"}, {"2", "beam of blocks of 2"}, {"4", "beam, IVO"}, {"8", "beam of blocks of 8"}} {
		if r := s.of(x.method); r != nil {
			sizes = append(sizes, fmt.Sprintf("%s by blocks of %s", number(mean(r.Rewards(0))), x.block))
		}
	}
	if len(own) == 0 || ranked == nil || len(sizes) < 4 {
		return ""
	}
	why := fmt.Sprintf("The values tell whole answers apart (the best of 16 by them has %s more than the base policy), hardly what to say next: things are named by two words, of which the first is the choice and the second tells what it is worth (docs/log.md).", text(s.minus(ranked.Rewards(0), base.Rewards(0))))
	if blocks := s.family("IVO in blocks"); len(blocks) > 0 {
		why += fmt.Sprintf(" Nor which block to take: %s has %s at %s nats.", blocks[0].Row.Method, number(mean(blocks[0].Rewards(0))), blocks[0].kl())
	}
	last := own[len(own)-1]
	why += fmt.Sprintf(" Followed far they go on: answers of %s have %.0f tokens, the base policy's %.0f.", last.Row.Method, last.Decoded/last.DecodedPerEmitted, base.Decoded/base.DecodedPerEmitted)
	if len(s.watched) > 0 {
		name, far := s.watched[0], own[len(own)-2]
		why += fmt.Sprintf(" The learned judge, a head on the same features as the values, is taken in with them: by it %s has %s, the base policy %s.", far.Row.Method, text(far.Others[name]), text(base.Others[name]))
	}
	why += " A search that keeps several answers to their ends and takes the best of these gains by the same values: " + strings.Join(sizes, ", ") + "."
	if dpo := s.best("DPO"); dpo != nil {
		why += fmt.Sprintf(" Beam search by IVO has %s more than %s, the best of DPO's settings on the test prompts.", text(s.minus(s.of("beam, IVO").Rewards(0), dpo.Rewards(0))), dpo.Row.Method)
	}
	return why
}

// whyTaken: what few validation prompts chose, where another of IVO's settings would have been better.
func (d *document) whyTaken(s *study, _ []*study) string {
	var parts []string
	for _, name := range []string{"IVO", "DPO", "IPO"} {
		own, best := s.chosen(name), s.best(name)
		if own == nil || best == nil {
			return ""
		}
		if name == "IVO" && slices.Equal(own.Row.Settings, best.Row.Settings) {
			return ""
		}
		parts = append(parts, fmt.Sprintf("%s %s at %s nats, the best of its settings here %s %s at %s", own.Row.Method, text(own.Row.Reward), own.kl(), best.Row.Method, text(best.Row.Reward), best.kl()))
	}
	ivo, dpo := s.best("IVO"), s.best("DPO")
	return fmt.Sprintf("What the validation prompts, which are few, took is not what has most on the test prompts: %s. Between the best ones of IVO and of DPO the difference is %s.", strings.Join(parts, "; "), text(s.minus(ivo.Rewards(0), dpo.Rewards(0))))
}

// whyFar: how many requests of both kinds are refused as the value is followed farther.
func (d *document) whyFar(s *study, _ []*study) string {
	harmful, harmless := s.kinds()
	var of []string
	for _, m := range s.models {
		base := s.by("base", m.id)
		for _, family := range []string{"one-pass", "by the aligned policy's", "by the unaligned policy's"} {
			var parts []string
			for _, r := range s.family(family) {
				if r.Row.Model == m.id {
					parts = append(parts, fmt.Sprintf("at %.1f nats %s more of the harmful and %s of the harmless", mean(r.Outcome.KL()),
						percent(shareOf(s.right(r, harmful, true), s.right(base, harmful, true))), percent(shareOf(s.right(base, harmless, false), s.right(r, harmless, false)))))
				}
			}
			if parts != nil {
				of = append(of, fmt.Sprintf("%s, %s: %s", m.name(), family, strings.Join(parts, "; ")))
			}
		}
	}
	return "How far the value is followed decides what is refused. " + strings.Join(of, ". ") + "."
}

// whyNear: a search among what the base policy says does not go as far as a trained policy.
func (d *document) whyNear(s *study, _ []*study) string {
	beam, own := s.of("beam, IVO"), s.chosen("IVO")
	if beam == nil || own == nil {
		return ""
	}
	why := fmt.Sprintf("The search takes blocks that the base policy said: it is %s nats from it, at %s wins.", beam.kl(), percent(beam.Row.Wins))
	for _, name := range []string{"DPO", "IPO"} {
		if r := s.chosen(name); r != nil {
			why += fmt.Sprintf(" %s: %s, at %s.", r.Row.Method, r.kl(), percent(r.Row.Wins))
		}
	}
	return why + fmt.Sprintf(" %s, by the same values: %s, at %s.", own.Row.Method, own.kl(), percent(own.Row.Wins))
}

// whySame: what CD-Q learned of as many answers, and what returns teach of the same ones.
func (d *document) whySame(s *study, _ []*study) string {
	other, control := s.of("beam, CD-Q"), s.of("beam, K=8")
	if other == nil || control == nil {
		return ""
	}
	return fmt.Sprintf("CD-Q learned of as many answers as IVO, as K=8 did from the returns of the same ones: by K=8 the search is %s from it. R² over all states and over the last ones: CD-Q %s, K=8 %s, IVO %s.",
		text(s.minus(control.Rewards(0), other.Rewards(0))), s.explained("CD-Q"), s.explained("K=8"), s.explained("IVO"))
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
