package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/valuehead"
)

func trainCommand() *cli.Command {
	const data, head, training = "States", "Value function", "Training"
	d := loop.Defaults(0).Head
	return &cli.Command{
		Name: "train", Usage: "train a value function from stored states, without decoding",
		ArgsUsage: "[RUN]",
		Description: "RUN is the directory of a run of ivo iterate, finished or not. Prompts that were held\n" +
			"out of the run's training are held out here too. Examples:\n\n" +
			"  ivo train runs/first --out head.gguf\n" +
			"  ivo train runs/first --round 1 --head mlp --target td --atoms 0 --out mlp.gguf --html mlp.html\n" +
			"  ivo train --states 'runs/*/iter-01/states/*.states' --one-pass --out one-pass.gguf\n" +
			"  ivo train runs/first --fine-tune -m model.gguf --out value.gguf",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "`FILE` for the value function; it must not exist", Category: data},
			&cli.StringFlag{Name: "scores", Usage: "`NAME` of the reward whose scores are learned from, as a folder of RUN/rewards is called; the run's own without it", Category: data},
			&cli.IntFlag{Name: "round", Usage: "train on the states of this round alone; 0 for all rounds so far", Category: data},
			textsFlag("states", "`FILES` of states instead of a run, a name or a quoted pattern; may be given several times", data),
			&cli.Float64Flag{Name: "temp", Usage: "temperature that the responses of --states were drawn at, at which betas are gauged; a run knows its own", Value: 1, Category: data},
			&cli.BoolFlag{Name: "fine-tune", Usage: "train the whole network of the run's model as a value model instead, for --value-model: a small llama model of any quantization. An interrupted training goes on with the same command", Category: head},
			&cli.BoolFlag{Name: "one-pass", Usage: "train a recall head that values tokens before they are fed", Category: head},
			&cli.IntFlag{Name: "members", Usage: "value functions of different seeds, whose mean the value is", Value: 1, Category: head},
			&cli.StringFlag{Name: "from", Usage: "value function `FILE` to train on, in its own shape: --head, --one-pass, --layers, --hidden, --match, --atoms and --members are not given with it", Category: head, TakesFile: true},
			&cli.StringFlag{Name: "target", Usage: "what values are fitted to: `TARGET` monte-carlo, fudge, td or cd-q", Value: string(valuehead.MonteCarloReturn), Category: training},
			&cli.Float64Flag{Name: "lambda", Usage: "of the target td", Value: 0.95, Category: training},
			&cli.IntFlag{Name: "epochs", Usage: "most passes over the trajectories", Value: d.Epochs, DefaultText: fmt.Sprintf("%d, with --fine-tune %d", d.Epochs, fineTuneEpochs), Category: training},
			&cli.Float64Flag{Name: "lr", Usage: "peak learning rate", Value: d.Rate, DefaultText: fmt.Sprintf("%g, with --fine-tune one that suits the model's size", d.Rate), Category: training},
			&cli.Float64Flag{Name: "weight-decay", Usage: "of AdamW", DefaultText: "0.1, of mlp and linear 1", Category: training},
			&cli.Float64Flag{Name: "warm-up", Usage: "share of the steps over which the learning rate rises", DefaultText: "0.05", Category: training},
			&cli.Float64Flag{Name: "dropout", Usage: "of hidden units", DefaultText: "0.1, of mlp 0.3", Category: training},
			&cli.Uint64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of all random numbers", Value: loop.Defaults(0).Seed, Category: training},
			&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "threads to train with; 0 for one a core. They make no difference to the result", Category: training},
			&cli.StringFlag{Name: "html", Usage: "write a page with plots to `FILE`"},
			overwriteFlag("let the page of --html replace a file", ""),
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		}, headFlags(d, head, "all stored ones"), []cli.Flag{
			&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "GGUF model `FILE` whose states they are, to fine-tune or for what its tokens are made of; without it the run's own", Category: modelCategory, TakesFile: true},
		}, remoteFlags()),
		Action: trainValue,
	}
}

