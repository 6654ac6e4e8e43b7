package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/valuehead"
)

const valueCategory = "Value function"

// valueFlags say which value function guides decoding, and what is read from it.
func valueFlags() []cli.Flag {
	float := func(name, usage string) cli.Flag {
		return &cli.Float64Flag{Name: name, Usage: usage, Category: valueCategory}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "value-head", Usage: "value function `FILE` that ivo train or ivo iterate made", Category: valueCategory, TakesFile: true},
		float("value-beta", "take the soft value 1/B log E[exp(B reward)] for this `B` instead of the mean; a negative one is averse to risk"),
		float("pessimistic", "take the mean of the worst `SHARE` of the rewards instead of that of all"),
		float("quantile", "take the reward that is reached with probability 1-`Q` instead of the mean"),
	}
}

// valueSource is the value function of valueFlags, which the caller closes.
type valueSource struct {
	Source decode.Source   // nil without any
	Layers []int           // that the policy's engine has to tap
	Head   *valuehead.Head // that reads the policy's own states; nil without one
}

// openValue opens the value function that valueFlags ask for. It is there before the policy,
// which takes longer to load: a wrong path should not have to wait for it.
func openValue(c *cli.Context) (*valueSource, error) {
	reading, err := valueReading(c)
	if err != nil {
		return nil, err
	}
	v := &valueSource{}
	path := c.String("value-head")
	if path == "" {
		if reading != (valuehead.Reading{}) {
			return nil, usagef(c, "--value-beta, --pessimistic and --quantile say what is read from a value function (give one with --value-head)")
		}
		return v, nil
	}
	if v.Head, err = valuehead.Load(path); err != nil {
		return nil, err
	}
	if err := v.Head.CheckReading(reading); err != nil {
		return nil, err
	}
	v.Layers = v.Head.Features().Schema().Layers
	v.Source = decode.HeadSource(v.Head, reading)
	return v, nil
}

// valueReading reads what is asked of the distribution of the reward.
func valueReading(c *cli.Context) (valuehead.Reading, error) {
	r := valuehead.Reading{Beta: c.Float64("value-beta"), Pessimistic: c.Float64("pessimistic"), Quantile: c.Float64("quantile")}
	chosen := 0
	for _, name := range []string{"value-beta", "pessimistic", "quantile"} {
		if c.IsSet(name) {
			chosen++
		}
	}
	switch {
	case chosen > 1:
		return r, usagef(c, "more than one of --value-beta, --pessimistic and --quantile (choose one; a negative --value-beta is averse to risk)")
	case r.Beta != r.Beta:
		return r, usagef(c, "--value-beta %v: give a number", r.Beta)
	case c.IsSet("pessimistic") && !(r.Pessimistic > 0 && r.Pessimistic <= 1):
		return r, usagef(c, "--pessimistic %v: a share is above 0 and at most 1", r.Pessimistic)
	case c.IsSet("quantile") && !(r.Quantile > 0 && r.Quantile <= 1):
		return r, usagef(c, "--quantile %v: give a probability above 0 and at most 1", r.Quantile)
	}
	return r, nil
}

// Close frees the value function. A second Close does nothing.
func (v *valueSource) Close() error { return nil }
