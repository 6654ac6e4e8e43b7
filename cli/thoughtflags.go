package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// thoughtFlags say what is done with the thoughts of models that think before they answer.
func thoughtFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "reasoning-budget", Usage: "most tokens of thought before a reasoning model has to answer; 0 for none, -1 for any number", Value: -1, Category: samplingCategory},
		&cli.StringFlag{Name: "guide", Usage: "what the method guides of a reasoning model's response: `all`, thinking or answer", Value: "all", Category: methodCategory},
	}
}

// thoughts reads thoughtFlags.
func thoughts(c *cli.Context) (decode.Thoughts, error) {
	budget := c.Int("reasoning-budget")
	if budget < -1 {
		return decode.Thoughts{}, usagef(c, "--reasoning-budget %d: give a number of tokens, 0 for none or -1 for any number", budget)
	}
	guided, err := choice(c, "guide", map[string]decode.Guided{"all": decode.GuidedAll, "thinking": decode.GuidedThinking, "answer": decode.GuidedAnswer})
	return decode.Thoughts{Limited: budget >= 0, Budget: max(0, budget), Guided: guided}, err
}
