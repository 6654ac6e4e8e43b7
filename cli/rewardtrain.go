package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/learn/pairwise"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

func trainRewardCommand() *cli.Command {
	const pairs, learned = "Pairs", "Reward head"
	return &cli.Command{
		Name: "train", Usage: "learn a reward head from pairs of answers of which one was preferred",
		Description: "A pair has a prompt, chosen and rejected, as texts, messages or whole dialogues (HH), and a margin or\n" +
			"two scores if there are any (UltraFeedback). The model is left as it is: its states are computed\n" +
			"once, so that another head costs seconds, and an interrupted run goes on. Example:\n\n" +
			"  ivo reward train --pairs pairs.jsonl -m model.gguf --out reward.gguf\n" +
			"  ivo reward train --pairs pairs.jsonl -m model.gguf --fine-tune --trunk trunk.gguf --out reward.gguf\n" +
			"  ivo reward test head:reward.gguf@model.gguf --prompts prompts.jsonl -m model.gguf",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "pairs", Usage: "`FILE` of pairs: JSON lines, an array or CSV, also packed with gzip; - for standard input", Category: pairs, TakesFile: true},
			&cli.BoolFlag{Name: "skip-pairs", Usage: "leave out pairs that say nothing, such as those of two equal or empty sides", Category: pairs},
			&cli.Float64Flag{Name: "margin", Usage: "what a pair's margin counts for, in units of the reward; 0 for nothing", Value: 1, Category: pairs},
			&cli.Float64Flag{Name: "label-noise", Usage: "`SHARE` of the pairs whose sides are known to be swapped; of heads that are trained by steps", Category: pairs},
			&cli.Float64Flag{Name: "held-out", Usage: "share of the prompts that the head is measured on", Value: 0.2, Category: pairs},
			&cli.StringFlag{Name: "out", Usage: "`FILE` for the head; it must not exist", Category: learned},
			&cli.StringFlag{Name: "states", Usage: "`FOLDER` that the model's states are kept in; without it OUT.states", Category: learned},
			&cli.StringFlag{Name: "layers", Usage: "`LAYERS` whose states are stored, from 0 on, with commas between; -1, given first, are the embeddings of the tokens, for which nothing is computed; without it four that suit the model", Category: learned},
			&cli.StringFlag{Name: "head", Usage: "`KIND` " + strings.Join(pairwise.Kinds(), ", ") + "; auto takes what predicts best in cross-validation", Value: pairwise.Auto, Category: learned},
			&cli.StringFlag{Name: "pooling", Usage: "how the states of an answer become one for linear and mlp: last, mean, sum, or mentions, which adds the prompt's states where it says the answer's words; without it the best of these, with --fine-tune last", Category: learned},
			&cli.IntFlag{Name: "hidden", Usage: "units of a hidden layer", Value: 32, Category: learned},
			&cli.IntFlag{Name: "epochs", Usage: "most passes over the pairs: of heads that are trained by steps 8 to 40 without it, the fewer pairs the more; with --fine-tune 1 without it", Category: learned},
			&cli.StringFlag{Name: "chat-template", Usage: "`TEMPLATE` in Jinja by which conversations are shown; the model's own without it, and texts as they are where it has none", Category: learned},
			&cli.Uint64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of all random numbers", Value: loop.Defaults(0).Seed, Category: learned},
			&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "threads to train with; 0 for one a core", Category: learned},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		}, fineTuneFlags("The model itself"), loadFlags()),
		Action: trainReward,
	}
}

