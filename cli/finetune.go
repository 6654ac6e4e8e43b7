package cli

import (
	"fmt"
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

// fineTuneEpochs are those of a value model unless flags say otherwise; docs/log.md has what they give.
const fineTuneEpochs = 2

// fineTune trains the policy's whole network as a value function.
func fineTune(c *cli.Context) (err error) {
	t := learn.FineTuning{
		Model: c.String("out"), Atoms: c.Int("atoms"), Epochs: fineTuneEpochs, Seed: c.Uint64("seed"), Workers: max(0, c.Int("threads")),
	}
	if c.IsSet("epochs") {
		t.Epochs = c.Int("epochs")
	}
	if c.IsSet("lr") {
		t.Rate = c.Float64("lr")
	}
	for _, name := range []string{"head", "one-pass", "layers", "hidden", "match", "members", "from", "target", "lambda", "weight-decay", "warm-up", "dropout", "temp", "html", "overwrite"} {
		if c.IsSet(name) {
			return usagef(c, "--%s with --fine-tune (it is for value functions that read the states of a model)", name)
		}
	}
	if t.Model == "" || t.Atoms < 2 || t.Epochs < 1 || c.Int("round") < 0 || !within(t.Rate, 1) || c.IsSet("lr") && t.Rate == 0 {
		return usagef(c, "--fine-tune needs --out, two --atoms or more, at least one of --epochs, and --lr between 0 and 1")
	}
	from, err := readSource(c)
	if err != nil {
		return err
	}
	if err := atomicfile.Writable(t.Model, false, "give another --out, or remove it"); err != nil {
		return err
	}
	data, err := storedStates(c)
	if err != nil {
		return err
	}
	if t.Policy, err = find(c, from); err != nil {
		return err
	}
	release, err := learn.Reserve(t.Model)
	if err != nil {
		return err
	}
	defer release()
	meter := terminal.NewMeter(c.App.ErrWriter)
	t.Progress = tuning(meter)
	err = t.FineTune(c.Context, data)
	meter.Close()
	if err != nil {
		return again(c, err)
	}
	if c.Bool("json") {
		return printJSON(c, &t)
	}
	return report.FineTuningTable(c.App.Writer, &t)
}

// tuning shows how far the training of a whole model has come.
func tuning(meter *terminal.Meter) func(step, steps int, loss, heldOut float64) {
	return func(step, steps int, loss, heldOut float64) {
		note := fmt.Sprintf("loss %.3f", loss)
		if heldOut > 0 {
			note += fmt.Sprintf(", held out %.3f", heldOut)
		}
		slog.Debug("fine-tune", "done", step, "total", steps, "note", note)
		meter.Show("fine-tune", step, steps, "steps", note)
	}
}
