package cli

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

func scoreCommand() *cli.Command {
	const category = "Reward"
	return &cli.Command{
		Name: "score", Usage: "label a run's responses by another reward and learn a value function from it, without decoding",
		ArgsUsage: "RUN",
		Description: "The responses of the first round do not depend on the reward, and their states are\n" +
			"stored: so another reward costs seconds. Examples:\n\n" +
			"  ivo score runs/first --reward sentiment\n" +
			"  ivo score runs/first --reward '0.7*sentiment + 0.3*length:60'\n" +
			"  ivo score runs/first --reward 'cmd:python3 score.py' --json\n\n" +
			"Rewards:\n\n" + reward.Usage(),
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "reward", Usage: "`SPEC` of what scores the responses", Category: category},
			&cli.BoolFlag{Name: "all-rounds", Usage: "learn from the responses of later rounds too, which followed the run's own reward", Category: category},
			skipFlag(category),
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		}, scoringFlags(category)),
		Action: score,
	}
}

func score(c *cli.Context) error {
	dir := c.Args().First()
	switch {
	case dir == "":
		return usagef(c, "no run (name the directory that ivo iterate has written)")
	case c.String("reward") == "":
		return usagef(c, "--reward is missing")
	}
	rm, err := openReward(c, c.String("reward"))
	if err != nil {
		return err
	}
	defer rm.Close()
	f, err := leadFleet(c, dir, batch.Context{}, 0)
	if err != nil {
		return err
	}
	meter := terminal.NewMeter(c.App.ErrWriter)
	got, err := loop.Rescoring{Reward: rm, AllRounds: c.Bool("all-rounds"), SkipUnscored: c.Bool("skip-unscored"), Notify: notify(meter), Own: f.own}.Score(c.Context, dir)
	meter.Close()
	if err = f.end(c, err); err != nil {
		return again(c, err)
	}
	if c.Bool("json") {
		return printJSON(c, got)
	}
	m := got.Report
	if err := report.PartsTable(c.App.Writer, report.PartsOf(&m.Training.HeldOut)); err != nil {
		return err
	}
	return sheet.Sheet{
		{"tokens", report.TokensInWords(m.Training)},
		{"reward", fmt.Sprintf("%s: %.3f on average, sd %.3f, of %d responses", m.RewardName, m.Reward.Mean, m.Reward.SD, got.Responses)},
		{"value function", got.Head},
	}.Write(c.App.Writer)
}
