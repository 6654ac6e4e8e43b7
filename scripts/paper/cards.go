package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// gated is what a policy's card says of a task: how its own decoding does, and whether that leaves room to steer.
type gated struct {
	task, prompts, mean, sd, greedy, best string
	aboveMean, aboveGreedy                float64 // of the best of 16, in standard deviations
	passed                                bool
}

// card is that of one of the lab's policies, beside its file.
type card struct {
	parameters, loss string
	tasks            []gated
}

// What the best of 16 samples is asked to be above the mean sample and above greedy decoding, in standard deviations.
const aboveMean, aboveGreedy = 1.3, 0.7

var (
	ofCard  = regexp.MustCompile(`(?s)\| parameters \| (\d+).*\| held-out loss \| (\S+) nats`)
	ofTask  = regexp.MustCompile(`(?m)^## (\w+): gold reward on (\d+) test prompts`)
	figures = regexp.MustCompile(`(?s)T=0\.7 \(sd (\S+)\) \| (\S+) \|.*?\| greedy \| (\S+) \|.*?\| best of 16 by gold, T=0\.7 \| (\S+) \|.*?lies (\S+) sd above the mean .*? and (\S+) sd above greedy \S+ (passed|failed)`)
)

func readCard(path string) (*card, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	head := ofCard.FindStringSubmatch(string(text))
	if head == nil {
		return nil, fmt.Errorf("%s: it does not say the parameters and the held-out loss", path)
	}
	c := &card{parameters: head[1], loss: head[2]}
	for _, at := range ofTask.FindAllStringSubmatchIndex(string(text), -1) {
		of := string(text[at[0]:])
		name, f := ofTask.FindStringSubmatch(of), figures.FindStringSubmatch(of)
		if f == nil {
			return nil, fmt.Errorf("%s: it has no gate for the task %s", path, name[1])
		}
		g := gated{task: name[1], prompts: name[2], sd: f[1], mean: f[2], greedy: f[3], best: f[4], passed: f[7] == "passed"}
		for to, from := range map[*float64]string{&g.aboveMean: f[5], &g.aboveGreedy: f[6]} {
			if *to, err = strconv.ParseFloat(from, 64); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		c.tasks = append(c.tasks, g)
	}
	return c, nil
}

// gate says whether there is enough to steer, and what is short of it.
func (g *gated) gate() string {
	var short []string
	if g.aboveMean < aboveMean {
		short = append(short, fmt.Sprintf("%.2f sd short above the mean", aboveMean-g.aboveMean))
	}
	if g.aboveGreedy < aboveGreedy {
		short = append(short, fmt.Sprintf("%.2f sd short above greedy", aboveGreedy-g.aboveGreedy))
	}
	switch {
	case g.passed:
		return "passed"
	case len(short) == 0:
		return "fails: even its best answers are not those of an able policy"
	}
	return "fails: " + strings.Join(short, ", ")
}

// cards tells of the lab's policies, whose cards lie in a folder.
func (d *document) cards(folder string) error {
	if d.real {
		return nil
	}
	d.say("")
	d.say("## The policies, and the room that they leave")
	d.say("")
	d.say("From their cards (%s): gold reward on test prompts. The best of 16 samples is asked to lie %.1f standard deviations above the mean sample and %.1f above greedy decoding, and to be an able policy's.", link(d.doc, folder), aboveMean, aboveGreedy)
	d.table("policy", "parameters", "held-out loss", "task", "prompts", "mean (sd)", "greedy", "best of 16", "above the mean, sd", "above greedy, sd", "gate")
	for _, name := range []string{"lab-s", "lab-m", "lab-m-unaligned", "lab-l"} {
		c, err := readCard(filepath.Join(folder, name+".md"))
		if err != nil {
			return err
		}
		for _, g := range c.tasks {
			d.say("%s | %s | %s | %s | %s | %s (%s) | %s | %s | %.2f | %.2f | %s", name, c.parameters, c.loss, g.task, g.prompts, g.mean, g.sd, g.greedy, g.best, g.aboveMean, g.aboveGreedy, g.gate())
		}
	}
	return nil
}
