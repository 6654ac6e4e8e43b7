package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
)

// shownSamples are those that stand behind every point of an experiment's page.
const shownSamples = 5

// WriteEvaluation creates or replaces the page of an experiment's results, in its folder.
func WriteEvaluation(path string, r *experiment.Results) (err error) {
	page := &evaluationPage{Evaluation: r.Evaluation}
	if page.Fleet, err = whoDrew(filepath.Dir(path)); err != nil {
		return err
	}
	for _, m := range r.Models {
		page.Policies = append(page.Policies, policyOf(r, m))
	}
	return write(path, "evaluation.html", page)
}

// evaluationPage is what the template shows.
type evaluationPage struct {
	experiment.Evaluation
	Policies []policyPage
	Fleet    *fleet.Record // nil where no fleet has had a part in it
}

// policyPage are the results of a policy.
type policyPage struct {
	experiment.Model
	Others   []string // names of rewards beside the one that is optimised
	Rows     []evaluationRow
	Base     string
	Best     string // the method of most reward
	Choices  []experiment.Choice
	Ceilings []experiment.Ceiling
	Judged   []experiment.Judged
	Warnings []string // of over-optimization
}

// evaluationRow is a method with what stands behind its point.
type evaluationRow struct {
	experiment.Row
	Link     string // of its samples in the page
	OverBase *eval.Interval
	OverBest *eval.Interval
	Samples  []shownSample
}

type shownSample struct {
	Prompt, Text, Base   string
	ID                   string
	Reward, OfBase, Gain float64
	Percentile           int
}

// Bound says whether the row's KL is a bound.
func (r evaluationRow) Bound() bool { return r.KLKind == decode.KLBound }

// Other is the interval of a reward that is not optimised.
func (r evaluationRow) Other(name string) eval.Interval { return r.Others[name] }

func policyOf(r *experiment.Results, m experiment.Model) policyPage {
	page := policyPage{Model: m, Others: r.Watch}
	var base *experiment.MethodAnswers
	for i, row := range r.Rows {
		if row.Model != m.ID {
			continue
		}
		e := evaluationRow{Row: row, Link: fmt.Sprintf("samples-%d", i)}
		if base == nil {
			base, page.Base = &r.Answers[i], row.Method
		}
		e.Samples = samplesOf(r.Answers[i], *base)
		page.Rows = append(page.Rows, e)
	}
	if page.Rows == nil {
		return page
	}
	page.Best = slices.MaxFunc(page.Rows, func(a, b evaluationRow) int { return cmp.Compare(a.Reward.Mean, b.Reward.Mean) }).Method
	for i := range page.Rows {
		row := &page.Rows[i]
		row.OverBase, row.OverBest = difference(r, m.ID, row.Method, page.Base), difference(r, m.ID, row.Method, page.Best)
	}
	ofModel := func(id string) bool { return id == m.ID }
	for _, c := range r.Choices {
		if ofModel(c.Model) {
			page.Choices = append(page.Choices, c)
		}
	}
	for _, j := range r.Judged {
		if ofModel(j.Model) {
			page.Judged = append(page.Judged, j)
		}
	}
	for _, c := range r.Ceilings {
		if ofModel(c.Model) {
			page.Ceilings = append(page.Ceilings, c)
		}
	}
	for _, o := range r.Overoptimized {
		if ofModel(o.Model) {
			page.Warnings = append(page.Warnings, o.InWords(r.Reward, o.Watched))
		}
	}
	return page
}

// parted says what it means that a reward rises where one falls that is watched.
func parted(reward string) string {
	return fmt.Sprintf("Over-optimized, if what falls counts: the policy has found what %s mistakes for good. Follow it less far, take an ensemble of rewards with a lower bound, or mend it.", reward)
}

// difference is how much more reward a method gave than another, nil of itself.
func difference(r *experiment.Results, model, a, b string) *eval.Interval {
	for _, d := range r.Paired {
		switch {
		case d.Model != model:
		case d.A == a && d.B == b:
			return &d.Difference
		case d.A == b && d.B == a:
			return &eval.Interval{Mean: -d.Difference.Mean, Lo: -d.Difference.Hi, Hi: -d.Difference.Lo}
		}
	}
	return nil
}

