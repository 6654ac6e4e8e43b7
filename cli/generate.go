package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

func generateCommand() *cli.Command {
	const many = "Many prompts"
	return &cli.Command{
		Name: "generate", Usage: "answer one prompt or many, guided by a value function or not",
		Description: "Examples:\n\n" +
			"  ivo generate -m model.gguf -p 'Once upon a time' -n 100\n" +
			"  ivo generate -hf ggml-org/gemma-3-1b-it-GGUF:Q8_0 -p 'Once upon a time' -n 100\n" +
			"  ivo generate -m model.gguf -f prompt.txt --method block-beam --value-head runs/first/iter-02/head.gguf\n" +
			"  ivo generate -m model.gguf --prompts test.jsonl --out answers.jsonl -n 128 --method tokenwise --value-head head.gguf\n" +
			"  ivo generate -m model.gguf -p 'The film was' -n 64 --method best-of-n --rerank sentiment --value-head head.gguf --proposal one-pass\n" +
			"  ivo generate -m model.gguf -p 'The film was' -n 64 --method block-best-of-k --block 8 --rerank sentiment --rollouts 2\n" +
			"  ivo generate -m model.gguf -p 'The film was' -n 64 --method greedy --value-reward head:reward.gguf@trunk.gguf --beta-raw 1\n\n" +
			streaming + "\n\n" +
			"--prompts takes records such as {\"id\": \"1\", \"prompt\": \"...\"}, or with \"messages\" instead; what\n" +
			"--json prints comes for each in the same order. With --method sample, --samples is how many.\n" +
			"A run with --out that was stopped goes on when the same command runs again, to the same\n" +
			"answers.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT` to go on from", Category: promptCategory},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the prompt from `FILE`, as it is but for a last line break; - is standard input", Category: promptCategory, TakesFile: true},
			&cli.StringFlag{Name: "prompts", Usage: "answer all prompts of `FILE`: " + formats, Category: many, TakesFile: true},
			&cli.StringFlag{Name: "out", Usage: "`FILE` of the answers, begun or continued; without it they go to stdout", Category: many, TakesFile: true},
			&cli.IntFlag{Name: "parallel", Aliases: []string{"np"}, Usage: "sequences at once; 0 for those of 8 prompts, or 32 if that is more", Category: many},
			&cli.IntFlag{Name: "shard", Usage: "prompts that are decoded together, as many as --parallel if that is more; a stopped run goes on from the last complete shard", Value: 64, Category: many},
			&cli.Float64Flag{Name: "target-kl", Usage: "choose beta, or that of the proposal, so that responses are `N` nats from the base policy, on the first 32 of the prompts", Category: many},
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of the response; -1 for all that the context holds", Value: -1, Category: samplingCategory},
			&cli.Int64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of the random numbers; -1 for a new one", Value: -1, Category: samplingCategory},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON record with tokens, log-probabilities, values and KL"},
			&cli.IntFlag{Name: "n-probs", Usage: "tell the `N` likeliest tokens of every state in the records of --json and --prompts, with their log-probabilities"},
		}, escapeFlags("-p, -sys and -r", promptCategory), promptFlags(), []cli.Flag{strictFlag()}, methodFlags(), rerankFlags(), valueFlags(), samplingFlags(llamaSampling), constraintFlags(), thoughtFlags(), loadFlags(), adapterFlags(), contextFlags()),
		Action: generate,
	}
}

// generation is what ivo generate was asked for.
type generation struct {
	seed    uint64
	date    string // that templates tell; "" for today's
	predict int
	policy  batch.Policy
	context batch.Context
	value   *value.Function
	encoder *prompt.Encoder
}

func generate(c *cli.Context) error {
	g, err := readGeneration(c)
	if err != nil {
		return err
	}
	if c.String("prompts") != "" {
		return g.many(c)
	}
	for _, name := range []string{"out", "parallel", "shard", "target-kl"} {
		if c.IsSet(name) {
			return usagef(c, "--%s is for many prompts (give them with --prompts)", name)
		}
	}
	if g.policy.Strategy.Method == decode.MethodSample && c.IsSet("samples") {
		return usagef(c, "--samples with --method sample is for many prompts (give them with --prompts, or choose with --method best-of-n)")
	}
	text, err := readPrompt(c, unescaper(c))
	if err != nil {
		return err
	}
	defer g.close()
	if err := g.open(c); err != nil {
		return err
	}
	return g.one(c, text)
}

// readGeneration reads the flags that need no files.
func readGeneration(c *cli.Context) (*generation, error) {
	g := &generation{predict: c.Int("predict")}
	var err error
	if g.policy.Strategy, err = readStrategy(c); err != nil {
		return nil, err
	}
	if g.predict == 0 || g.predict < -1 {
		return nil, usagef(c, "-n %d: give a positive number of tokens, or -1 for all that the context holds", g.predict)
	}
	if g.policy.Sampling, err = sampling(c); err != nil {
		return nil, err
	}
	if g.policy.Thoughts, err = thoughts(c); err != nil {
		return nil, err
	}
	if g.context, err = compute(c); err != nil {
		return nil, err
	}
	if g.policy.Stop, err = stops(c); err != nil {
		return nil, err
	}
	if g.policy.TopLogProbs = c.Int("n-probs"); c.IsSet("n-probs") && !c.Bool("json") && c.String("prompts") == "" {
		return nil, usagef(c, "--n-probs is a part of JSON records (give --json too)")
	}
	g.seed = seed(c)
	return g, nil
}

