package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ivo-decoding/ivo/internal/testfamily"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// iterates runs the whole loop: two rounds of trajectories, scores and training, and an evaluation by all methods.
// The layers are the default ones.
func iterates(f testfamily.Family, m *llama.Model) (err error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "ivo-families")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		return err
	}
	var records []prompt.Record
	for i, of := range []string{"the film was", "my red hat is", "a lamp, sold", "in it i found", "good and bad", "very dull is", "joy of the", "is it not"} {
		records = append(records, prompt.Record{ID: fmt.Sprint(i), Text: of})
	}
	prompts, _, err := prompt.Fit(encoder, records, func(int) error { return nil }, true)
	if err != nil {
		return err
	}
	score, err := reward.Open("length:10", reward.Options{})
	if err != nil {
		return err
	}
	defer score.Close()
	o := loop.Defaults(m.Info().Layers)
	o.Reward, o.Samples, o.MaxTokens, o.HoldOut, o.Search.Beams = "length:10", 2, 12, 4, 2
	o.Context.Threads, o.Head.Hidden, o.Head.Epochs = 1, 8, 1
	if err := loop.Run(ctx, dir, o, loop.Work{Model: m, Encoder: encoder, Reward: score, Prompts: prompts[:6], Test: prompts[6:]}); err != nil {
		return err
	}
	e, err := loop.ReadEvaluation(dir)
	if err == nil && len(e.Methods) < 5 {
		err = fmt.Errorf("%w: an evaluation of %d methods", errDiffers, len(e.Methods))
	}
	return err
}
