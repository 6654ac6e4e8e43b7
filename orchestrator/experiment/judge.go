package experiment

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/ivo-decoding/ivo/orchestrator/eval/winrate"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// judge asks the judges to compare every method's answers with those of the first one.
func (w *work) judge(ctx context.Context, answers []MethodAnswers) (out []Judged, err error) {
	for _, m := range w.x.Judging {
		bases := map[*recipe.Policy]*MethodAnswers{}
		for i := range answers {
			a := &answers[i]
			base := bases[a.Policy]
			if base == nil {
				bases[a.Policy] = a
				continue
			}
			report, err := w.compareBy(ctx, m, a, base)
			if err != nil {
				return nil, fmt.Errorf("judge %s: %w", a.Method.ID, err)
			}
			out = append(out, Judged{a.Policy.ID, a.Method.ID, report})
		}
	}
	return out, nil
}

// compareBy asks a judge about pairs of answers, in a file that is named by the key of judge and answers.
func (w *work) compareBy(ctx context.Context, m reward.Model, a, base *MethodAnswers) (_ *winrate.Report, err error) {
	var pairs []winrate.Pair
	for s := range a.Samples {
		own, other := a.Taken(s), base.Taken(s)
		for i, p := range a.Policy.Test {
			pairs = append(pairs, winrate.Pair{Prompt: p.Record, Sample: s, A: winrate.Answer{Text: own[i].Text, Finish: string(own[i].Finish)}, B: winrate.Answer{Text: other[i].Text, Finish: string(other[i].Finish)}})
		}
	}
	name := path.Join("judged", run.Key("judged", 2, m.Info().Fingerprint, pairs)+".jsonl")
	if err := w.d.Make(name); err != nil {
		return nil, err
	}
	file, err := winrate.Open(w.d.Path(name), m, pairs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w.begin("judge "+a.Method.ID, len(pairs), "verdicts")
	told := false // of what was judged before nobody is
	c := winrate.Comparison{Judge: m, Progress: func(done, all int) {
		if !told {
			w.x.Own.Scores(name)
		}
		told = true
		w.at(done, all, "verdicts")
	}}
	verdicts, err := c.Run(ctx, pairs, file)
	if err != nil {
		return nil, whole(err)
	}
	return c.Report(pairs, verdicts, 0, 1), nil
}
