package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/tune"
)

func tuneCommand() *cli.Command {
	const pairs, training, choice = "Pairs", "Training", "Choice of a policy"
	d := loop.Defaults(0)
	return &cli.Command{
		Name: "tune", Usage: "train the policy itself on preferences: DPO, IPO, or fine-tuning on the best of n samples",
		Description: "Pairs are the best and the worst of a run's samples of each prompt by its reward, or a file's. Every\n" +
			"setting of a grid is trained, and the policy is taken whose own answers to validation prompts have the\n" +
			"largest reward. It is a model like any other, of the llama architecture and up to some 150 million\n" +
			"parameters. What is done is kept in OUT.tuning: an interrupted tuning goes on with the same command, and\n" +
			"another grid trains what is new. Examples:\n\n" +
			"  ivo tune -m model.gguf --run runs/first --out dpo.gguf\n" +
			"  ivo tune -m model.gguf --run runs/first --loss ipo --beta 0.1,0.3 --lr 5e-5,2e-4 --work dpo.gguf.tuning --out ipo.gguf\n" +
			"  ivo tune -m model.gguf --pairs pairs.jsonl --beta 0.1 --lr 1e-4 --rank 16 --adapter dpo.lora.gguf --out dpo.gguf",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "run", Usage: "run `DIRECTORY` of ivo iterate, whose samples are the pairs, and which says how prompts are shown, answered and scored", Category: pairs},
			&cli.IntFlag{Name: "round", Usage: "take the samples of this round; in the first the model drew them by itself; 0 for all rounds", Value: 1, Category: pairs},
			&cli.StringFlag{Name: "pairs", Usage: "`FILE` of pairs instead of --run, as of ivo reward train", Category: pairs, TakesFile: true},
			&cli.BoolFlag{Name: "skip-pairs", Usage: "leave out pairs that say nothing, such as those of two equal or empty sides", Category: pairs},
			&cli.IntFlag{Name: "longest", Usage: "leave out pairs with a side of more than `N` tokens, the prompt included", Value: 1024, Category: pairs},
			&cli.StringFlag{Name: "out", Usage: "`FILE` for the policy; it must not exist", Category: training},
			&cli.StringFlag{Name: "loss", Usage: "`LOSS` dpo, ipo or sft (the chosen answers alone)", Value: string(tune.DPO), Category: training},
			&cli.StringFlag{Name: "beta", Usage: "`BETAS` of DPO or taus of IPO to try, with commas between; without it 0.05, 0.1 and 0.3", Category: training},
			&cli.StringFlag{Name: "lr", Usage: "peak learning `RATES` to try; without it two or three that suit the model's size", Category: training},
			&cli.IntFlag{Name: "epochs", Usage: "passes over the pairs", Value: 2, Category: training},
			&cli.IntFlag{Name: "rank", Usage: "learn adapters of rank `N` (LoRA), which are merged into what is written, instead of all weights; 0 for all", Category: training},
			&cli.StringFlag{Name: "adapter", Usage: "`FILE` for the adapters alone, for llama.cpp's --lora", Category: training},
			&cli.BoolFlag{Name: "f16", Usage: "write the policy in half precision", Category: training},
			&cli.StringFlag{Name: "work", Usage: "`FOLDER` of what is kept, above all the reference's log-probabilities, which several tunings of one model and its pairs can share; without it OUT.tuning", Category: training},
			&cli.Uint64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of all random numbers", Value: d.Seed, Category: training},
			&cli.StringFlag{Name: "validation", Usage: "`FILE` of prompts to choose on", Category: choice, TakesFile: true},
			&cli.IntFlag{Name: "hold-out", Usage: "prompts of the pairs to choose on, instead of --validation", DefaultText: "a tenth, at most 100", Category: choice},
			&cli.StringFlag{Name: "reward", Usage: "`SPEC` of what scores the answers; without it the run's own", Category: choice},
			&cli.IntFlag{Name: "keep", Usage: "policies of each training to choose from, evenly spread over its steps", Value: 3, Category: choice},
			&cli.IntFlag{Name: "samples", Usage: "answers to each validation prompt", Value: 2, Category: choice},
			&cli.Float64Flag{Name: "max-kl", Usage: "take no policy further than `NATS` an answer from the model; 0 for any", Category: choice},
			&cli.IntFlag{Name: "parallel", Usage: "sequences at once", Value: d.Parallel, Category: choice},
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of an answer", Value: d.MaxTokens, Category: samplingCategory},
			&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Usage: "tokens of context that the parallel sequences share", Value: d.Context.Cells, Category: modelCategory},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		}, scoringFlags(choice), escapeFlags("-r", samplingCategory), samplingFlags(d.Sampling), promptFlags(), []cli.Flag{strictFlag()}, loadFlags(), computeFlags()),
		Action: tunePolicy,
	}
}

