package cli

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
	"github.com/ivo-decoding/ivo/orchestrator/reward/junk"
)

func rewardCommand() *cli.Command {
	const category = "Answers"
	d := loop.Defaults(0)
	return &cli.Command{
		Name: "reward", Usage: "try a reward before anything is learned from it, import a reward model's head, or learn one from pairs",
		Description: "Rewards, several of which can be summed up with weights, as in '0.7*sentiment + 0.3*length:60':\n\n" + reward.Usage(),
		Subcommands: []*cli.Command{{
			Name: "test", Usage: "see how a reward scores junk beside the model's own answers",
			ArgsUsage: "SPEC [SPEC]...",
			Description: "What a policy learns is what the reward likes. Scores an empty answer, the prompt itself, one\n" +
				"word repeated, a shuffled and a cut answer to every prompt, and says where they beat the median\n" +
				"of the real answers: those of a file, or samples of a model. Of further rewards it says how far\n" +
				"they move the first one's scores and ranks, as quantizations of its model do. Examples:\n\n" +
				"  ivo reward test sentiment --prompts prompts.jsonl -m model.gguf\n" +
				"  ivo reward test 'cmd:python3 score.py' --prompts prompts.jsonl --responses answers.jsonl\n" +
				"  ivo reward test head:reward.gguf@trunk-F16.gguf head:reward.gguf@trunk-Q4_K_M.gguf --prompts prompts.jsonl --responses answers.jsonl",
			Flags: slices.Concat([]cli.Flag{
				&cli.StringFlag{Name: "prompts", Usage: "`FILE` of prompts: " + formats, Category: category, TakesFile: true},
				&cli.IntFlag{Name: "take", Usage: "use the first `N` prompts; 0 for all", Value: 100, Category: category},
				&cli.StringFlag{Name: "responses", Usage: "take the answers of `FILE`, JSON lines with id and text as ivo generate --prompts writes them, instead of sampling", Category: category, TakesFile: true},
				&cli.IntFlag{Name: "samples", Usage: "answers of the model to a prompt", Value: d.Samples, Category: category},
				&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of an answer", Value: d.MaxTokens, Category: samplingCategory},
				&cli.Uint64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of all random numbers", Value: d.Seed, Category: samplingCategory},
				&cli.BoolFlag{Name: "json", Usage: "print JSON"},
			}, scoringFlags(category), escapeFlags("-r and -sys", samplingCategory), samplingFlags(d.Sampling), promptFlags(), []cli.Flag{strictFlag()}, loadFlags(), contextFlags()),
			Action: testReward,
		}, {
			Name: "import", Usage: "make a reward head of a reward model's checkpoint",
			ArgsUsage: "CHECKPOINT",
			Description: "CHECKPOINT is a folder of Hugging Face, a .safetensors file or its index, with config.json and\n" +
				"tokenizer_config.json beside it. llama.cpp serves no such head: ivo does, on the model that it was\n" +
				"trained with, which llama.cpp's converter turns into GGUF. Example:\n\n" +
				"  ivo reward import Skywork-Reward-V2-Qwen3-0.6B --out reward.gguf\n" +
				"  ivo reward import -hf Skywork/Skywork-Reward-V2-Qwen3-0.6B --out reward.gguf\n" +
				"  ivo reward test head:reward.gguf@trunk.gguf --prompts prompts.jsonl -m model.gguf",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "out", Usage: "write the head to `FILE`", TakesFile: true},
				&cli.StringFlag{Name: "hf-repo", Aliases: []string{"hf", "hfr"}, Usage: "take the checkpoint of `USER/REPO` of Hugging Face instead: of a large one the files alone in which the head lies are downloaded", Category: modelCategory},
				&cli.StringFlag{Name: "hf-token", Usage: "access `TOKEN` of Hugging Face", DefaultText: "$HF_TOKEN", Category: modelCategory},
				&cli.BoolFlag{Name: "offline", Usage: "use what is in the cache", Category: modelCategory},
				&cli.BoolFlag{Name: "prefixes", Usage: "the model was trained on unfinished answers, too: with --value-reward it may guide every method"},
			},
			Action: importReward,
		}, trainRewardCommand(), pairsCommand()},
		Action: noCommand,
	}
}

