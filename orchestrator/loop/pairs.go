package loop

import (
	"path/filepath"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Pairs are the best and the worst of the responses to each prompt of one round of the run in dir or,
// with round 0, of all so far, by the reward in a folder of it, the run's own if that is empty. left
// counts the prompts whose responses do not differ, or by less than least.
func Pairs(dir string, round int, folder string, least float64) (pairs []preference.Pair, left int, err error) {
	rounds, folder, err := scored("make pairs", dir, round, folder)
	if err != nil {
		return nil, 0, err
	}
	records, err := Prompts(dir, run.PromptsFile)
	if err != nil {
		return nil, 0, err
	}
	type said struct {
		responses []string
		scores    []float64
	}
	of := map[string]*said{}
	for _, names := range rounds {
		for _, name := range names {
			_, scores, err := run.Lines[batch.Score](filepath.Join(dir, run.Scores(folder, name)))
			if err != nil {
				return nil, 0, err
			}
			answers, err := join(dir, name, scores)
			if err != nil {
				return nil, 0, err
			}
			for _, a := range answers {
				s := of[a.Prompt]
				if s == nil {
					s = &said{}
					of[a.Prompt] = s
				}
				s.responses, s.scores = append(s.responses, a.Text), append(s.scores, a.Reward)
			}
		}
	}
	for _, r := range records {
		s := of[r.ID]
		if s == nil {
			continue // of a later round
		}
		p, ok := preference.OfScored(prompt.Record{ID: r.ID, Text: r.Text, Messages: r.Messages}, s.responses, s.scores, least)
		if !ok {
			left++
			continue
		}
		pairs = append(pairs, p)
	}
	return pairs, left, nil
}