// tunePolicy reads the flags and tunes.
func tunePolicy(c *cli.Context) error {
	w := tune.Work{
		Out: c.String("out"), Adapter: c.String("adapter"), Dir: c.String("work"),
		Load: func(path string) (*llama.Model, error) { return loadFile(c, path) },
	}
	o, err := tuneOptions(c)
	if err != nil {
		return err
	}
	for _, file := range []string{w.Out, w.Adapter} {
		if file != "" {
			if err := atomicfile.Writable(file, false, "give another path, or remove it"); err != nil {
				return err
			}
		}
	}
	if w.Dir == "" {
		w.Dir = w.Out + ".tuning"
	}
	if w.Model, err = load(c); err != nil {
		return err
	}
	defer w.Model.Close()
	if err := identify(c, w.Model); err != nil {
		return err
	}
	spec := c.String("reward")
	if dir := c.String("run"); dir != "" {
		own, err := tune.OfRun(dir, c.Int("round"), w.Model, o, &w)
		if err != nil {
			return err
		}
		if spec == "" {
			spec = own
		}
	} else if err := tuneOnFile(c, &w); err != nil {
		return err
	}
	if spec == "" {
		choosing := slices.ContainsFunc([]string{"validation", "hold-out", "keep", "samples", "max-kl"}, c.IsSet)
		if choosing || len(o.Betas) > 1 || len(o.Rates) > 1 {
			return usagef(c, "no --reward, by which one of several policies would be chosen")
		}
	}
	if spec != "" {
		if w.Reward, err = openReward(c, spec); err != nil {
			return err
		}
		defer w.Reward.Close()
		if err := validation(c, o, &w); err != nil {
			return err
		}
	}
	release, err := learn.Reserve(w.Out)
	if err != nil {
		return err
	}
	defer release()
	meter := terminal.NewMeter(c.App.ErrWriter)
	w.Notify = notify(meter)
	report, err := tune.Run(c.Context, *o, w)
	meter.Close()
	if err != nil {
		return again(c, err)
	}
	if c.Bool("json") {
		return printJSON(c, report)
	}
	return report.Write(c.App.Writer)
}

