package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/learn/pairwise"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// fineTuneFlags are those of --fine-tune, which trains the model itself.
func fineTuneFlags(category string) []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "fine-tune", Usage: "train the whole model with a linear head on its last states: a llama model of up to some 150 million parameters, of any quantization. An interrupted training goes on with the same command", Category: category},
		&cli.StringFlag{Name: "trunk", Usage: "`FILE` for the model that --fine-tune makes; it must not exist", Category: category, TakesFile: true},
		&cli.BoolFlag{Name: "f16", Usage: "write the model that --fine-tune makes in half precision", Category: category},
		&cli.IntFlag{Name: "rank", Usage: "learn adapters of rank `N` to the model's matrices (LoRA), which are merged into what is written, instead of all weights; 0 for all", Category: category},
		&cli.Float64Flag{Name: "lr", Usage: "peak learning rate; without it one that suits the model's size", Category: category},
		&cli.IntFlag{Name: "longest", Usage: "leave out pairs with a side of more than `N` tokens, prompt and template included", Value: 1024, Category: category},
	}
}

// checkFineTune refuses flags that mean nothing with or without --fine-tune.
func checkFineTune(c *cli.Context) error {
	others := []string{"trunk", "f16", "rank", "lr", "longest"}
	tuned := c.Bool("fine-tune")
	if tuned {
		others = []string{"states", "layers", "head", "hidden"}
	}
	for _, name := range others {
		switch {
		case !c.IsSet(name):
		case tuned:
			return usagef(c, "--%s with --fine-tune (it is for heads on the states of a model that stays as it is)", name)
		default:
			return usagef(c, "--%s without --fine-tune", name)
		}
	}
	switch {
	case !tuned:
		return nil
	case c.String("trunk") == "" || c.String("trunk") == c.String("out"):
		return usagef(c, "--fine-tune needs --trunk, a file beside --out for the model that it makes")
	case c.String("pooling") == "sum" || c.String("pooling") == "mentions":
		return usagef(c, "--pooling %s with --fine-tune (choose last or mean)", c.String("pooling"))
	case c.Int("rank") < 0 || c.Int("longest") < 2 || !within(c.Float64("lr"), 1):
		return usagef(c, "--rank is not negative, --longest is at least 2, --lr lies between 0 and 1")
	}
	return nil
}

// fineTuneReward trains the model of the trunk.
func fineTuneReward(c *cli.Context, trunk pairwise.Trunk, pairs []preference.Pair, pooling head.Pooling) error {
	to := pairwise.Files{Head: c.String("out"), Trunk: c.String("trunk")}
	if err := atomicfile.Writable(to.Trunk, false, "give another --trunk, or remove it"); err != nil {
		return err
	}
	release, err := learn.Reserve(to.Trunk)
	if err != nil {
		return err
	}
	defer release()
	t := pairwise.FineTuning{
		Pooling: pooling, HeldOut: c.Float64("held-out"), Margins: c.Float64("margin"), Longest: c.Int("longest"), Epochs: c.Int("epochs"),
		Rate: c.Float64("lr"), Rank: c.Int("rank"), Seed: c.Uint64("seed"), Workers: max(0, c.Int("threads")),
	}
	if c.Bool("f16") {
		t.Type = gguf.F16
	}
	meter := terminal.NewMeter(c.App.ErrWriter)
	t.Progress = tuning(meter)
	report, err := trunk.FineTune(c.Context, pairs, t, to)
	meter.Close()
	if err != nil {
		return again(c, err)
	}
	fmt.Fprintf(c.App.ErrWriter, "(the reward is head:%s@%s)\n", to.Head, to.Trunk)
	if c.Bool("json") {
		return printJSON(c, report)
	}
	return report.Write(c.App.Writer)
}
