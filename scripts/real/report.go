package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// report writes what all tasks gave, as Markdown. It holds nothing but what follows from the
// cells and the heads: a run that was stopped and went on gives the same bytes.
func (r *recipe) report(results []result) error {
	var b bytes.Buffer
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("# A real model, measured")
	say("")
	say("Written by `make real EFFORT=%s` (scripts/real); not to be edited. The model is %s, the base policy samples from it at temperature %g. %s", r.effort.name, filepath.Base(r.model), sampling.Temp, plural(r.effort.seeds, "seed"))
	say("Intervals are 95 %% bootstrap intervals over prompts, of which each counts with the mean of its answers; differences are paired by prompt. Settings")
	say("are chosen on prompts of their own: of each family of methods the one with the largest reward whose share of different word pairs (distinct-2) stays within %.2f of the base policy's", room)
	say("and whose KL, where it is exact, stays within the task's limit. Nothing is chosen on the test prompts.")
	say("")
	say("## What must show")
	say("")
	say("claim | verdict | figures")
	say("---|---|---")
	for _, res := range results {
		for _, v := range append(res.claims(&res), learningClaims(&res)...) {
			say("%s: %s | %s | %s", res.name, v.claim, v.holds, v.figures)
		}
	}
	for _, res := range results {
		r.section(say, res)
	}
	if err := os.MkdirAll(filepath.Dir(r.doc), 0o755); err != nil {
		return err
	}
	return atomicfile.WriteBytes(r.doc, b.Bytes())
}

// section tells of one task.
func (r *recipe) section(say func(string, ...any), res result) {
	say("")
	say("## %s", strings.ToUpper(res.name[:1])+res.name[1:])
	say("")
	say("%s %d prompts to learn from with four answers each, %d to choose on, %d to test on.", res.about, min(r.effort.learn, len(res.prompts.learn)), min(r.effort.choose, len(res.prompts.choose)), len(res.tested))
	say("")
	for seed, m := range res.trained {
		all, last, how := fits(&m)
		say("Value function of seed %d: %s, from %d responses (reward %.2f, standard deviation %.2f). R² %s: %.2f over all states, %.2f at the last.", seed+1, m.Head, m.Trajectories, m.Reward.Mean, m.Reward.SD, how, all, last)
		if m.Tried != nil {
			say("It was chosen from (R² over all states and at the last): %s.", trials(&m))
		}
	}
	if res.curve != nil {
		say("")
		say("prompts to learn from | R² over all states and at the last")
		say("---|---")
		for _, p := range res.curve {
			say("%d | %s", p.prompts, trials(p.Metrics))
		}
	}
	say("")
	say("method | uses | %s | KL, nats | decoded a token | an answer | reward calls | %s", res.reward, strings.Join(res.others, " | "))
	say("---|---|---|---|---|---|---%s", strings.Repeat("|---", len(res.others)))
	for _, row := range res.rows {
		kl := fmt.Sprintf("%.2f", mean(row.kl))
		if !row.exact {
			kl = "at most " + kl
		}
		others := ""
		for _, name := range res.others {
			others += " | " + show(row.others[name])
		}
		say("%s | %s | %s | %s | %.1f | %.0f | %.0f%s", row.name, row.kind, show(row.reward), kl, row.ratio, row.tokens, row.calls, others)
	}
	say("")
	say("Differences in %s between methods that decode as much, paired by prompt:", res.reward)
	say("")
	say("method | against | decoded | difference")
	say("---|---|---|---")
	for _, a := range res.rows {
		if a.kind == alone {
			continue
		}
		for _, b := range res.rows {
			if (b.kind == byReward && a.kind != byReward || b.kind == alone && b.name != "base") && b.decoded() == a.decoded() {
				say("%s | %s | %.1f and %.1f | %s", a.name, b.name, a.ratio, b.ratio, text(paired(a.reward, b.reward)))
			}
		}
	}
	say("")
	say("### Settings")
	say("")
	say("What was tried on the %d prompts to choose on; what was taken is bold.", min(r.effort.choose, len(res.prompts.choose)))
	say("")
	say("family | setting: %s, KL, distinct-2", res.reward)
	say("---|---")
	for _, c := range res.choices {
		if c.show {
			continue
		}
		var tried []string
		for _, row := range c.tried {
			s := fmt.Sprintf("%s: %.2f, %.2f, %.2f", row.name, mean(row.reward), mean(row.kl), mean(row.others[distinct]))
			if row.name == c.taken[0].name {
				s = "**" + s + "**"
			}
			tried = append(tried, s)
		}
		say("%s | %s", c.name, strings.Join(tried, "; "))
	}
	say("")
	say("### Samples")
	for i := range min(3, len(res.tested)) {
		say("")
		say("> %s", quote(res.tested[i].Show()))
		say("")
		for _, row := range res.samples() {
			say("- **%s** (%.2f): %s", row.name, row.shown[i].Rewards[0], quote(row.shown[i].Text))
		}
	}
}

// samples are the rows whose answers are shown side by side: those of the base policy and greedy
// decoding, and of what was chosen but for the best of several whole answers.
func (res *result) samples() (out []row) {
	for _, row := range res.rows {
		chosen := slices.ContainsFunc(res.choices, func(c choice) bool { return !c.show && c.taken[0].name == row.name })
		if chosen && row.n == 1 || row.name == "base" || row.name == "greedy" {
			out = append(out, row)
		}
	}
	return out
}

// quote is a model's text on one line that Markdown takes as text.
func quote(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.NewReplacer("\\", "\\\\", "|", "\\|", "*", "\\*", "_", "\\_", "<", "&lt;", "`", "\\`", "#", "\\#", "[", "\\[").Replace(text)
}

func plural(n int, what string) string {
	if n == 1 {
		return "One " + what + "."
	}
	return fmt.Sprintf("%d %ss.", n, what)
}
