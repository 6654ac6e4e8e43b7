package cli

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/valuehead"
)

func iterateCommand() *cli.Command {
	const run, collect, head = "Run", "Collection and search", "Value function"
	d := loop.Defaults(0)
	return &cli.Command{
		Name: "iterate", Usage: "learn a value function from the model's own rollouts, round by round",
		Description: "Every round samples responses to the prompts, scores them, and trains a value\n" +
			"function; later rounds sample with the one before. Run the same command again to\n" +
			"continue a run that was stopped.\n\nExamples:\n\n" +
			"  ivo iterate -m model.gguf --prompts train.jsonl --eval-prompts test.jsonl --out runs/first\n" +
			"  ivo iterate -m model.gguf --prompts train.jsonl --rounds 1 --samples 8 -n 64 --out runs/quick",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "prompts", Usage: "`FILE` of prompts to learn from, as JSON lines", Category: run, TakesFile: true},
			&cli.StringFlag{Name: "eval-prompts", Usage: "`FILE` of prompts to evaluate on; without it nothing is evaluated", Category: run, TakesFile: true},
			&cli.StringFlag{Name: "reward", Usage: "`MODEL` that scores responses; gold: the rule that the prompt file states", Value: d.Reward, Category: run},
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
			&cli.StringFlag{Name: "layers", Usage: "`LAYERS` whose states the value function reads, such as 8,16", DefaultText: "the first and the one at 3/5 of the depth", Category: head},
			&cli.StringFlag{Name: "head", Usage: "`KIND` of value function: recall, mlp or linear", Value: d.Head.Kind, Category: head},
			&cli.IntFlag{Name: "hidden", Usage: "hidden units; 0 for the kind's own number", Value: d.Head.Hidden, Category: head},
			matchFlag(d.Head, head),
			&cli.IntFlag{Name: "atoms", Usage: "returns between which the value function spreads its belief; 0 for the mean alone", Value: d.Head.Atoms, Category: head},
			&cli.IntFlag{Name: "epochs", Usage: "most passes over the trajectories", Value: d.Head.Epochs, Category: head},
			&cli.Float64Flag{Name: "lr", Usage: "peak learning rate", Value: d.Head.Rate, Category: head},
			&cli.BoolFlag{Name: "warm-start", Usage: "train each round's value function on from the one before", Value: d.Head.WarmStart, Category: head},
			&cli.BoolFlag{Name: "last-round-only", Usage: "train on the newest round's trajectories only", Value: d.Head.LastRoundOnly, Category: head},
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of a response", Value: d.MaxTokens, Category: samplingCategory},
			&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Usage: "tokens of context that the parallel sequences share", Value: d.Ctx, Category: modelCategory},
			threadsFlag(),
		}, escapeFlags("-r", samplingCategory), samplingFlags(d.Sampling), loadFlags()),
		Action: iterate,
	}
}

func iterate(c *cli.Context) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	m, err := load(c)
	if err != nil {
		return err
	}
	defer m.Close()
	if o.Layers, err = layers(c, m); err != nil {
		return err
	}
	dir := c.String("out")
	meter := newMeter(c.App.ErrWriter)
	err = loop.Run(c.Context, dir, *o, m, func(e loop.Event) {
		slog.Debug(e.Stage, "done", e.Done, "total", e.Total, "unit", e.Unit, "note", e.Note)
		meter.show(e.Stage, e.Done, e.Total, e.Unit, e.Note)
	})
	meter.close()
	if err != nil {
		if c.Context.Err() != nil {
			err = fmt.Errorf("%w (run the same command again to continue)", context.Cause(c.Context))
		}
		return err
	}
	if err := report.Write(dir); err != nil {
		return err
	}
	if o.EvalPrompts != "" {
		evaluation, err := loop.ReadEvaluation(dir)
		if err != nil {
			return err
		}
		if err := report.EvaluationTable(c.App.Writer, evaluation); err != nil {
			return err
		}
		fmt.Fprintln(c.App.Writer)
	}
	fmt.Fprintf(c.App.Writer, "value function: %s\n", filepath.Join(dir, fmt.Sprintf("iter-%02d", o.Rounds), "head.gguf"))
	fmt.Fprintf(c.App.Writer, "report: %s\n", filepath.Join(dir, report.File))
	return nil
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
	o.Scoring = reward.Options{AllowCommands: c.IsSet("reward")}
	o.Rounds, o.Samples, o.RoundPrompts, o.ShardPrompts = c.Int("rounds"), c.Int("samples"), c.Int("round-prompts"), c.Int("shard")
	o.MaxTokens, o.Seed = c.Int("predict"), c.Uint64("seed")
	if o.Stop, err = stops(c); err != nil {
		return nil, err
	}
	o.Collect = decode.Beam{Beams: c.Int("collect-beams"), Block: c.Int("block")}
	o.Search = decode.Beam{Beams: c.Int("beams"), Block: c.Int("block")}
	o.Head = loop.Head{
		Hidden: c.Int("hidden"), Atoms: c.Int("atoms"), Epochs: c.Int("epochs"), Rate: c.Float64("lr"),
		WarmStart: c.Bool("warm-start"), LastRoundOnly: c.Bool("last-round-only"),
	}
	o.Ctx, o.Threads, o.Parallel = c.Int("ctx-size"), max(0, c.Int("threads")), c.Int("parallel")
	if o.Sampling, err = sampling(c); err != nil {
		return nil, err
	}
	kind, err := choice(c, "head", map[string]valuehead.Kind{"recall": valuehead.Recall, "mlp": valuehead.MLP, "linear": valuehead.Linear})
	if err != nil {
		return nil, err
	}
	how, err := match(c, kind)
	if err != nil {
		return nil, err
	}
	o.Head.Kind, o.Head.Match = string(kind), string(how)
	if o.Head.Hidden < 0 || o.Head.Atoms < 0 || o.Head.Atoms == 1 || o.Head.Epochs < 1 || !(o.Head.Rate > 0) {
		return nil, usagef(c, "--epochs and --lr are positive, --hidden and --atoms are not negative, and one atom is too few")
	}
	if err := o.Validate(); err != nil {
		return nil, usagef(c, "%v", err)
	}
	return &o, nil
}

func matchFlag(d loop.Head, category string) cli.Flag {
	return &cli.StringFlag{
		Name: "match", Value: d.Match, Category: category,
		Usage: "what a recall head searches the prompt for at first: `HOW` tokens, where responses copy words as they stand, or states, where they also inflect, capitalise or paraphrase them",
	}
}

// match reads --match for a kind of value function.
func match(c *cli.Context, kind valuehead.Kind) (valuehead.Match, error) {
	m, err := choice(c, "match", map[string]valuehead.Match{"tokens": valuehead.MatchTokens, "states": valuehead.MatchStates})
	if err == nil && m == valuehead.MatchStates && kind != valuehead.Recall {
		return "", usagef(c, "--match states with --head %s (only recall heads look back at the prompt)", kind)
	}
	return m, err
}

// layers reads --layers, or takes those that suit the model.
func layers(c *cli.Context, m *llama.Model) ([]int, error) {
	text := c.String("layers")
	if text == "" {
		return loop.Defaults(m.Info().Layers).Layers, nil
	}
	var out []int
	for _, s := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 0 || n > m.Info().Layers || slices.Contains(out, n) {
			return nil, usagef(c, "--layers %q: give different numbers from 0 to %d, the last meaning the state after the final norm, such as %d,%d", text, m.Info().Layers, m.Info().Layers/2, m.Info().Layers)
		}
		out = append(out, n)
	}
	return out, nil
}