// open opens the value function and the reward, before the model, which takes longer: a wrong path
// should not have to wait for it.
func (g *generation) open(c *cli.Context) (err error) {
	if c.IsSet("value-reward") && (len(textsOf(c, "value-head")) > 0 || c.IsSet("hf-repo-v") || c.IsSet("value-model")) {
		return usagef(c, "--value-reward and a value function (give one of them)")
	}
	if g.value, err = openValue(c); err != nil {
		return err
	}
	if spec := c.String("rerank"); spec != "" {
		if g.policy.Rerank, err = openReward(c, spec); err != nil {
			return err
		}
	}
	if spec := c.String("value-reward"); spec != "" {
		if g.policy.ValueBy, err = openReward(c, spec); err != nil {
			return err
		}
	}
	g.policy.Value = g.value.Source
	if err := g.policy.CheckGuidance(); err != nil {
		return usagef(c, "%v", err)
	}
	g.policy.Key = func(id string, sample int) uint64 { return policy.Key(g.seed, 0, id, sample) }
	return nil
}

// close closes what open opened.
func (g *generation) close() {
	if g.value != nil {
		g.value.Close()
	}
	for _, m := range []reward.Model{g.policy.Rerank, g.policy.ValueBy} {
		if m != nil {
			m.Close()
		}
	}
}

// load loads the model and checks the value function against it.
func (g *generation) load(c *cli.Context) (*llama.Model, error) {
	m, err := load(c)
	if err != nil {
		return nil, err
	}
	if err = checkPolicy(c, g.value, m); err == nil {
		g.encoder, err = openEncoder(c, m, g.date)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// one answers a single prompt, the text coming as it is decoded.
func (g *generation) one(c *cli.Context, text string) error {
	begin := time.Now()
	m, err := g.load(c)
	if err != nil {
		return err
	}
	defer m.Close()
	loaded := time.Since(begin)
	t := batch.Task{Encoded: prompt.Encoded{Record: prompt.Record{Text: text}}}
	if t.Tokens, err = g.encoder.Encode(t.Record); err != nil {
		return err
	}
	t.Stop, t.Thinks = g.encoder.Stops(t.Record), g.encoder.Thinks()
	notePlain(c, g.encoder, t.Record)
	if g.policy.MaxTokens, err = g.length(c, m, len(t.Tokens)); err != nil {
		return err
	}

	asJSON := c.Bool("json")
	out := terminal.NewStream(c.App.Writer)
	meter := terminal.NewPatientMeter(c.App.ErrWriter)
	var emit func([]byte)
	if !asJSON {
		g.policy.EmitThinking = func(b []byte) {
			meter.Close()
			out.Aside(b, noColours())
		}
		emit = func(b []byte) {
			if len(b) > 0 {
				meter.Close()
			}
			out.Emit(b)
		}
		if (g.value.Source != nil || g.policy.ValueBy != nil) && !g.policy.Strategy.NeedsValue() && !c.IsSet("method") {
			fmt.Fprintln(c.App.ErrWriter, "(without --method the value function guides nothing: choose one, such as block-beam)")
		}
	}
	most := g.policy.Sequences(1) * g.policy.MaxTokens
	g.policy.Progress = func(decoded int) {
		if !out.Begun() { // nothing else is seen yet
			meter.Show("decode", decoded, most, "tokens at most", "")
		}
	}
	g.policy.EachValue = asJSON
	response, stats, err := batch.One(c.Context, m, g.context, g.value.Layers, g.policy, t, emit)
	meter.Close()
	if e := out.End(); err == nil {
		err = e
	}
	if err != nil || !asJSON {
		return err
	}
	r, err := batch.RecordOf(m, &g.policy, t, response)
	if err != nil {
		return err
	}
	r.Seed = g.seed
	r.Time(loaded, stats)
	return printJSON(c, r)
}

// length is the most tokens that the response to a prompt may have.
func (g *generation) length(c *cli.Context, m *llama.Model, prompt int) (int, error) {
	size, err := contextSize(c, m)
	if err != nil {
		return 0, err
	}
	return g.policy.Room(prompt, size, g.predict, m.Info().ContextTrain)
}

// seed reads --seed, or draws one.
func seed(c *cli.Context) uint64 {
	if s := c.Int64("seed"); s >= 0 {
		return uint64(s)
	}
	return uint64(rand.Uint32())
}

func readPrompt(c *cli.Context, unescape func(string) string) (string, error) {
	switch path := c.String("file"); {
	case path != "" && c.IsSet("prompt"):
		return "", usagef(c, "both -p and -f (give one of them)")
	case path != "":
		return prompt.ReadText(path, reading(c))
	case c.String("prompt") == "":
		return "", usagef(c, "no prompt (give a text with -p, a file with -f or many with --prompts)")
	}
	return unescape(c.String("prompt")), nil
}
