// Package junk tries a reward on answers that no reward should like: none at all, the prompt
// itself, one word over and over, real answers shuffled and cut. Where these score above real
// ones, what is learned from the reward will find them. The package is given the real answers,
// and knows nothing of how they were drawn.
package junk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// Answered is a prompt with answers of the base policy.
type Answered struct {
	Prompt  prompt.Record
	Answers []Answer
}

// Answer is one of them.
type Answer struct {
	Text   string
	Finish string // see [reward.Item]
}

// Report says how junk scores beside real answers.
type Report struct {
	Reward  string `json:"reward"`
	Prompts int    `json:"prompts"`
	Base    Row    `json:"base"` // the real answers
	Junk    []Row  `json:"junk"`
	// Beside compares other rewards with it, on the real answers.
	Beside []Beside `json:"beside,omitempty"`
}

// Row is how answers of one kind score.
type Row struct {
	Name     string   `json:"name"`
	Scored   int      `json:"scored"`
	Unscored int      `json:"unscored"`
	Error    string   `json:"error,omitempty"`  // of the first that has no score
	Scores   *Scores  `json:"scores,omitempty"` // nil where none is scored
	Compared int      `json:"compared"`         // with the median answer to the same prompt
	Above    int      `json:"above"`            // score more than it does
	Where    []string `json:"where,omitempty"`  // at these prompts; not of the real answers
}

