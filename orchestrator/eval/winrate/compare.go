// Package winrate compares two policies by a judge: prompt by prompt, whose answer is the better one? It is
// given the answers, asks about each pair in both orders, keeps what the judge says in a file that a stopped
// comparison goes on with, and sums it up, with what is known of the judge's own bias. It knows neither how
// answers come about nor what judges are made of.
package winrate

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/reward/judge"
)

// Comparison is how pairs are compared.
type Comparison struct {
	// Judge is asked in both orders if it is a [reward.Comparer]. Any other reward scores both answers, and the
	// larger score wins.
	Judge        reward.Model
	Together     int  // pairs asked about before their verdicts are kept; 0 for 16 of rewards, else 4
	SkipUnscored bool // go on without pairs that the judge has no verdict on
	Progress     func(done, all int)
}

// Scale is what the preferences of verdicts are.
type Scale string

const (
	LogOdds Scale = "log-odds" // of the one answer against the other, in nats
	Choice  Scale = "choice"   // 1, 0 for a tie, or -1
	Reward  Scale = "reward"   // a difference of rewards
)

func scaleOf(m reward.Model) Scale {
	switch c := reward.ComparerOf(m); {
	case c == nil:
		return Reward
	case c.Odds():
		return LogOdds
	}
	return Choice
}

// Verdict is what the judge says of a pair.
type Verdict struct {
	ID         string      `json:"id"`
	Sample     int         `json:"sample"`
	First      Side        `json:"first,omitempty"` // the answer that was shown first; "" of rewards
	Preference float64     `json:"preference"`      // for the answer of a, on the [Scale]
	Rewards    *[2]float64 `json:"rewards,omitempty"`
	Said       string      `json:"said,omitempty"` // in the judge's words
	Of         string      `json:"of"`             // a hash of prompt and answers
}

// Side names a file of answers.
type Side string

const (
	A Side = "a"
	B Side = "b"
)

// asked is a question that may have a verdict.
type asked struct {
	id     string
	sample int
	first  Side
}

func (v Verdict) asked() asked { return asked{v.ID, v.Sample, v.First} }

// sides are the orders in which the judge is asked about a pair.
func sides(m reward.Model) []Side {
	if reward.ComparerOf(m) == nil {
		return []Side{""}
	}
	return []Side{A, B}
}

// Run asks for what is not in the file yet, and returns the verdicts on all pairs, in their order: one of
// rewards, else two. Verdicts that the judge fails to give are asked for again another time; they are an
// error, unless SkipUnscored leaves their pairs out.
func (c Comparison) Run(ctx context.Context, pairs []Pair, file *File) ([]Verdict, error) {
	orders := sides(c.Judge)
	var open []Pair
	all := len(pairs) * len(orders)
	done := all
	for _, p := range pairs {
		if orders[0] != "" && p.Prompt.Show() == "" {
			return nil, fault.New("compare the answers", "prompts", nil, "give {prompts}, which they are answers to", "the answers do not say what prompt %q is", p.Prompt.ID)
		}
		if left := file.missing(p, orders); len(left) > 0 {
			open = append(open, p)
			done -= len(left)
		}
	}
	var failed error
	together := c.Together
	if together <= 0 {
		if together = 16; orders[0] != "" {
			together = 4 // a small model of our own takes seconds for a pair
		}
	}
	for some := range slices.Chunk(open, together) {
		verdicts, why, err := c.ask(ctx, some, file)
		if err != nil {
			return nil, err
		}
		if failed == nil {
			failed = why
		}
		if err := file.add(verdicts); err != nil {
			return nil, err
		}
		if done += len(verdicts); c.Progress != nil {
			c.Progress(done, all)
		}
	}
	if failed != nil && !c.SkipUnscored {
		return nil, fault.New("", "skip_unscored", nil, "run the same command again to ask for them again, or set {skip_unscored} to go on without", "%d of %d verdicts are missing; %w", all-done, all, failed)
	}
	var out []Verdict
	for _, p := range pairs {
		if len(file.missing(p, orders)) == 0 {
			for _, first := range orders {
				out = append(out, file.verdicts[asked{p.Prompt.ID, p.Sample, first}])
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the judge has no verdict on any pair: %w", failed)
	}
	return out, nil
}

// ask asks about what some pairs have no verdict on yet, and says why the first has none that has none now.
func (c Comparison) ask(ctx context.Context, pairs []Pair, file *File) (verdicts []Verdict, failed, err error) {
	note := func(p Pair, err error) {
		if failed == nil {
			failed = fmt.Errorf("prompt %q: %w", p.Prompt.ID, err)
		}
	}
	comparer := reward.ComparerOf(c.Judge)
	if comparer == nil {
		var items []reward.Item
		for _, p := range pairs {
			for _, a := range []Answer{p.A, p.B} {
				items = append(items, reward.Item{Prompt: p.Prompt, Response: a.Text, Finish: a.Finish})
			}
		}
		scores, err := c.Judge.Score(ctx, items)
		if err != nil {
			return nil, nil, err
		}
		for i, p := range pairs {
			a, b := scores[2*i], scores[2*i+1]
			if err := cmp.Or(a.Err, b.Err); err != nil {
				note(p, err)
				continue
			}
			verdicts = append(verdicts, Verdict{ID: p.Prompt.ID, Sample: p.Sample, Preference: a.Value - b.Value, Rewards: &[2]float64{a.Value, b.Value}, Of: p.hash()})
		}
		return verdicts, failed, nil
	}
	var shown []judge.Pair
	var of []Pair
	var first []Side
	for _, p := range pairs {
		for _, side := range file.missing(p, sides(c.Judge)) {
			q := judge.Pair{Prompt: p.Prompt, A: p.A.Text, B: p.B.Text}
			if side == B {
				q.A, q.B = q.B, q.A
			}
			shown, of, first = append(shown, q), append(of, p), append(first, side)
		}
	}
	said, err := comparer.Compare(ctx, shown)
	if err != nil {
		return nil, nil, err
	}
	for i, v := range said {
		if v.Err != nil {
			note(of[i], v.Err)
			continue
		}
		if first[i] == B {
			v.Value = 0 - v.Value // not -0
		}
		verdicts = append(verdicts, Verdict{ID: of[i].Prompt.ID, Sample: of[i].Sample, First: first[i], Preference: v.Value, Said: v.Said, Of: of[i].hash()})
	}
	return verdicts, failed, nil
}