func trainReward(c *cli.Context) error {
	o, out := pairwise.Options{
		Kind: c.String("head"), Margins: c.Float64("margin"), HeldOut: c.Float64("held-out"), Noise: c.Float64("label-noise"), Hidden: c.Int("hidden"), Epochs: c.Int("epochs"),
		Seed: c.Uint64("seed"), Workers: max(0, c.Int("threads")),
	}, c.String("out")
	switch {
	case c.String("pairs") == "" || out == "":
		return usagef(c, "no --pairs or no --out (they name the file of pairs and the file for the head)")
	case !slices.Contains(pairwise.Kinds(), o.Kind):
		return usagef(c, "--head %q is not one of %s", o.Kind, strings.Join(pairwise.Kinds(), ", "))
	case c.IsSet("label-noise") && (c.Bool("fine-tune") || o.Kind == pairwise.Linear):
		return usagef(c, "--label-noise with --fine-tune or --head linear (which learn as if no pair were wrong)")
	case !(o.Noise >= 0 && o.Noise < 0.5):
		return usagef(c, "--label-noise %g is not below .5 (where a half is swapped pairs say nothing)", o.Noise)
	case c.IsSet("pooling") && (o.Kind == pairwise.Recall || o.Kind == pairwise.Attend || o.Kind == pairwise.Tokens):
		return usagef(c, "--pooling with --head %s (which pools states in its own way)", o.Kind)
	case c.IsSet("hidden") && (o.Kind == pairwise.Linear || o.Kind == pairwise.Attend || o.Kind == pairwise.Recall):
		return usagef(c, "--hidden with --head %s (which has no hidden layer, or one of a size of its own)", o.Kind)
	case c.IsSet("epochs") && o.Kind == pairwise.Linear && !c.Bool("fine-tune"):
		return usagef(c, "--epochs with --head linear (which is fitted at once)")
	case !within(o.Margins, 1e6) || !within(o.HeldOut, 0.9) || o.HeldOut == 0 || o.Hidden < 1 || o.Epochs < 0:
		return usagef(c, "--margin is not negative, --held-out lies between 0 and .9, --hidden is positive, --epochs not negative")
	}
	if err := checkFineTune(c); err != nil {
		return err
	}
	if c.IsSet("pooling") {
		var err error
		if o.Pooling, err = choice(c, "pooling", map[string]head.Pooling{"last": head.Last, "mean": head.Mean, "sum": head.Sum, "mentions": head.Mentions}); err != nil {
			return err
		}
	}
	if err := atomicfile.Writable(out, false, "give another --out, or remove it"); err != nil {
		return err
	}
	pairs, left, err := preference.Read(c.String("pairs"), preference.Options{ReadOptions: prompt.ReadOptions{Stdin: c.App.Reader}, Skip: c.Bool("skip-pairs")})
	if err != nil {
		return err
	}
	if len(left) > 0 {
		fmt.Fprintf(c.App.ErrWriter, "(%d of %d pairs are left out: %s)\n", len(left), len(left)+len(pairs), preference.Note(left))
	}
	m, err := load(c)
	if err != nil {
		return err
	}
	defer m.Close()
	trunk := pairwise.Trunk{Model: m, Template: c.String("chat-template")}
	if trunk.Template == "" && m.ChatTemplate() == "" && !slices.ContainsFunc(pairs, func(p preference.Pair) bool { return p.Prompt.Messages != nil }) {
		trunk.Template = pairwise.Bare
	}
	if c.Bool("fine-tune") {
		return fineTuneReward(c, trunk, pairs, o.Pooling)
	}
	if trunk.Layers, err = numbers(c); err != nil {
		return err
	}
	if trunk.Layers == nil {
		trunk.Layers = pairwise.Layers(m)
	}
	// Where there is no prompt nothing looks back.
	none := slices.ContainsFunc(pairs, func(p preference.Pair) bool { return p.Prompt.Messages == nil && p.Prompt.Text == "" })
	trunk.Prompts = o.Kind == pairwise.Recall || o.Pooling == head.Mentions || o.Kind == pairwise.Auto && !none
	folder := c.String("states")
	if folder == "" {
		folder = out + ".states"
	}
	meter := terminal.NewMeter(c.App.ErrWriter)
	defer meter.Close()
	data, err := trunk.Collect(c.Context, folder, pairs, func(done, of int) { meter.Show("states", done, of, "pairs", "") })
	if err != nil {
		return again(c, err)
	}
	o.Progress = func(done, of int, t pairwise.Trial) { meter.Show("try heads", done, of, "kinds", t.Name) }
	h, report, err := trunk.Train(c.Context, data, o)
	meter.Close()
	if err != nil {
		return again(c, err)
	}
	if err := h.Save(out); err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "(the reward is head:%s@%s; the states in %s serve other heads of these pairs, and can be removed)\n", out, m.Path(), folder)
	if c.Bool("json") {
		return printJSON(c, report)
	}
	return report.Write(c.App.Writer)
}

func pairsCommand() *cli.Command {
	return &cli.Command{
		Name: "pairs", Usage: "make pairs of a run's responses: the best against the worst of each prompt",
		ArgsUsage:   "RUN",
		Description: "Example:\n\n  ivo reward pairs runs/first --out pairs.jsonl",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "`FILE` for the pairs, JSON lines; it must not exist"},
			&cli.IntFlag{Name: "round", Usage: "take the responses of this round alone; 0 for all rounds so far"},
			&cli.StringFlag{Name: "scores", Usage: "`NAME` of the reward whose scores decide, as a folder of RUN/rewards is called; the run's own without it"},
			&cli.Float64Flag{Name: "least", Usage: "leave out prompts whose best and worst response differ by less than `REWARD`"},
		},
		Action: func(c *cli.Context) error {
			dir, out := c.Args().First(), c.String("out")
			if dir == "" || out == "" || c.Int("round") < 0 || !(c.Float64("least") >= 0) {
				return usagef(c, "no run or no --out (name a run's directory, and the file for the pairs); --round and --least are not negative")
			}
			if err := atomicfile.Writable(out, false, "give another --out, or remove it"); err != nil {
				return err
			}
			pairs, left, err := loop.Pairs(dir, c.Int("round"), c.String("scores"), c.Float64("least"))
			if err != nil {
				return err
			}
			by, lower := "", ""
			if least := c.Float64("least"); least > 0 {
				by, lower = fmt.Sprintf(" by %v", least), "lower --least, "
			}
			if len(pairs) == 0 {
				return fmt.Errorf("no two responses to a prompt differ%s in their rewards (%scollect more samples, or take another reward)", by, lower)
			}
			if err := preference.Write(out, pairs); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.App.Writer, "%s: %d pairs; %d prompts have no two responses that differ%s\n", out, len(pairs), left, by)
			return err
		},
	}
}