// samplesOf are answers of a method under its first seed, beside the base policy's to the same prompts: the
// middle one of each fifth of the prompts, ordered by what the method gained.
func samplesOf(a, base experiment.MethodAnswers) (out []shownSample) {
	own, other := a.Taken(0), base.Taken(0)
	order := make([]int, len(own))
	for i := range order {
		order[i] = i
	}
	gain := func(i int) float64 { return own[i].Rewards[0] - other[i].Rewards[0] }
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(gain(i), gain(j)) })
	n := min(shownSamples, len(order))
	for k := range n {
		i := order[(2*k+1)*len(order)/(2*n)]
		out = append(out, shownSample{
			ID: own[i].Prompt, Prompt: a.Policy.Test[i].Show(), Text: own[i].Text, Base: other[i].Text,
			Reward: own[i].Rewards[0], OfBase: other[i].Rewards[0], Gain: gain(i), Percentile: 100 * (2*k + 1) / (2 * n),
		})
	}
	return out
}

// ResultsTable prints how the methods of an experiment compare.
func ResultsTable(w io.Writer, r *experiment.Results, page string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "method\t%s\t95 %% interval\twins\tKL, nats\tdecoded/emitted\t\n", r.Reward)
	for _, row := range r.Rows {
		name, bound := row.Method, ""
		if row.Model != "" {
			name = row.Model + ": " + name
		}
		if row.KLKind == decode.KLBound {
			bound = "at most "
		}
		fmt.Fprintf(t, "%s\t%.3f\t%.3f to %.3f\t%.0f %%\t%s%.2f\t%.1f\t\n", name, row.Reward.Mean, row.Reward.Lo, row.Reward.Hi, 100*row.Wins.Mean, bound, row.KL.Mean, row.DecodedPerEmitted)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, c := range r.Ceilings {
		for _, e := range c.Explains {
			fmt.Fprintf(w, "%s explains %.3f of the rewards' variance, of %.3f that could be\n", e.Value, e.R2, c.Most.All.R2)
		}
	}
	if len(r.Overoptimized) > 0 {
		fmt.Fprintln(w, parted(r.Reward))
		for _, o := range r.Overoptimized {
			name := ""
			if o.Model != "" {
				name = o.Model + ": "
			}
			fmt.Fprintf(w, "  %s%s\n", name, o.InWords(r.Reward, o.Watched))
		}
	}
	_, err := fmt.Fprintf(w, "report: %s\n", page)
	return err
}

// share is a share of the rewards' variance, or that it is not known.
func share(x number.Float) string {
	if x != x {
		return "–"
	}
	return percent(float64(x))
}

// classOf is the class of a row's mark.
func classOf(k experiment.Kind) string {
	switch k {
	case experiment.Guided:
		return guided
	case experiment.Ranked:
		return ranked
	case experiment.Tuned:
		return tuned
	}
	return alone
}

// Class is that of the row's mark.
func (r evaluationRow) Class() string { return classOf(r.Kind) }

// Divergence shows reward against the KL from the base policy, of rows that have more than a bound, and that is finite:
// sampling that says what the base policy cannot is infinitely far away.
func (p *policyPage) Divergence() *chart {
	return p.chart("Mean reward against distance from the base policy", axis{title: "KL from the base policy, nats an answer"}, func(r *evaluationRow) (eval.Interval, bool) {
		return r.KL, !r.Bound() && r.KL.Hi-r.KL.Lo < math.Inf(1) // which NaN is not
	})
}

// Price shows reward against the tokens that are decoded.
func (p *policyPage) Price() *chart {
	return p.chart("Mean reward against compute", axis{title: "tokens decoded per token of the answer (log scale)", log: true}, func(r *evaluationRow) (eval.Interval, bool) {
		return exact(r.DecodedPerEmitted), r.DecodedPerEmitted > 0
	})
}

// mostLabels are the families of methods whose names a chart has room for.
const mostLabels = 8

// chart places the rows. The first of each family has its name beside it, or where these would be too many the first
// method and the best one; the others have theirs when they are pointed at.
func (p *policyPage) chart(title string, x axis, of func(*evaluationRow) (eval.Interval, bool)) *chart {
	var points []point
	seen, families := map[string]bool{}, map[string]bool{}
	for _, r := range p.Rows {
		families[r.Family] = true
	}
	for i := range p.Rows {
		r := &p.Rows[i]
		at, ok := of(r)
		if !ok {
			continue
		}
		q := point{x: at, y: r.Reward, class: classOf(r.Kind), title: r.Method + ": " + interval(r.Reward) + " at " + num(at.Mean, 2), link: r.Link}
		switch crowded := len(families) > mostLabels; {
		case crowded && (r.Method == p.Base || r.Method == p.Best):
			q.label = r.Method
		case !crowded && !seen[r.Family]:
			q.label, seen[r.Family] = r.Family, true
		}
		points = append(points, q)
	}
	if len(points) == 0 {
		return nil
	}
	return plot(title, x, axis{title: "mean reward of an answer"}, 380, 44, 24, points, false)
}
