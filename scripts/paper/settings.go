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
