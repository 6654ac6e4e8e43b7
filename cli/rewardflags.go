package cli

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// rewardFlags say what scores responses.
func rewardFlags(category string) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "reward", Usage: "`SPEC` of what scores responses", Value: "gold", Category: category},
		skipFlag(category),
	}, scoringFlags(category)...)
}

func skipFlag(category string) cli.Flag {
	return &cli.BoolFlag{Name: "skip-unscored", Usage: "go on without responses that get no score; without it the same command asks for them again", Category: category}
}

// scoringFlags say how a reward is asked.
func scoringFlags(category string) []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "reward-timeout", Usage: "`TIME` that a program or server may take for an answer", Value: 2 * time.Minute, Category: category},
		&cli.IntFlag{Name: "reward-workers", Usage: "programs or requests at once; 0 for one program, four requests", Category: category},
	}
}

// rerankFlags say how a reward takes part in the search.
func rerankFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "value-reward", Usage: "`REWARD` whose scores of the unfinished response are the values, instead of a value function: any with --method greedy, which is ARGS, for others one that is made for it", Category: methodCategory},
		&cli.StringFlag{Name: "rerank", Usage: "`REWARD` that chooses the answer among the samples of best-of-n, the finished beams or the last blocks: see ivo reward", Category: methodCategory},
		&cli.IntFlag{Name: "rollouts", Usage: "`N` continuations by which the reward of --rerank values each block of block-beam and block-best-of-k, instead of the value function", Category: methodCategory},
		&cli.IntFlag{Name: "rollout-tokens", Usage: "most tokens of a continuation of --rollouts; 0 takes the unfinished text itself", Value: 16, Category: methodCategory},
	}, scoringFlags(methodCategory)...)
}

// openReward opens a reward that was named on the command line, which alone may start programs.
func openReward(c *cli.Context, spec string) (reward.Model, error) {
	m, err := reward.Open(spec, reward.Options{AllowCommands: true, Timeout: c.Duration("reward-timeout"), Workers: c.Int("reward-workers")})
	if err != nil {
		return nil, usagef(c, "%v", err)
	}
	return m, nil
}