func testReward(c *cli.Context) error {
	spec := c.Args().First()
	switch {
	case spec == "":
		return usagef(c, "no reward (name one, such as sentiment)")
	case c.String("prompts") == "":
		return usagef(c, "--prompts is missing")
	case c.Int("samples") < 1 || c.Int("predict") < 1 || c.Int("take") < 0:
		return usagef(c, "--samples and -n are positive, --take is not negative")
	}
	rm, err := openReward(c, spec)
	if err != nil {
		return err
	}
	defer rm.Close()
	var others []reward.Model
	for _, spec := range c.Args().Tail() {
		other, err := openReward(c, spec)
		if err != nil {
			return err
		}
		defer other.Close()
		others = append(others, other)
	}
	records, err := readRecords(c, c.String("prompts"))
	if err != nil {
		return err
	}
	if n := c.Int("take"); n > 0 && n < len(records) {
		fmt.Fprintf(c.App.ErrWriter, "(the first %d of %d prompts are used; --take 0 uses all)\n", n, len(records))
		records = records[:n]
	}
	for _, m := range append([]reward.Model{rm}, others...) {
		if err := reward.Check(c.Context, m, records); err != nil {
			return err
		}
	}
	var answered []junk.Answered
	if path := c.String("responses"); path != "" {
		var left int
		if answered, left, err = junk.ReadFile(path, records); left > 0 {
			fmt.Fprintf(c.App.ErrWriter, "(%d of %d prompts have no answer and are left out)\n", left, len(records))
		}
	} else {
		answered, err = sampleAnswers(c, records)
	}
	if err != nil {
		return err
	}
	got, err := junk.Test(c.Context, rm, answered, c.Uint64("seed"))
	if err == nil {
		got.Beside, err = junk.Compare(c.Context, rm, others, answered)
	}
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, got)
	}
	return got.Write(c.App.Writer)
}

func importReward(c *cli.Context) error {
	from, out, repo := c.Args().First(), c.String("out"), c.String("hf-repo")
	switch {
	case (from == "") == (repo == "") || out == "":
		return usagef(c, "no checkpoint, two of them or no --out (name a folder, a .safetensors file, its index, or with -hf a repository, and the file to write)")
	case repo != "":
		o, done := downloads(c)
		var err error
		from, err = head.Download(c.Context, repo, o)
		if done(); err != nil {
			return err
		}
	}
	next, err := head.ImportFile(from, out, c.Bool("prefixes"))
	if err != nil {
		return err
	}
	found, err := inspect.Path(c.Context, out, inspect.Options{})
	if err != nil {
		return err
	}
	fmt.Fprintln(c.App.ErrWriter, next)
	return found.Write(c.App.Writer)
}

// sampleAnswers draws answers of the base policy.
func sampleAnswers(c *cli.Context, records []prompt.Record) ([]junk.Answered, error) {
	g := &generation{predict: c.Int("predict"), seed: c.Uint64("seed")}
	g.policy.Strategy.Method = decode.MethodSample
	g.policy.Key = func(id string, sample int) uint64 { return policy.Key(g.seed, 0, id, sample) }
	var err error
	if g.policy.Sampling, err = sampling(c); err != nil {
		return nil, err
	}
	if g.policy.Stop, err = stops(c); err != nil {
		return nil, err
	}
	if g.context, err = compute(c); err != nil {
		return nil, err
	}
	run := &batch.Many{Policy: g.policy, Context: g.context, Shard: 64, Seed: g.seed}
	if err := run.Check(c.Int("samples")); err != nil {
		return nil, usagef(c, "%v", err)
	}
	m, err := load(c)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if g.encoder, err = openEncoder(c, m, ""); err != nil {
		return nil, err
	}
	tasks, err := g.tasks(c, m, records, c.Int("samples"))
	if err != nil {
		return nil, err
	}
	meter := terminal.NewMeter(c.App.ErrWriter)
	defer meter.Close()
	return run.Answered(c.Context, m, tasks, func(done, of int) { meter.Show("answer", done, of, "responses", "") })
}
