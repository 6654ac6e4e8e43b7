package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
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
	command := fmt.Sprintf("make %s EFFORT=%s", map[bool]string{true: "paper-real", false: "paper"}[p.real], p.name)
	if p.few {
		command = fmt.Sprintf("go run ./scripts/paper%s -effort %s -seeds %d", map[bool]string{true: " -real"}[p.real], p.name, p.Seeds)
	}
	d.say("Written by `%s`; not to be edited. What each method gave under each seed lies in [%s](%s), so that", command, filepath.Base(p.cells), link(p.doc, p.cells))
	d.say("the same command writes this again in seconds and, where something has changed or is missing, does what that concerns. The paper is arXiv 2503.02368; its numbers are of other")
	d.say("models and rewards, so what can be compared are orders and shapes. Every seed has value functions of its own, learned from answers of its own. Intervals are 95 %% intervals of a")
	d.say("bootstrap over prompts and seeds; differences and verdicts are of methods on the same prompts under the same seeds, paired. %s", seedsSay(all))
	if p.name != "full" {
		d.say("This is the effort `%s`: of each recipe at most %s.", p.name, p.atMost())
	}
	d.say("")
	d.say("study | what | policy | carried out")
	d.say("---|---|---|---")
	for _, s := range all {
		done := "no: " + s.lacks
		if s.lacks == "" {
			done = fmt.Sprintf("%d prompts to learn from, %d to choose on, %d to test on; seeds: %d", len(s.x.Prompts.Train.Records), len(s.x.Prompts.Validation.Records), len(s.x.Prompts.Test.Records), len(s.x.Seeds))
			if len(s.missing) > 0 {
				done += "; not carried out yet: " + strings.Join(s.missing, ", ")
			}
		}
		d.say("%s | %s | %s | %s", s.name, s.about, s.policies(), done)
	}
	d.verdicts(all)
	if err := d.cards("testdata/lab"); err != nil {
		return err
	}
	d.frontier(all)
	d.wins(all)
	d.beams(all)
	d.transfer(all)
	d.safety(all)
	d.growth(all)
	d.timing(all)
	d.settings(all)
	d.compute(all)
	d.readings(all)
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

// policies names what a study guides, and how large it is.
func (s *study) policies() string {
	var of []string
	for _, m := range s.models {
		of = append(of, fmt.Sprintf("%s, %.3gM parameters", strings.TrimSuffix(filepath.Base(m.file), ".gguf"), m.parameters/1e6))
	}
	return strings.Join(of, "; ")
}

// seedsSay says what the number of seeds leaves out of the intervals.
func seedsSay(all []*study) string {
	least := 0
	for _, s := range all {
		if s.lacks == "" && (least == 0 || len(s.x.Seeds) < least) {
			least = len(s.x.Seeds)
		}
	}
	switch {
	case least == 1:
		return "Where there is one seed they are over prompts alone: they say nothing of what value functions learned from other answers would give."
	case least < 5:
		return "So few seeds say little of how much one training differs from another: that part of the intervals is too narrow."
	}
	return ""
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
	var counts [2]map[string]int // of the paper's claims, and of ours
	for i := range counts {
		counts[i] = map[string]int{}
	}
	for _, s := range all {
		if s.lacks != "" {
			lines = append(lines, claimed{s, "", verdict{claim: "all", holds: unknown, figures: s.lacks}})
			continue
		}
		for _, part := range []struct {
			figure string
			of     func() []verdict
			task   bool
		}{
			{"Fig. 2", s.frontierClaims, true}, {"Fig. 2", s.fallClaims, true}, {"Table 1", s.winClaims, true}, {"Fig. 3", s.beamClaims, true},
			{"Fig. 4", s.growthClaims, true}, {"Table 4", s.timeClaims, true}, {"Equal tokens", s.computeClaims, true}, {"Table 2", s.transferClaims, false}, {"Table 3", s.safetyClaims, false}, {"Proxy", s.proxyClaims, false},
		} {
			if s.task != part.task {
				continue
			}
			for _, v := range part.of() {
				of := counts[0]
				if v.ours {
					of = counts[1]
				}
				of["all"]++
				of[strings.SplitN(v.holds, ":", 2)[0]]++
				lines = append(lines, claimed{s, part.figure, v})
			}
		}
	}
	d.say("")
	d.say("A claim holds where the paired interval is clear of zero on its side, does not hold where it is clear on the other side, and is not clear otherwise. A curve is compared with another one at the KL of each of")
	d.say("the other's settings that diverges by %v nats or more and is not clearly below the base policy: it holds where it is clearly above at all of them, and does not where it is clearly below at one within its reach. With one that diverges", leastTilt)
	d.say("farther than it ever does its own farthest setting is compared: to be clearly above that with less divergence counts, not to be says nothing. IVO* is IVO after its first round. A KL that is said to be at most something is a bound, of searches; `decoded a token` is how many tokens were decoded for one of the answer.")
	for i, whose := range []string{"of the paper", "of ours (+)"} {
		d.say("Of %d claims %s that were measured, %d hold and %d do not.", counts[i]["all"]-counts[i][unknown], whose, counts[i][holds], counts[i][fails])
	}
	d.say("Nothing is corrected for their number: of forty about one would be clear on each side by chance.")
	d.table("study", "figure", "claim", "verdict", "figures")
	for _, l := range lines {
		figure := l.figure
		if l.ours {
			figure += " (+)"
		}
		d.say("%s | %s | %s | %s | %s", l.study.name, figure, l.claim, l.holds, l.figures)
	}
	d.failures(lines, all)
}

// claimed is a claim of a study with its verdict.
type claimed struct {
	study  *study
	figure string
	verdict
}