// embedding is the width of the token embedding of one-pass heads; docs/log.md has what it gives.
const embedding = 32

func trainValue(c *cli.Context) error {
	if c.Bool("fine-tune") {
		return fineTune(c)
	}
	o, err := trainOptions(c)
	if err != nil {
		return err
	}
	out, page := c.String("out"), c.String("html")
	if err := atomicfile.Writable(out, false, "give another --out, or remove it"); err != nil {
		return err
	}
	if page != "" {
		if err := atomicfile.Writable(page, c.Bool("overwrite"), overwriteHint); err != nil {
			return err
		}
	}
	release, err := learn.Reserve(out)
	if err != nil {
		return err
	}
	defer release()
	data, err := storedStates(c)
	if err != nil {
		return err
	}
	if !o.OnePass { // which values tokens before they are fed in its own way
		embeddings, err := tokenEmbeddings(c, data)
		if err != nil {
			return err
		}
		if embeddings != nil {
			defer embeddings.Close()
			o.Embeddings = embeddings
			if o.Temp = c.Float64("temp"); c.Args().Present() {
				o.Temp = loop.Temperature(c.Args().First())
			}
		}
	}
	begin, member, last := time.Now(), 1, 0
	meter := terminal.NewMeter(c.App.ErrWriter)
	o.Progress = func(p valuehead.Progress) {
		stage := "train"
		if p.Step < last {
			member++
		}
		if last = p.Step; o.Shape.Members > 1 {
			stage = fmt.Sprintf("train member %d of %d", member, o.Shape.Members)
		}
		note := fmt.Sprintf("loss %.3f, held out %.3f, R^2 %.2f", p.TrainLoss, p.HeldOutLoss, p.HeldOutR2)
		slog.Debug(stage, "done", p.Step, "total", p.Steps, "note", note)
		meter.Show(stage, p.Step, p.Steps, "steps", note)
	}
	o.Trying = func(done, total int, name string) { meter.Show("try heads", done, total, "kinds", name) }
	head, metrics, err := learn.Fit(c.Context, data, *o)
	meter.Close()
	if c.Context.Err() != nil {
		return fmt.Errorf("%w (nothing was written; run the same command again)", context.Cause(c.Context))
	}
	if err != nil {
		return err
	}
	t := report.TrainingOf(head, metrics.Training)
	t.Head, t.Page, t.Shards, t.Tried, t.LeftOut, t.Seconds = out, page, data.Shards, metrics.Tried, metrics.LeftOut, time.Since(begin).Seconds()
	if err := head.Save(out); err != nil {
		return err
	}
	if page != "" {
		if err := report.WriteTraining(page, t); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c, t)
	}
	return t.Write(c.App.Writer)
}

// tokenEmbeddings are those of the model that -m names, or that the run was made with; nil of none.
func tokenEmbeddings(c *cli.Context, data *learn.Data) (*llama.Embeddings, error) {
	from, err := readSource(c)
	if named := c.IsSet("model") || c.IsSet("hf-repo") || c.IsSet("model-url"); named {
		path := ""
		if err == nil {
			path, err = find(c, from)
		}
		if err != nil {
			return nil, err
		}
		return data.Embeddings(c.Context, path)
	}
	if e, err := loop.TokenEmbeddings(c.Context, c.Args().First(), data); e != nil || err != nil {
		return e, err
	}
	fmt.Fprintln(c.App.ErrWriter, "(without the model, which -m names, the value function does not learn what each token adds: it serves no proposals)")
	return nil, nil
}

