package cli

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

func iterateCommand() *cli.Command {
	const run, collect, head = "Run", "Collection and search", "Value function"
	d := loop.Defaults(0)
	return &cli.Command{
		Name: "iterate", Usage: "learn a value function from the model's own rollouts, round by round",
		Description: "Every round samples responses to the prompts, scores them, and trains a value\n" +
			"function; later rounds sample with the one before. Run the same command again to\n" +
			"continue a run that was stopped, or with more rounds, samples or evaluation prompts\n" +
			"to go on with it. Without --eval-prompts some of the prompts are held out and\n" +
			"evaluated on.\n\nExamples:\n\n" +
			"  ivo iterate -m model.gguf --chat --prompts questions.jsonl --reward sentiment --out runs/kind\n" +
			"  ivo iterate -m model.gguf --prompts train.jsonl --eval-prompts test.jsonl --out runs/first\n" +
			"  ivo iterate -m model.gguf --prompts train.csv --reward 'cmd:python3 score.py' --rounds 1 --samples 8 -n 64 --out runs/quick\n\n" +
			"Rewards, several of which can be summed up with weights, as in '0.7*sentiment + 0.3*length:60':\n\n" + reward.Usage(),
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "prompts", Usage: "`FILE` of prompts to learn from; - for standard input", Category: run, TakesFile: true},
			&cli.StringFlag{Name: "eval-prompts", Usage: "`FILE` of prompts to evaluate on", Category: run, TakesFile: true},
			&cli.IntFlag{Name: "hold-out", Usage: "prompts of --prompts to evaluate on instead; 0 for none", DefaultText: "a tenth, at most 100", Category: run},
			&cli.StringFlag{Name: "second-reward", Usage: "`SPEC` of a reward from which nothing is learned: it judges the evaluation's answers too, as guidance grows, and shows what the reward mistakes for good", Category: run},
			&cli.BoolFlag{Name: "redo", Usage: "go on with other options than the run was started with: what depends on them is made anew, the rest is kept", Category: run},
			&cli.StringFlag{Name: "out", Usage: "run `DIRECTORY`, made or continued", Category: run},
			&cli.IntFlag{Name: "rounds", Usage: "rounds of collecting and training", Value: d.Rounds, Category: run},
			&cli.Uint64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of all random numbers", Value: d.Seed, Category: run},
			&cli.IntFlag{Name: "samples", Usage: "responses a prompt and round", Value: d.Samples, Category: collect},
			&cli.IntFlag{Name: "round-prompts", Usage: "prompts of each round after the first; 0 for all", Value: d.RoundPrompts, Category: collect},
			&cli.IntFlag{Name: "shard", Usage: "prompts that are decoded and stored together", Value: d.ShardPrompts, Category: collect},
			&cli.IntFlag{Name: "collect-beams", Usage: "beams that collect in the rounds after the first", Value: d.Collect.Beams, Category: collect},
			&cli.IntFlag{Name: "beams", Usage: "beams that are evaluated", Value: d.Search.Beams, Category: collect},
			&cli.IntFlag{Name: "block", Usage: "tokens a block, in collection and evaluation", Value: d.Search.Block, Category: collect},
			&cli.IntFlag{Name: "parallel", Usage: "sequences at once", Value: d.Parallel, Category: collect},
			&cli.IntFlag{Name: "epochs", Usage: "most passes over the trajectories", Value: d.Head.Epochs, Category: head},
			&cli.Float64Flag{Name: "lr", Usage: "peak learning rate", Value: d.Head.Rate, Category: head},
			&cli.BoolFlag{Name: "warm-start", Usage: "train each round's value function on from the one before", Value: d.Head.WarmStart, Category: head},
			&cli.BoolFlag{Name: "last-round-only", Usage: "train on the newest round's trajectories only", Value: d.Head.LastRoundOnly, Category: head},
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of a response", Value: d.MaxTokens, Category: samplingCategory},
			&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Usage: "tokens of context that the parallel sequences share", Value: d.Context.Cells, Category: modelCategory},
		}, headFlags(d.Head, head, "the first and the one at 3/5 of the depth"), rewardFlags(run), escapeFlags("-r", samplingCategory), samplingFlags(d.Sampling), constraintFlags(), thoughtFlags(), promptFlags(), []cli.Flag{strictFlag()}, loadFlags(), adapterFlags(), computeFlags(), fleetFlags()),
		Action: iterate,
	}
}

func iterate(c *cli.Context) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	train, test, err := readPrompts(c, o)
	if err != nil {
		return err
	}
	if o.SecondReward != "" && len(test) == 0 {
		return usagef(c, "--second-reward judges what is evaluated, and nothing is (give --eval-prompts, or --hold-out a number)")
	}
	w := loop.Work{Redo: c.Bool("redo"), Say: func(text string) { fmt.Fprintf(c.App.ErrWriter, "(%s)\n", text) }}
	if w.Reward, err = openReward(c, o.Reward); err != nil {
		return err
	}
	defer w.Reward.Close()
	if o.SecondReward != "" {
		if w.Second, err = openReward(c, o.SecondReward); err != nil {
			return err
		}
		defer w.Second.Close()
	}
	if w.Model, err = load(c); err != nil {
		return err
	}
	defer w.Model.Close()
	if err = identify(c, w.Model); err != nil {
		return err
	}
	if o.Layers, err = layers(c, w.Model); err != nil {
		return err
	}
	date := loop.Date(c.String("out"))
	if w.Encoder, err = openEncoder(c, w.Model, date); err != nil {
		return err
	}
	if w.Encoder.Dated() {
		o.Encoding.Date = date
	}
	fits := func(tokens int) error { return o.Fits(tokens, w.Model.Info().ContextTrain) }
	notePlain(c, w.Encoder, train...)
	if w.Prompts, err = fit(c, w.Encoder, train, fits); err != nil {
		return err
	}
	if len(test) > 0 {
		if w.Test, err = fit(c, w.Encoder, test, fits); err != nil {
			return err
		}
		if err := prompt.Disjoint(w.Prompts, w.Test); err != nil {
			return err
		}
	}
	dir := c.String("out")
	meter := terminal.NewMeter(c.App.ErrWriter)
	w.Notify = notify(meter)
	f, err := leadFleet(c, dir, o.Context, o.Parallel, w.Model)
	if err != nil {
		return err
	}
	if w.Own = f.own; f.Coordinator != nil {
		w.Drawer, w.Elsewhere, w.Say, w.Notify = f, f.Elsewhere, f.say, func(e loop.Event) {
			logEvent(e)
			f.show(e.Stage)
		}
	}
	err = loop.Run(c.Context, dir, *o, w)
	meter.Close()
	err = f.end(c, err)
	if err != nil {
		return again(c, err)
	}
	if err := report.Write(dir); err != nil {
		return err
	}
	return report.Finished(c.App.Writer, dir, o.Rounds, len(test) > 0)
}

