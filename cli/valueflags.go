package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/hub"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/run"
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
		&cli.StringFlag{Name: "hf-repo-v", Aliases: []string{"hfv", "hfrv"}, Usage: "value function of Hugging Face instead, `USER/REPO[:FILE]`, downloaded once", Category: valueCategory},
		&cli.StringFlag{Name: "value-model", Usage: "GGUF model `FILE` to take values from instead of the policy, of any size and vocabulary: with --value-head by that head on its states, without by itself, fine-tuned as a value function", Category: valueCategory, TakesFile: true},
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
	Scale  report.Scale    // that colours its values

	model  *llama.Model // instead of the policy
	values *decode.ValueModel
}

// openValue opens the value function that valueFlags ask for. It is there before the policy,
// which takes longer to load: a wrong path should not have to wait for it.
func openValue(c *cli.Context) (*valueSource, error) {
	reading, err := valueReading(c)
	if err != nil {
		return nil, err
	}
	if err := fetchHead(c); err != nil {
		return nil, err
	}
	v := &valueSource{}
	path, model := c.String("value-head"), c.String("value-model")
	if path == "" && model == "" {
		if reading != (valuehead.Reading{}) {
			return nil, usagef(c, "--value-beta, --pessimistic and --quantile say what is read from a value function (give one with --value-head or --value-model)")
		}
		return v, nil
	}
	var head *valuehead.Head
	if path != "" {
		if head, err = valuehead.Load(path); err != nil {
			return nil, err
		}
		if err := head.CheckReading(reading); err != nil {
			return nil, err
		}
		v.Scale = report.ScaleOf(head.Reward())
	}
	if model != "" {
		if err := v.openModel(c, model, head); err != nil {
			return nil, errors.Join(err, v.Close())
		}
		v.Source = v.values.Source(reading)
		return v, nil
	}
	v.Head, v.Layers, v.Source = head, head.Features().Schema().Layers, decode.HeadSource(head, reading)
	return v, nil
}

// fetchHead makes --value-head name what -hfv does, which is downloaded first if need be.
func fetchHead(c *cli.Context) error {
	repo := c.String("hf-repo-v")
	switch {
	case repo == "":
		return nil
	case c.String("value-head") != "":
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

// openModel opens a value model. It gets room for two of the longest texts, which is all that
// the candidates of a request take, for they share most of theirs. For many prompts, whose requests
// take turns, it gets more: what it forgets it has to read again.
func (v *valueSource) openModel(c *cli.Context, path string, head *valuehead.Head) error {
	x, err := compute(c)
	if err != nil {
		return err
	}
	params := x.Params(0, nil)
	if v.model, err = loadFile(c, path); err != nil {
		return err
	}
	size, err := contextSize(c, v.model)
	if err != nil {
		return err
	}
	if params.Ctx = 2 * size; c.IsSet("prompts") {
		params.Ctx, params.Sequences = max(params.Ctx, batch.KeptCells), llama.MaxSequences
	}
	if v.values, err = decode.OpenValueModel(v.model, head, params); err != nil || head != nil {
		return err
	}
	atoms := v.values.Atoms()
	v.Scale = report.Scale{Low: float64(atoms[0]), High: float64(atoms[len(atoms)-1])}
	return nil
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

// checkHead checks that the head, if there is one, was trained on the policy's states.
func (v *valueSource) checkHead(policy *llama.Model) error {
	if v.Head == nil {
		return nil
	}
	fingerprint, err := policy.Fingerprint()
	if err != nil {
		return err
	}
	return v.Head.CheckBackbone(fingerprint)
}

// identity says which value function it is, and what is read from it.
func (v *valueSource) identity(c *cli.Context) (string, error) {
	var parts []string
	if path := c.String("value-head"); path != "" {
		head, err := run.Identify(path)
		if err != nil {
			return "", fmt.Errorf("%w (check the path)", err)
		}
		parts = append(parts, "head "+head.XXHash)
	}
	if v.model != nil {
		weights, err := v.model.Fingerprint()
		if err != nil {
			return "", err
		}
		parts = append(parts, "model "+weights)
	}
	for _, name := range []string{"value-beta", "pessimistic", "quantile"} {
		if c.IsSet(name) {
			parts = append(parts, fmt.Sprint(name, " ", c.Float64(name)))
		}
	}
	return strings.Join(parts, ", "), nil
}

// Close frees the value function. A second Close does nothing.
func (v *valueSource) Close() error {
	var err error
	if v.values != nil {
		err = v.values.Close()
	}
	if v.model != nil {
		err = errors.Join(err, v.model.Close())
	}
	return err
}