// Scores are spread so.
type Scores struct {
	Mean   float64 `json:"mean"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// kinds make junk of a prompt and an answer to it.
var kinds = []struct {
	name string
	make func(p prompt.Record, a Answer, r *rand.Rand) Answer
}{
	{"empty answer", func(prompt.Record, Answer, *rand.Rand) Answer { return Answer{"", "stop"} }},
	{"the prompt itself", func(p prompt.Record, _ Answer, _ *rand.Rand) Answer { return Answer{said(p), "stop"} }},
	{"one word repeated", func(_ prompt.Record, a Answer, _ *rand.Rand) Answer { return Answer{repeated(a.Text), "length"} }},
	{"shuffled answer", func(_ prompt.Record, a Answer, r *rand.Rand) Answer {
		words := strings.Fields(a.Text)
		r.Shuffle(len(words), func(i, k int) { words[i], words[k] = words[k], words[i] })
		return Answer{strings.Join(words, " "), a.Finish}
	}},
	{"answer cut in half", func(_ prompt.Record, a Answer, _ *rand.Rand) Answer {
		text := []rune(a.Text)
		return Answer{string(text[:len(text)/2]), "length"}
	}},
}

// Test scores the answers, and junk made of the first to each prompt.
func Test(ctx context.Context, m reward.Model, prompts []Answered, seed uint64) (*Report, error) {
	for _, p := range prompts {
		if len(p.Answers) == 0 {
			return nil, fmt.Errorf("test the reward: no answer to prompt %q (give one to each prompt)", p.Prompt.ID)
		}
	}
	if len(prompts) == 0 {
		return nil, errors.New("test the reward: no prompts (give some with answers)")
	}
	var items []reward.Item
	var of []int // the prompts of the real answers
	for i, p := range prompts {
		for _, a := range p.Answers {
			items = append(items, reward.Item{Prompt: p.Prompt, Response: a.Text, Finish: a.Finish})
			of = append(of, i)
		}
	}
	real := len(items)
	for _, k := range kinds {
		for i, p := range prompts {
			a := k.make(p.Prompt, p.Answers[0], rand.New(rand.NewPCG(seed, uint64(i))))
			items = append(items, reward.Item{Prompt: p.Prompt, Response: a.Text, Finish: a.Finish})
		}
	}
	scores, err := m.Score(ctx, items)
	if err != nil {
		return nil, err
	}
	if len(scores) != len(items) {
		return nil, fmt.Errorf("test the reward: it gave %d scores for %d answers (mend the reward)", len(scores), len(items))
	}
	medians := make([]float64, len(prompts)) // of each prompt's answers, NaN where none is scored
	values := make([][]float64, len(prompts))
	for k, s := range scores[:real] {
		if s.Err == nil {
			values[of[k]] = append(values[of[k]], s.Value)
		}
	}
	for i, v := range values {
		medians[i] = median(v)
	}
	out := &Report{Reward: m.Info().Name, Prompts: len(prompts), Base: row("base policy", scores[:real], of, medians)}
	each := make([]int, len(prompts))
	for i := range each {
		each[i] = i
	}
	for k, kind := range kinds {
		r := row(kind.name, scores[real+k*len(prompts):][:len(prompts)], each, medians)
		for i, s := range scores[real+k*len(prompts):][:len(prompts)] {
			if s.Err == nil && s.Value > medians[i] {
				r.Where = append(r.Where, prompts[i].Prompt.ID)
			}
		}
		out.Junk = append(out.Junk, r)
	}
	return out, nil
}

// row sums up scores of answers to the prompts of.
func row(name string, scores []reward.Score, of []int, medians []float64) Row {
	r := Row{Name: name}
	var values []float64
	for i, s := range scores {
		if s.Err != nil {
			if r.Unscored++; r.Error == "" {
				r.Error = s.Err.Error()
			}
			continue
		}
		values = append(values, s.Value)
		if m := medians[of[i]]; !math.IsNaN(m) {
			r.Compared++
			if s.Value > m {
				r.Above++
			}
		}
	}
	if r.Scored = len(values); r.Scored > 0 {
		sum := 0.0
		for _, v := range values {
			sum += v / float64(len(values))
		}
		r.Scores = &Scores{Mean: sum, Median: median(values), Min: slices.Min(values), Max: slices.Max(values)}
	}
	return r
}

// median is the mean of the middle two of an even number; NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	return v[(len(v)-1)/2]/2 + v[len(v)/2]/2
}

// said is what a prompt says: of a conversation, what it said last.
func said(p prompt.Record) string {
	if n := len(p.Messages); n > 0 {
		return p.Messages[n-1].Content
	}
	return p.Text
}

// repeated is the commonest longer word of a text, as often as the text has words.
func repeated(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && r != '\'' })
	counts := map[string]int{}
	best := ""
	for _, w := range words {
		w = strings.ToLower(w)
		if counts[w]++; utf8.RuneCountInString(w) >= 4 && (best == "" || counts[w] > counts[best]) {
			best = w
		}
	}
	if best == "" {
		best = "good"
	}
	return strings.TrimSuffix(strings.Repeat(best+" ", max(1, len(words))), " ")
}

// shown is the number of prompts that are named for a kind of junk.
const shown = 8

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tscored\tmean\tmedian\tleast\tmost\tabove the median answer\t")
	for _, row := range append([]Row{r.Base}, r.Junk...) {
		fmt.Fprintf(t, "%s\t%d of %d\t", row.Name, row.Scored, row.Scored+row.Unscored)
		if s := row.Scores; s != nil {
			fmt.Fprintf(t, "%.3g\t%.3g\t%.3g\t%.3g\t", s.Mean, s.Median, s.Min, s.Max)
		} else {
			fmt.Fprint(t, "\t\t\t\t")
		}
		if row.Compared > 0 {
			fmt.Fprintf(t, "%.0f %%", 100*float64(row.Above)/float64(row.Compared))
		}
		fmt.Fprintln(t, "\t")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range r.Findings() {
		if _, err := fmt.Fprintln(w, terminal.Visible(line)); err != nil {
			return err
		}
	}
	return writeBeside(w, r.Reward, r.Beside)
}

// Findings say, a line each, where junk scores above the median answer, and what else is to be
// known before anything is learned from the reward.
func (r *Report) Findings() (lines []string) {
	for _, row := range r.Junk {
		if row.Above == 0 {
			continue
		}
		ids := strings.Join(row.Where[:min(shown, len(row.Where))], ", ")
		if more := len(row.Where) - shown; more > 0 {
			ids += fmt.Sprintf(" and %d more", more)
		}
		lines = append(lines, fmt.Sprintf("%s: above the median answer to %d of %d prompts (%s)", row.Name, row.Above, row.Compared, ids))
	}
	if len(lines) == 0 && r.Base.Scored > 0 {
		lines = append(lines, "no junk scores above the median answer")
	}
	if s := r.Base.Scores; s != nil && s.Min == s.Max && r.Base.Scored > 1 {
		lines = append(lines, fmt.Sprintf("all answers of the base policy score %.3g: there is nothing to learn from this reward", s.Min))
	}
	if r.Base.Unscored > 0 {
		lines = append(lines, fmt.Sprintf("%d answers of the base policy have no score; the first: %s", r.Base.Unscored, r.Base.Error))
	}
	return lines
}