func logEvent(e loop.Event) {
	slog.Debug(e.Stage, "done", e.Done, "total", e.Total, "unit", e.Unit, "note", e.Note)
}

// notify shows how far a run is.
func notify(m *terminal.Meter) func(loop.Event) {
	return func(e loop.Event) {
		logEvent(e)
		m.Show(e.Stage, e.Done, e.Total, e.Unit, e.Note)
	}
}

// readPrompts reads the prompts to learn from and those to evaluate on.
func readPrompts(c *cli.Context, o *loop.Options) (train, test []prompt.Record, err error) {
	if train, err = readRecords(c, o.Prompts); err != nil {
		return nil, nil, err
	}
	if o.EvalPrompts != "" {
		test, err = readRecords(c, o.EvalPrompts)
		return train, test, err
	}
	if !c.IsSet("hold-out") {
		if o.HoldOut = min(len(train)/10, 100); o.HoldOut == 0 {
			fmt.Fprintf(c.App.ErrWriter, "(nothing is evaluated: %d prompts are too few to hold some out, unless --hold-out says so; --eval-prompts names others)\n", len(train))
		}
	}
	if o.HoldOut == 0 {
		return train, nil, nil
	}
	if o.HoldOut >= len(train) {
		return nil, nil, fmt.Errorf("--hold-out %d of %d prompts leaves none to learn from (lower it)", o.HoldOut, len(train))
	}
	train, test = prompt.HoldOut(train, o.HoldOut)
	fmt.Fprintf(c.App.ErrWriter, "(%d of %d prompts are held out and evaluated on: --eval-prompts names others, --hold-out another number)\n", len(test), len(test)+len(train))
	return train, test, nil
}

// readOptions reads the flags that need no model.
func readOptions(c *cli.Context) (*loop.Options, error) {
	for _, name := range []string{"prompts", "out"} {
		if c.String(name) == "" {
			return nil, usagef(c, "--%s is missing", name)
		}
	}
	model, err := readSource(c)
	if err != nil {
		return nil, err
	}
	o := loop.Defaults(0)
	o.Model, o.Prompts, o.EvalPrompts, o.Reward = model.String(), c.String("prompts"), c.String("eval-prompts"), c.String("reward")
	o.SecondReward = c.String("second-reward")
	adapters, err := readAdapters(c)
	if err != nil {
		return nil, err
	}
	o.LoRA, o.ControlVector = adapters.Spelled()
	o.Rounds, o.Samples, o.RoundPrompts, o.ShardPrompts = c.Int("rounds"), c.Int("samples"), c.Int("round-prompts"), c.Int("shard")
	o.MaxTokens, o.Seed, o.HoldOut, o.SkipUnscored = c.Int("predict"), c.Uint64("seed"), c.Int("hold-out"), c.Bool("skip-unscored")
	switch {
	case o.HoldOut < 0:
		return nil, usagef(c, "--hold-out %d: give a number of prompts, 0 for none", o.HoldOut)
	case o.Prompts == "-" && o.EvalPrompts == "-":
		return nil, usagef(c, "both --prompts and --eval-prompts are standard input (give a file for one of them)")
	case c.IsSet("hold-out") && o.EvalPrompts != "":
		return nil, usagef(c, "both --eval-prompts and --hold-out (give one of them)")
	}
	p, err := promptOptions(c)
	if err != nil {
		return nil, err
	}
	o.Encoding = loop.Encoding{Chat: p.Chat, System: p.System, Template: p.Template, Kwargs: c.String("chat-template-kwargs"), ParseContent: p.ParseContent}
	if o.Stop, err = stops(c); err != nil {
		return nil, err
	}
	o.Collect = decode.Beam{Beams: c.Int("collect-beams"), Block: c.Int("block")}
	o.Search = decode.Beam{Beams: c.Int("beams"), Block: c.Int("block")}
	if o.Head, err = readHead(c); err != nil {
		return nil, err
	}
	o.Head.WarmStart, o.Head.LastRoundOnly = c.Bool("warm-start"), c.Bool("last-round-only")
	if o.Context, err = compute(c); err != nil {
		return nil, err
	}
	o.Context.Cells, o.Parallel = c.Int("ctx-size"), c.Int("parallel")
	if o.Sampling, err = sampling(c); err != nil {
		return nil, err
	}
	if o.Thoughts, err = thoughts(c); err != nil {
		return nil, err
	}
	if err := o.Validate(); err != nil {
		return nil, usagef(c, "%v", err)
	}
	return &o, nil
}
