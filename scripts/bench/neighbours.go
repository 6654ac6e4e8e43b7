package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// neighbours measures what a submitted job's answer depends on beside its own request, by rounding: who else is in
// the batch, and what was kept of its prompt.
func neighbours(ctx context.Context, b *bench) error {
	paths, err := b.vocabularies()
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %-12s %-26s %12s %16s %14s %14s\n", "model", "temperature", "beside", "same answer", "first difference", "mean |dlogp|", "most")
	for _, path := range append([]string{b.lab}, paths...) {
		if err := withModel(path, func(m *llama.Model) error { return neighboursOf(ctx, b, m) }); err != nil {
			return err
		}
	}
	fmt.Printf("%d answers of %d tokens, each compared with what it is alone in an empty context under the same seed. First difference: the mean number of the token, of those that differ. dlogp: of the log-probabilities of tokens up to there.\n", len(openings), spoken)
	return nil
}

const spoken = 48 // tokens of an answer

// openings are prompts in plain words.
var openings = []string{
	"The best thing about living by the sea is", "Last week I took the train to", "My grandmother always told me that", "In the year 2050, most people will",
	"The recipe begins with", "Scientists have long wondered why", "When the lights went out,", "To repair a bicycle tyre,",
	"The old house at the end of the street", "A good teacher is someone who", "It was raining when the film", "The price of bread has",
	"Dear Sir or Madam, I am writing to", "Once there was a fox who", "The second half of the match", "If you have never been to a library,",
}

func neighboursOf(ctx context.Context, b *bench, m *llama.Model) error {
	e, err := engine.New(m, engine.Params{Ctx: 8192, Sequences: 128, Threads: b.threads})
	if err != nil {
		return err
	}
	defer e.Close()
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		return err
	}
	for _, temp := range []float64{0, 0.7} {
		ask := func(i int, r *decode.Response) (engine.Job, error) {
			tokens, err := encoder.Encode(prompt.Record{Text: openings[i]})
			if err != nil {
				return engine.Job{}, err
			}
			req := decode.Request{Prompt: tokens, MaxTokens: spoken, Sampling: policy.Sampling{Temp: temp}, Key: uint64(i)}
			return decode.Sample(e, req, 1, func(rs []decode.Response) { *r = rs[0] })
		}
		alone := make([]decode.Response, len(openings))
		for i := range alone {
			job, err := ask(i, &alone[i])
			if err != nil {
				return err
			}
			if err := e.Run(ctx, []engine.Job{job}); err != nil {
				return err
			}
		}
		// Twice: prompts are new the first time, and kept the second.
		for _, beside := range []string{"15 others", "15 others, prompt kept"} {
			got := make([]decode.Response, len(openings))
			var tickets []*engine.Ticket
			for i := range got {
				job, err := ask(i, &got[i])
				if err != nil {
					return err
				}
				t, err := e.Submit(ctx, job)
				if err != nil {
					return err
				}
				tickets = append(tickets, t)
			}
			for _, t := range tickets {
				if err := t.Wait(); err != nil {
					return err
				}
			}
			d := apart(got, alone)
			fmt.Printf("%-28s %-12v %-26s %9d/%d %16s %14.2g %14.2g\n", m.Info().Desc, temp, beside, d.same, len(got), d.first(), d.sum/float64(d.tokens), d.most)
		}
	}
	return nil
}

// differences are those between responses and what they are alone.
type differences struct {
	same, tokens, firsts int
	sum, most            float64
}

func (d differences) first() string {
	if d.firsts == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(d.firsts)/float64(len(openings)-d.same))
}

func apart(got, alone []decode.Response) (d differences) {
	for i, r := range got {
		n := 0
		for n < min(len(r.Tokens), len(alone[i].Tokens)) && r.Tokens[n] == alone[i].Tokens[n] {
			off := math.Abs(float64(r.LogProbs[n] - alone[i].LogProbs[n]))
			d.sum, d.most = d.sum+off, max(d.most, off)
			n++
		}
		d.tokens += n
		if slices.Equal(r.Tokens, alone[i].Tokens) {
			d.same++
		} else {
			d.firsts += n
		}
	}
	return d
}