// tuneOptions reads the flags that need no model.
func tuneOptions(c *cli.Context) (*tune.Options, error) {
	o := &tune.Options{
		Loss: tune.Loss(c.String("loss")), Epochs: c.Int("epochs"), Keep: c.Int("keep"), Rank: c.Int("rank"), Longest: c.Int("longest"), Seed: c.Uint64("seed"),
		Workers: max(0, c.Int("threads")), Samples: c.Int("samples"), MaxTokens: c.Int("predict"), MaxKL: c.Float64("max-kl"), Parallel: c.Int("parallel"),
	}
	switch {
	case c.String("out") == "" || (c.String("run") == "") == (c.String("pairs") == ""):
		return nil, usagef(c, "give --out, the file for the policy, and one of --run and --pairs")
	case !slices.Contains(tune.Losses, o.Loss):
		return nil, usagef(c, "--loss %q is not one of dpo, ipo, sft", o.Loss)
	case o.Loss == tune.SFT && c.IsSet("beta"):
		return nil, usagef(c, "--beta with --loss sft, which has none")
	case o.Epochs < 1 || o.Keep < 1 || o.Samples < 1 || o.MaxTokens < 1 || o.Parallel < o.Samples || o.Rank < 0 || o.Longest < 2 || c.Int("round") < 0 || c.Int("hold-out") < 0 || !within(o.MaxKL, 1e9):
		return nil, usagef(c, "--epochs, --keep, --samples, -n and --longest are positive, --parallel at least --samples, --rank, --round, --hold-out and --max-kl not negative")
	case c.String("adapter") != "" && (o.Rank == 0 || c.String("adapter") == c.String("out")):
		return nil, usagef(c, "--adapter is a file beside --out for what --rank N learns")
	case c.String("validation") != "" && c.IsSet("hold-out"):
		return nil, usagef(c, "both --validation and --hold-out (give one of them)")
	}
	if c.Bool("f16") {
		o.Type = gguf.F16
	}
	if c.String("run") != "" {
		said := []string{"predict", "parallel", "ctx-size"}
		for _, f := range slices.Concat(samplingFlags(loop.Defaults(0).Sampling), promptFlags(), computeFlags()) {
			if name := f.Names()[0]; name != "threads" {
				said = append(said, name)
			}
		}
		for _, name := range said {
			if c.IsSet(name) {
				return nil, usagef(c, "--%s with --run (the run says how its prompts are shown and answered)", name)
			}
		}
		if c.IsSet("skip-pairs") {
			return nil, usagef(c, "--skip-pairs is for --pairs, a file")
		}
	} else if c.IsSet("round") {
		return nil, usagef(c, "--round is for --run")
	}
	var err error
	if o.Betas, err = positives(c, "beta"); err != nil {
		return nil, err
	}
	if o.Rates, err = positives(c, "lr"); err != nil {
		return nil, err
	}
	if o.Stop, err = stops(c); err != nil {
		return nil, err
	}
	if o.Context, err = compute(c); err != nil {
		return nil, err
	}
	o.Context.Cells = c.Int("ctx-size")
	o.Sampling, err = sampling(c)
	return o, err
}

// positives reads numbers with commas between.
func positives(c *cli.Context, name string) (out []float64, err error) {
	for _, s := range strings.FieldsFunc(c.String(name), func(r rune) bool { return r == ',' }) {
		x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil || !(x > 0 && x < 1e6) || slices.Contains(out, x) {
			return nil, usagef(c, "--%s %q: give different positive numbers with commas between, such as 0.1,0.3", name, c.String(name))
		}
		out = append(out, x)
	}
	return out, nil
}

// tuneOnFile takes the pairs from a file.
func tuneOnFile(c *cli.Context, w *tune.Work) (err error) {
	pairs, left, err := preference.Read(c.String("pairs"), preference.Options{ReadOptions: reading(c), Skip: c.Bool("skip-pairs")})
	if err != nil {
		return err
	}
	if len(left) > 0 {
		fmt.Fprintf(c.App.ErrWriter, "(%d of %d pairs are left out: %s)\n", len(left), len(left)+len(pairs), preference.Note(left))
	}
	if w.Encoder, err = openEncoder(c, w.Model, ""); err != nil {
		return err
	}
	w.Trajectories = 2 * len(pairs)
	w.Pairs, err = tune.OfTexts(w.Model, w.Encoder, pairs)
	return err
}

// validation reads the prompts that the policy is chosen on, or holds some of the pairs' out.
func validation(c *cli.Context, o *tune.Options, w *tune.Work) error {
	path, fits := c.String("validation"), func(tokens int) error { return o.Fits(tokens, w.Model.Info().ContextTrain) }
	if path == "" {
		return w.HoldOut(c.Int("hold-out"), fits)
	}
	records, err := readRecords(c, path)
	if err != nil {
		return err
	}
	w.Validation, err = fit(c, w.Encoder, records, fits)
	return err
}
