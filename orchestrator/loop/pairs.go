package loop

import (
	"path/filepath"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Scored are the responses to a prompt that have a score.
type Scored struct {
	Prompt  prompt.Record
	Answers []eval.Answer
}

// ScoredPrompts are the prompts of one round of the run in dir or, with round 0, of all so far, with the
// responses to them that the reward in a folder of it has scored, the run's own if that is empty. op is
// what they are wanted for.
func ScoredPrompts(op, dir string, round int, folder string) ([]Scored, error) {
	rounds, folder, err := scored(op, dir, round, folder)
	if err != nil {
		return nil, err
	}
	records, err := Prompts(dir, run.PromptsFile)
	if err != nil {
		return nil, err
	}
	of := map[string][]eval.Answer{}
	for _, names := range rounds {
		for _, name := range names {
			_, scores, err := run.Lines[batch.Score](filepath.Join(dir, run.Scores(folder, name)))
			if err != nil {
				return nil, err
			}
			answers, err := join(dir, name, scores)
			if err != nil {
				return nil, err
			}
			for _, a := range answers {
				of[a.Prompt] = append(of[a.Prompt], a)
			}
		}
	}
	var out []Scored
	for _, r := range records {
		if of[r.ID] != nil { // it is not of a later round
			out = append(out, Scored{r, of[r.ID]})
		}
	}
	return out, nil
}

// Pairs are the best and the worst of the responses to each of [ScoredPrompts]. left counts the prompts
// whose responses do not differ, or by less than least.
func Pairs(dir string, round int, folder string, least float64) (pairs []preference.Pair, left int, err error) {
	prompts, err := ScoredPrompts("make pairs", dir, round, folder)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range prompts {
		var responses []string
		var scores []float64
		for _, a := range s.Answers {
			responses, scores = append(responses, a.Text), append(scores, a.Reward)
		}
		r := s.Prompt
		p, ok := preference.OfScored(prompt.Record{ID: r.ID, Text: r.Text, Messages: r.Messages}, responses, scores, least)
		if !ok {
			left++
			continue
		}
		pairs = append(pairs, p)
	}
	return pairs, left, nil
}
