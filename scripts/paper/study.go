package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
)

// study is a recipe with what it gave.
type study struct {
	name  string // of its file
	about string
	task  bool   // it compares the methods on a task: Fig. 2, 3, 4 and Table 1
	timed int    // prompts that relative times are measured on
	lacks string // why it was not carried out

	transfer bool    // one value function guides several policies: Table 2
	safety   *safety // some requests are to be refused: Table 3
	judge    int     // place of the reward that claims are about: 0 for the one that is optimised
	mixture  int     // kinds of prompts its files mix: so many times the effort's prompts to learn from and to choose on, twice as many to test on
	paired   bool    // its prompts are pairs, which count as one where the effort says how many to choose and to test on

	x        *recipe.Recipe
	rows     []result
	learned  []experiment.Learned
	tunings  []experiment.Tuning
	choices  []experiment.Choice
	watched  []string
	missing  []string // methods of which cells are missing
	models   []model
	times    *times
	resample *eval.Resampling
}

// model is a policy, as far as the document speaks of it.
type model struct {
	id, file   string
	parameters float64
}

// result is a method's row with what it was made of.
type result struct {
	experiment.Row
	experiment.Outcome
}

func studies(real bool) []*study {
	if real {
		return []*study{
			{name: "real-sentiment", task: true, timed: 4, about: "Openings of film reviews, five words of plain text, that the model continues; the reward is VADER's compound sentiment."},
			{name: "real-checks", task: true, about: "Instructions with two constraints that a program verifies, in chat form; the reward is the share of them that is met."},
			{name: "real-safety", paired: true, safety: &safety{labelledUnsafe, true}, about: "XSTest's requests: unsafe ones, and safe ones that sound like them; the reward is a head that learned from HH's harmless pairs, and a rule of words says what refuses."},
		}
	}
	return []*study{
		{name: "summarize", task: true, timed: 24, about: "Posts with distractors and a summary; the gold rule counts facts that are told, and what is invented or repeated."},
		{name: "dialogue", task: true, timed: 24, about: "Conversations of several turns; the gold rule of the task."},
		{name: "instruct", task: true, about: "Instructions whose constraints a rule verifies."},
		{name: "transfer", transfer: true, about: "One value function, learned by the policy of middle size, guides three sizes of it on the summaries."},
		{name: "safety", mixture: 3, safety: &safety{harmfulGold, false}, about: "Requests, some of them harmful; the gold rule says which answers are safe. Two policies, each guided by what was learned of either."},
		{name: "proxy", judge: 1, about: "What the learned reward teaches, and what it gives where it is asked about every candidate, judged by the gold rule."},
	}
}

// take takes what a recipe gave.
func (s *study) take(x *recipe.Experiment, k *experiment.Kept) {
	s.x, s.learned, s.tunings, s.choices, s.watched = x.Recipe, k.Learned, k.Tuned, k.Choices, k.Watch
	s.missing, s.rows, s.models = k.Missing, nil, nil
	s.resample = eval.NewResampling(k.Prompts.Test, len(k.Seeds), 1)
	for i, o := range k.Outcomes {
		s.rows = append(s.rows, result{k.Rows[i], o})
	}
	for _, p := range x.Policies {
		s.models = append(s.models, model{p.ID, p.Path(), float64(p.Info().Params)})
	}
}

// of is a method's result by its name, of the first model that has it.
func (s *study) of(method string) *result { return s.by(method, "") }

// by is a method's result of a model, "" for any.
func (s *study) by(method, model string) *result {
	at := slices.IndexFunc(s.rows, func(r result) bool {
		return r.Row.Method == method && (model == "" || r.Row.Model == model)
	})
	if at < 0 {
		return nil
	}
	return &s.rows[at]
}

// family are the results of a family, in the order of their settings.
func (s *study) family(name string) (out []*result) {
	for i := range s.rows {
		if s.rows[i].Family == name {
			out = append(out, &s.rows[i])
		}
	}
	return out
}

// minus is how much more of a reward one method gave than another.
func (s *study) minus(a, b [][]float64) eval.Interval {
	return s.resample.Of(a).Minus(s.resample.Of(b)).Interval()
}

// mixed are a and b by shares w and 1 - w: what lies between two settings of a method.
func mixed(a, b [][]float64, w float64) [][]float64 {
	out := make([][]float64, len(a))
	for s := range a {
		out[s] = make([]float64, len(a[s]))
		for p := range a[s] {
			out[s][p] = w*a[s][p] + (1-w)*b[s][p]
		}
	}
	return out
}

// text is an interval as the document shows it.
func text(x eval.Interval) string { return digits(x, 2) }

func digits(x eval.Interval, n int) string {
	return strings.ReplaceAll(fmt.Sprintf("%.*f [%.*f, %.*f]", n, x.Mean, n, x.Lo, n, x.Hi), "-", "−")
}

func percent(x eval.Interval) string {
	return strings.ReplaceAll(fmt.Sprintf("%.1f %% [%.1f, %.1f]", 100*x.Mean, 100*x.Lo, 100*x.Hi), "-", "−")
}
