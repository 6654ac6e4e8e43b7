package cli

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/signals"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// many answers all prompts of a file.
func (g *generation) many(c *cli.Context) error {
	if c.IsSet("prompt") || c.IsSet("file") {
		return usagef(c, "--prompts and a single prompt (give -p or -f, or --prompts)")
	}
	samples, n := 1, c.Int("parallel")
	if g.policy.Strategy.Method == decode.MethodSample && c.IsSet("samples") {
		samples = g.policy.Strategy.N
	}
	run := &batch.Many{Policy: g.policy, Context: g.context, Parallel: n, Shard: c.Int("shard")}
	if !c.IsSet("shard") {
		run.Shard = max(run.Shard, n)
	}
	switch {
	case run.Shard < 1:
		return usagef(c, "--shard %d: give a positive number of prompts", run.Shard)
	case n < 0 || n > llama.MaxSequences:
		return usagef(c, "--parallel %d: llama.cpp holds 1 to %d sequences", n, llama.MaxSequences)
	}
	if err := run.Check(samples); err != nil {
		return usagef(c, "%v", err)
	}
	records, err := readRecords(c, c.String("prompts"))
	if err != nil {
		return err
	}
	path := c.String("out")
	var old *batch.AnswersOptions // of the run that is continued
	if path != "" {
		if old, err = batch.ReadAnswersOptions(path); err != nil {
			return err
		}
		g.date = time.Now().Format(time.DateOnly)
		if old != nil {
			g.date = cmp.Or(old.Date, g.date)
			if c.Int64("seed") < 0 {
				g.seed = old.Seed
			}
		}
	}
	defer g.close()
	if err := g.open(c); err != nil {
		return err
	}
	m, err := g.load(c)
	if err != nil {
		return err
	}
	defer m.Close()
	tasks, err := g.tasks(c, m, records, samples)
	if err != nil {
		return err
	}
	run.Policy, run.Layers = g.policy, g.value.Layers
	run.Policy.EachValue = true
	run.Seed = g.seed
	if target := c.Float64("target-kl"); c.IsSet("target-kl") {
		if err := aim(c, run, m, tasks, target, old); err != nil {
			return err
		}
	}
	answers := batch.PrintAnswers(terminal.Harmless(c.App.Writer), tasks, run.Shard)
	if path != "" {
		value, err := g.value.Identity()
		if err != nil {
			return err
		}
		if err := identify(c, m); err != nil {
			return err
		}
		options, err := run.Options(m, tasks, g.encoder.Identity(), value)
		if err != nil {
			return err
		}
		options.Predict, options.Context, options.TargetKL = g.predict, c.Int("ctx-size"), c.Float64("target-kl")
		if g.encoder.Dated() {
			options.Date = g.date
		}
		if answers, err = batch.OpenAnswers(path, *options, tasks, run.Shard); err != nil {
			return err
		}
		defer answers.Close()
	}
	meter := terminal.NewMeter(c.App.ErrWriter)
	defer meter.Close()
	quiet := path == "" && terminal.Is(c.App.Writer) // the answers themselves are seen
	err = run.Run(c.Context, m, tasks, answers, func(written int) {
		slog.Debug("answer", "done", written, "total", answers.Total())
		if !quiet {
			meter.Show("answer", written, answers.Total(), "responses", "")
		}
	})
	switch {
	case !errors.As(err, new(signals.Interrupted)):
		return err
	case path == "":
		return fmt.Errorf("%w (give --out FILE to be able to go on after a stop)", err)
	}
	return fmt.Errorf("%w with %d of %d responses written (run the same command again to continue)", err, answers.Written(), answers.Total())
}

// aim chooses the beta that --target-kl asks for, or takes that of the run that is continued.
func aim(c *cli.Context, run *batch.Many, m *llama.Model, tasks []batch.Task, target float64, old *batch.AnswersOptions) error {
	if old != nil && old.TargetKL == target {
		run.Policy.Strategy.SetBeta(cmp.Or(old.Proposal, old.Guide.Beta))
		return nil
	}
	meter := terminal.NewMeter(c.App.ErrWriter)
	beta, kl, err := run.TargetKL(c.Context, m, tasks, target, func(tried int, beta, kl float64) {
		meter.Show("choose beta", tried, batch.TargetTries, "tries at most", fmt.Sprintf("beta %.3g gives a KL of %.3g", beta, kl))
	})
	meter.Close()
	if err == nil {
		fmt.Fprintf(c.App.ErrWriter, "(%s)\n", batch.TargetInWords(target, beta, kl))
	}
	return err
}

// tasks are the prompts that fit, with the most tokens of their responses.
func (g *generation) tasks(c *cli.Context, m *llama.Model, records []prompt.Record, samples int) ([]batch.Task, error) {
	notePlain(c, g.encoder, records...)
	kept, err := fit(c, g.encoder, records, func(tokens int) error {
		_, err := g.length(c, m, tokens)
		return err
	})
	tasks := make([]batch.Task, len(kept))
	for i, p := range kept {
		tasks[i] = batch.Task{Encoded: p, Samples: samples, Stop: g.encoder.Stops(p.Record)}
		if tasks[i].MaxTokens, err = g.length(c, m, len(p.Tokens)); err != nil {
			return nil, err
		}
	}
	return tasks, err
}
