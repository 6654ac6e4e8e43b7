package reward

import (
	"context"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/judge"
)

// Comparer is a Model that can be asked which of two responses is the better one, in the order in which
// it is shown them.
type Comparer interface {
	Compares() bool // with a question of one's own it may not
	Odds() bool     // whether its verdicts are log-odds, else 1, 0 or -1
	Compare(ctx context.Context, pairs []judge.Pair) ([]judge.Verdict, error)
}

// ComparerOf is what a model compares responses by, nil where that is their scores.
func ComparerOf(m Model) Comparer {
	if s, ok := m.(*sum); ok && len(s.parts) == 1 && s.parts[0].weight > 0 {
		m = s.parts[0].Model
	}
	if c, ok := m.(Comparer); ok && c.Compares() {
		return c
	}
	return nil
}

// judged scores by what a language model says when it is asked.
type judged struct {
	*judge.Judge
	info Info
}

// openJudge makes "judge:MODEL.gguf" and "judge:URL".
func openJudge(argument string, o Options) (Model, error) {
	j, err := judge.Open(argument, o.program())
	if err != nil {
		return nil, err
	}
	lo, hi := j.Range()
	return judged{j, Info{Name: name("judge", argument), Fingerprint: j.Fingerprint(), Lo: lo, Hi: hi}}, nil
}

func (j judged) Info() Info { return j.info }

var errCompares = fault.New("", "reward", nil, "name a template about one response as {reward}", "the judge's template compares two responses")

func (j judged) Score(ctx context.Context, items []Item) ([]Score, error) {
	if !j.Rates() {
		return nil, errCompares
	}
	answers := make([]judge.Answer, len(items))
	for i, it := range items {
		answers[i] = judge.Answer{Prompt: it.Prompt, Response: it.Response}
	}
	verdicts, err := j.Rate(ctx, answers)
	if err != nil {
		return nil, err
	}
	scores := make([]Score, len(verdicts))
	for i, v := range verdicts {
		scores[i] = Score{Value: v.Value, Err: v.Err}
	}
	return scores, nil
}

func (j judged) Check(ctx context.Context, records []prompt.Record) error {
	if !j.Rates() {
		return errCompares
	}
	return j.Judge.Check(ctx, records)
}
