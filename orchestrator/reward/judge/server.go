package judge

import (
	"context"
	"math"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/reward/program"
)

// server is a model that a server has.
type server struct{ *program.Chat }

func openServer(address, name string, o program.Options) (model, error) {
	c, err := program.NewChat(address, name, o)
	if err != nil {
		return nil, err
	}
	return server{c}, nil
}

func (s server) fingerprint() (string, error) { return s.Fingerprint(), nil }

// put is a question as it is sent.
func (s server) put(q *question, text string) program.Question {
	if q.schema != nil {
		return program.Question{Text: text, Tokens: replyTokens, Schema: q.schema}
	}
	return program.Question{Text: text, Tokens: 1, First: true}
}

func (s server) ask(ctx context.Context, q *question, texts []string) ([]Verdict, error) {
	asked := make([]program.Question, len(texts))
	for i, text := range texts {
		asked[i] = s.put(q, text)
	}
	replies, err := s.Ask(ctx, asked)
	if err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, len(replies))
	for i, r := range replies {
		v := &verdicts[i]
		switch v.Said, v.Err = r.Text, r.Err; {
		case r.Err != nil:
		case q.schema != nil:
			v.Value, v.Err = q.parse(r.Text)
		default:
			v.Value, v.Err = q.odds(r)
		}
	}
	return verdicts, nil
}

// odds are the log-odds of the words among the likeliest tokens of a reply. A word that is not among
// them is taken to be as likely as the last of them, which it is at most.
func (q *question) odds(r program.Reply) (float64, error) {
	if len(r.First) == 0 {
		return 0, fault.New("", "reward", nil, "take a server that gives logprobs with top_logprobs, or add reply=json to the judge: judge:URL,reply=json", "the server gives no log-probabilities")
	}
	var found [2][]float64
	least := math.Inf(1)
	for _, a := range r.First {
		least = min(least, a.LogProb)
		for k, word := range q.words {
			if spells(a.Token, word) {
				found[k] = append(found[k], a.LogProb)
			}
		}
	}
	if len(found[0])+len(found[1]) == 0 {
		return 0, fault.New("", "reward", nil, "take another model, or ask for these words in the judge's template", "the judge said %.100q, and neither %s nor %s was likely", r.Text, q.words[0], q.words[1])
	}
	for k := range found {
		if len(found[k]) == 0 {
			found[k] = []float64{least}
		}
	}
	v := logSumExp(found[0]) - logSumExp(found[1])
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fault.New("", "reward", nil, "see what the server says", "the log-probabilities of %s and %s have the odds %v", q.words[0], q.words[1], v)
	}
	return v, nil
}

// check tries the first question.
func (s server) check(ctx context.Context, q *question, texts []string) (int, error) {
	if len(texts) == 0 {
		return 0, nil
	}
	return 0, s.Try(ctx, s.put(q, texts[0]))
}
