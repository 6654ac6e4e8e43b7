package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/eval/winrate"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

func judgeCommand() *cli.Command {
	const category = "Judge"
	return &cli.Command{
		Name: "judge", Usage: "compare the answers of two files by a judge, in both orders",
		ArgsUsage: "A.jsonl B.jsonl",
		Description: "The files are what ivo generate --prompts has written. The judge is a language model that is shown\n" +
			"both answers, once in each order, or any reward: the larger score wins. Says how often A wins, with\n" +
			"95 % intervals over prompts, also with length taken out of it as AlpacaEval 2 does, and how much\n" +
			"the judge's verdict depends on the order. Examples:\n\n" +
			"  ivo judge guided.jsonl base.jsonl --judge judge:model.gguf --out verdicts.jsonl\n" +
			"  ivo judge guided.jsonl base.jsonl --judge judge:https://api.example.com/v1,model=NAME,reply=json --out verdicts.jsonl\n" +
			"  ivo judge guided.jsonl base.jsonl --judge gold --prompts test.jsonl\n\n" +
			"The key of a server is taken from $IVO_JUDGE_KEY, or from the file that $IVO_JUDGE_KEY_FILE names. Judges:\n\n" + reward.Usage(),
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "judge", Usage: "`SPEC` of the judge", Category: category},
			&cli.StringFlag{Name: "prompts", Usage: "`FILE` of the prompts, for rewards that need more of them than the answers tell: " + formats, Category: category, TakesFile: true},
			&cli.StringFlag{Name: "out", Usage: "keep each verdict in `FILE`, JSON lines; the same command goes on with it", Category: category, TakesFile: true},
			&cli.IntFlag{Name: "take", Usage: "compare the first `N` pairs; 0 for all", Category: category},
			&cli.Float64Flag{Name: "margin", Usage: "verdicts of at most `M` are ties: log-odds, or a difference of rewards", Category: category},
			&cli.Uint64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of the intervals", Value: loop.Defaults(0).Seed, Category: category},
			skipFlag(category),
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		}, scoringFlags(category)),
		Action: judgeAnswers,
	}
}

func judgeAnswers(c *cli.Context) error {
	spellings["reward"] = "--judge" // what rewards are called here
	a, b := c.Args().Get(0), c.Args().Get(1)
	switch {
	case b == "":
		return usagef(c, "no answers (name two files of ivo generate --prompts)")
	case c.String("judge") == "":
		return usagef(c, "--judge is missing")
	case c.Int("take") < 0 || !(c.Float64("margin") >= 0):
		return usagef(c, "--take and --margin are not negative")
	}
	m, err := openReward(c, c.String("judge"))
	if err != nil {
		return err
	}
	defer m.Close()
	var records []prompt.Record
	if path := c.String("prompts"); path != "" {
		if records, err = readRecords(c, path); err != nil {
			return err
		}
	}
	pairs, left, err := winrate.Read(a, b, records)
	if err != nil {
		return err
	}
	if left > 0 {
		fmt.Fprintf(c.App.ErrWriter, "(%d answers have no other to compare with, and are left out)\n", left)
	}
	if n := c.Int("take"); n > 0 && n < len(pairs) {
		pairs = pairs[:n]
	}
	file, err := winrate.Open(c.String("out"), m, pairs)
	if err != nil {
		return err
	}
	defer file.Close()
	meter := terminal.NewMeter(c.App.ErrWriter)
	comparison := winrate.Comparison{
		Judge: m, SkipUnscored: c.Bool("skip-unscored"), Together: 4 * c.Int("reward-workers"),
		Progress: func(done, all int) { meter.Show("judge", done, all, "verdicts", "") },
	}
	verdicts, err := comparison.Run(c.Context, pairs, file)
	meter.Close()
	switch {
	case c.Context.Err() != nil && c.String("out") == "":
		return fmt.Errorf("%w (give --out FILE to be able to go on after a stop)", context.Cause(c.Context))
	case err != nil || c.Context.Err() != nil:
		return again(c, err)
	}
	report := comparison.Report(pairs, verdicts, c.Float64("margin"), c.Uint64("seed"))
	if c.Bool("json") {
		return printJSON(c, report)
	}
	return report.Write(c.App.Writer, a, b)
}
