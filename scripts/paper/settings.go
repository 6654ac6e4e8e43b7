package main

import (
	"fmt"
	"slices"
	"strings"
)

func (d *document) settings(all []*study) {
	d.say("")
	d.say("## Table 5: settings")
	d.table("", "the paper", "here")
	for _, row := range [][3]string{
		{"trajectories a prompt, K", "4", "4 a round"}, {"temperature", ".7", ".7"}, {"candidates, k", "20", "20; the whole vocabulary where a table of tokens tilts it"}, {"beta", "2", "swept; chosen on validation prompts where one is taken"},
		{"rounds", "2", "2"}, {"learning rate", "5e-6, of a language model", "2e-3, of a head on the policy's states; none of one in closed form"}, {"batch", "128", "whole answers, 1,024 states or more"},
		{"value function", "a fine-tuned language model", "a head on what the policy's own decoding yields. " + kinds(all) + ". Each run takes the kind that explains most in cross-validation, where its recipe names none. VAS has lambda .95; CD-Q in closed form is the same with lambda 0, the token that was drawn standing for the mean over the next ones, and CD-Q ahead a recall head that values tokens before they are fed"},
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
			taken := c.Taken
			if n := len(c.Rows); n > 1 && (taken == c.Rows[0].Method || taken == c.Rows[n-1].Method) {
				taken += ", an end of what was tried"
			}
			d.say("%s | %s | %s", strings.TrimSpace(c.Model+" "+c.Rows[0].Family), taken, strings.Join(tried, "; "))
		}
	}
}

// kinds are those of the heads that values are, by study.
func kinds(all []*study) string {
	var of []string
	for _, s := range all {
		var heads []string
		for _, name := range []string{"IVO", "IVO*", "FUDGE", "VAS", "CD-Q"} {
			var kinds []string // under the seeds
			for _, l := range s.learned {
				if l.Value == name && !slices.Contains(kinds, l.Head) {
					kinds = append(kinds, l.Head)
				}
			}
			if kinds != nil {
				heads = append(heads, name+" "+strings.Join(kinds, " and "))
			}
		}
		if heads != nil {
			of = append(of, s.name+": "+strings.Join(heads, ", "))
		}
	}
	return strings.Join(of, "; ")
}
