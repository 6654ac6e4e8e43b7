package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/hub"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

const valueCategory = "Value function"

// valueFlags say which value function guides decoding, and what is read from it.
func valueFlags() []cli.Flag {
	float := func(name, usage string) cli.Flag {
		return &cli.Float64Flag{Name: name, Usage: usage, Category: valueCategory}
	}
	return []cli.Flag{
		textsFlag("value-head", "value function `FILE` that ivo train or ivo iterate made; given several times, the mean of them", valueCategory),
		&cli.StringFlag{Name: "hf-repo-v", Aliases: []string{"hfv", "hfrv"}, Usage: "value function of Hugging Face instead, `USER/REPO[:FILE]`, downloaded once", Category: valueCategory},
		&cli.StringFlag{Name: "value-model", Usage: "GGUF model `FILE` to take values from instead of the policy, of any size and vocabulary: with --value-head by that head on its states, without by itself, fine-tuned as a value function", Category: valueCategory, TakesFile: true},
		float("value-beta", "take the soft value 1/B log E[exp(B reward)] for this `B` instead of the mean; a negative one is averse to risk"),
		float("pessimistic", "take the mean of the worst `SHARE` of the rewards instead of that of all"),
		float("quantile", "take the reward that is reached with probability 1-`Q` instead of the mean"),
		float("value-within", "keep values within `N` standard deviations of the rewards of training from their mean, however far guidance is followed; 0 for any"),
	}
}

// openValue opens the value function that valueFlags ask for. It is there before the policy,
// which takes longer to load: a wrong path should not have to wait for it.
func openValue(c *cli.Context) (*value.Function, error) {
	reading, err := valueReading(c)
	if err != nil {
		return nil, err
	}
	if err := fetchHead(c); err != nil {
		return nil, err
	}
	o := value.Options{
		Heads: textsOf(c, "value-head"), Model: c.String("value-model"), Reading: reading,
		Load:   func(path string) (*llama.Model, error) { return loadFile(c, path) },
		Length: func(m *llama.Model) (int, error) { return contextSize(c, m) },
	}
	if len(o.Heads) == 0 && o.Model == "" && reading != (valuehead.Reading{}) {
		return nil, usagef(c, "--value-beta, --pessimistic, --quantile and --value-within say what is read from a value function (give one with --value-head or --value-model)")
	}
	x, err := compute(c)
	if err != nil {
		return nil, err
	}
	if o.Params = x.Params(0, nil); c.IsSet("prompts") { // whose requests take turns
		o.Params.Ctx, o.Params.Sequences = batch.KeptCells, llama.MaxSequences
	}
	return value.Open(o)
}

// fetchHead makes --value-head name what -hfv does, which is downloaded first if need be.
func fetchHead(c *cli.Context) error {
	repo := c.String("hf-repo-v")
	switch {
	case repo == "":
		return nil
	case len(textsOf(c, "value-head")) > 0:
		return usagef(c, "both --value-head and -hfv (give one of them)")
	}
	o, done := downloads(c)
	defer done()
	path, err := hub.Head(c.Context, repo, o)
	if err != nil {
		return err
	}
	return c.Set("value-head", path)
}

// scaleOf colours a value function's values.
func scaleOf(f *value.Function) report.Scale { return report.Scale{Low: f.Lo, High: f.Hi} }

// valueReading reads what is asked of the distribution of the reward.
func valueReading(c *cli.Context) (valuehead.Reading, error) {
	r := valuehead.Reading{Beta: c.Float64("value-beta"), Pessimistic: c.Float64("pessimistic"), Quantile: c.Float64("quantile"), Within: c.Float64("value-within")}
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
	return r, r.Check()
}

// checkPolicy checks that the heads, if there are any, were trained on the model's states.
func checkPolicy(c *cli.Context, f *value.Function, m *llama.Model) error {
	if f.Layers == nil {
		return nil
	}
	if err := identify(c, m); err != nil {
		return err
	}
	return f.CheckPolicy(m)
}