// trainOptions reads what the flags of ivo train ask for.
func trainOptions(c *cli.Context) (*learn.Fitting, error) {
	switch {
	case c.String("out") == "":
		return nil, usagef(c, "--out is missing (it names the file for the value function)")
	case c.String("out") == c.String("html"):
		return nil, usagef(c, "--out and --html name the same file")
	case !(c.Float64("temp") > 0) || math.IsInf(c.Float64("temp"), 1):
		return nil, usagef(c, "--temp is positive")
	case c.IsSet("temp") && len(textsOf(c, "states")) == 0:
		return nil, usagef(c, "--temp without --states (a run knows the temperature of its responses)")
	case c.Int("members") < 1 || c.Int("round") < 0:
		return nil, usagef(c, "--members is positive, and --round is not negative")
	case !(c.Float64("weight-decay") >= 0) || !within(c.Float64("warm-up"), 1) || !within(c.Float64("lambda"), 1) || !(c.Float64("dropout") < 1) || !within(c.Float64("dropout"), 1):
		return nil, usagef(c, "--weight-decay is not negative, --warm-up and --lambda lie from 0 to 1, --dropout below 1")
	}
	o := &learn.Fitting{OnePass: c.Bool("one-pass")}
	h, err := readHead(c)
	if err != nil {
		return nil, err
	}
	o.TrainOptions = h.Options(c.Uint64("seed"))
	if o.Target, err = choice(c, "target", map[string]valuehead.Target{"monte-carlo": valuehead.MonteCarloReturn, "fudge": valuehead.FUDGE, "td": valuehead.TDLambda, "cd-q": valuehead.CDQ}); err != nil {
		return nil, err
	}
	if o.OnePass && !c.IsSet("head") {
		o.Kind = valuehead.Recall
	}
	if o.Target == valuehead.CDQ && !o.OnePass && !o.Ridge && o.Kind != learn.Auto {
		return nil, usagef(c, "--target cd-q with --head %s (it asks what tokens are worth before they are fed: give --one-pass too, or --head ridge)", o.Kind)
	}
	if o.OnePass && o.Kind != valuehead.Recall {
		return nil, usagef(c, "--one-pass with --head %s (only recall heads value tokens before they are fed)", o.Kind)
	}
	if o.Layers, err = numbers(c); err != nil {
		return nil, err
	}
	o.Shape.Members = c.Int("members")
	if o.OnePass {
		o.Shape.Embedding = embedding
	}
	o.Workers = max(0, c.Int("threads"))
	// Training takes 0 for its default, and a negative number for none.
	for name, to := range map[string]*float64{"weight-decay": &o.WeightDecay, "warm-up": &o.Warmup, "dropout": &o.Dropout, "lambda": &o.Lambda} {
		if c.IsSet(name) {
			*to = cmp.Or(c.Float64(name), -1)
		}
	}
	if path := c.String("from"); path != "" {
		for _, name := range []string{"head", "one-pass", "layers", "hidden", "match", "atoms", "members"} {
			if c.IsSet(name) {
				return nil, usagef(c, "--%s with --from (a value function is trained on in its own shape)", name)
			}
		}
		if o.From, err = valuehead.Load(path); err != nil {
			return nil, err
		}
		o.Kind, o.Shape = o.From.Kind(), o.From.Shape()
	}
	return o, nil
}

// within says whether x lies from 0 to most; NaN does not.
func within(x, most float64) bool { return x >= 0 && x <= most && !math.IsInf(x, 0) }

// storedStates are the states of the run, or those named by --states, with what a reward said
// of their responses.
func storedStates(c *cli.Context) (*learn.Data, error) {
	dir, patterns, scores := c.Args().First(), textsOf(c, "states"), c.String("scores")
	switch {
	case dir == "" && len(patterns) == 0:
		return nil, usagef(c, "nothing to train on (name a run directory, or files with --states)")
	case dir != "" && len(patterns) > 0:
		return nil, usagef(c, "both a run and --states (give one of them)")
	case dir == "" && c.Int("round") > 0:
		return nil, usagef(c, "--round without a run (name its directory)")
	case dir != "":
		return loop.Data(dir, c.Int("round"), scores)
	}
	shards, err := learn.Glob(patterns)
	if err != nil {
		return nil, err
	}
	return learn.OfShards(shards, scores)
}
