package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/serve"
	"github.com/ivo-decoding/ivo/orchestrator/serve/shelf"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

func serveCommand() *cli.Command {
	const server = "Server"
	return &cli.Command{
		Name: "serve", Usage: "serve a model, guided by a value function or not, as OpenAI's API",
		Description: "Examples:\n\n" +
			"  ivo serve -m model.gguf --value-head head.gguf\n" +
			"  ivo serve -m model.gguf --value-head head.gguf --method tokenwise --beta 3\n" +
			"  ivo serve -m model.gguf --reward sentiment --presets presets.yaml --port 8000\n\n" +
			"Clients choose by the model's name, as in NAME@beam-3x8, or by a guidance object in the request.\n" +
			"Without --method a value head guides by block-beam, and a reward chooses by best-of-n. The server\n" +
			"listens on this machine alone unless --host says otherwise, which asks for keys; see docs/serve.md.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "host", Usage: "`ADDRESS` to listen on; other than this machine's needs a key", Value: "127.0.0.1", Category: server},
			&cli.IntFlag{Name: "port", Usage: "`PORT` to listen on; 0 for a free one", Value: 8080, Category: server},
			&cli.StringFlag{Name: "alias", Aliases: []string{"a"}, Usage: "`NAME` by which clients call the model; the file's without it", Category: server},
			&cli.StringFlag{Name: "presets", Usage: "YAML `FILE` of presets, further value heads and rewards", Category: server, TakesFile: true},
			&cli.StringFlag{Name: "reward", Usage: "`SPEC` of a reward that chooses answers: see ivo reward", Category: server},
			&cli.StringFlag{Name: "runs", Usage: "`FOLDER` below which clients may read of runs and their prompts; none where it is empty", Value: "runs", Category: server, TakesFile: true},
			&cli.StringSliceFlag{Name: "prompts", Usage: "`FILE` of prompts that clients may read", Category: server, TakesFile: true},
			&cli.StringFlag{Name: "api-key-file", Usage: "`FILE` of the keys of which clients have to show one, a line each; without it $IVO_API_KEY", Category: server, TakesFile: true},
			&cli.StringSliceFlag{Name: "cors-origin", Usage: "`ORIGIN` whose web pages may ask, such as https://chat.example.com", Category: server},
			&cli.StringSliceFlag{Name: "allow-host", Usage: "`NAME` by which clients may call the server where there are no keys, beside localhost", Category: server},
			&cli.IntFlag{Name: "queue", Usage: "requests that are answered or wait; more are told to come back", Value: 64, Category: server},
			&cli.IntFlag{Name: "cache-cells", Usage: "tokens of context that all requests share; 0 for those of 8 requests, at most 16384", Category: server},
			&cli.DurationFlag{Name: "drain", Usage: "`TIME` for requests under way when the server is stopped", Value: 30 * time.Second, Category: server},
			&cli.BoolFlag{Name: "log-prompts", Usage: "log what clients ask", Category: server},
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of answers to requests that do not say; 512, or half of a smaller context, without it", Category: samplingCategory},
		}, escapeFlags("-sys and -r", server), templateFlags(), methodFlags(), scoringFlags(methodCategory), valueFlags(), samplingFlags(llamaSampling), constraintFlags(), thoughtFlags(), loadFlags(), adapterFlags(), contextFlags()),
		Action: runServe,
	}
}

func runServe(c *cli.Context) (err error) {
	o := serve.Options{
		Name: c.String("alias"), Origins: c.StringSlice("cors-origin"), Hosts: c.StringSlice("allow-host"), MaxQueue: c.Int("queue"),
		Log: slog.New(slog.NewTextHandler(c.App.ErrWriter, nil)), LogPrompts: c.Bool("log-prompts"), Version: inspect.Version(),
		Heads: map[string]*value.Function{}, Rewards: map[string]reward.Model{},
	}
	if o.Keys, err = serve.Keys(c.String("api-key-file")); err != nil {
		return err
	}
	if o.Policy.Strategy, err = readStrategy(c); err != nil {
		return err
	}
	if o.Policy.Sampling, err = sampling(c); err != nil {
		return err
	}
	if o.Policy.Thoughts, err = thoughts(c); err != nil {
		return err
	}
	if o.Policy.Stop, err = stops(c); err != nil {
		return err
	}
	if o.Context, err = compute(c); err != nil {
		return err
	}
	o.Context.Cells, o.Policy.MaxTokens = c.Int("cache-cells"), c.Int("predict")
	var presets serve.Presets
	if path := c.String("presets"); path != "" {
		if presets, err = serve.ReadPresets(path); err != nil {
			return err
		}
	}
	o.Presets = presets.Presets
	if o.Shelf, err = openShelf(c); err != nil {
		return err
	}
	defer func() {
		for _, f := range o.Heads {
			err = errors.Join(err, f.Close())
		}
		for _, m := range o.Rewards {
			err = errors.Join(err, m.Close())
		}
	}()
	if err := openOffers(c, &o, presets); err != nil {
		return err
	}
	if !c.IsSet("method") && o.Head != "" {
		o.Policy.Strategy.Method = decode.MethodBlockBeam
	} else if !c.IsSet("method") && o.Reward != "" {
		o.Policy.Strategy.Method = decode.MethodBestOfN
	}
	listeners, err := serve.Listen(c.String("host"), c.Int("port"), len(o.Keys) > 0)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		defer l.Close()
	}
	if o.Model, err = load(c); err != nil {
		return err
	}
	defer o.Model.Close()
	for _, f := range o.Heads {
		if err := checkPolicy(c, f, o.Model); err != nil {
			return err
		}
	}
	if o.Size, err = contextSize(c, o.Model); err != nil {
		return err
	}
	if o.Encoder, err = openEncoder(c, o.Model, ""); err != nil {
		return err
	}
	s, err := serve.New(o)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Fprint(c.App.Writer, s.Greeting(listeners...))
	return s.Serve(c.Context, c.Duration("drain"), listeners...)
}

// openShelf opens what clients may read. The folder that is meant where none is named need not be there.
func openShelf(c *cli.Context) (*shelf.Shelf, error) {
	folder := c.String("runs")
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) && !c.IsSet("runs") {
		folder = ""
	}
	return shelf.Open(folder, c.StringSlice("prompts")...)
}

// openOffers opens the heads and rewards that the command line and the presets name. Those of the command
// line are called default; only they may start programs.
func openOffers(c *cli.Context, o *serve.Options, presets serve.Presets) error {
	const first = "default"
	f, err := openValue(c)
	if err != nil {
		return err
	}
	if f.Source != nil {
		o.Heads[first], o.Head = f, first
	}
	if spec := c.String("reward"); spec != "" {
		if o.Rewards[first], err = openReward(c, spec); err != nil {
			return err
		}
		o.Reward = first
	}
	reading, err := valueReading(c)
	if err != nil {
		return err
	}
	for name, path := range presets.Heads {
		if o.Heads[name], err = value.Open(value.Options{Heads: []string{path}, Reading: reading, Load: func(path string) (*llama.Model, error) { return loadFile(c, path) }}); err != nil {
			return err
		}
	}
	for name, spec := range presets.Rewards {
		if o.Rewards[name], err = reward.Open(spec, reward.Options{Timeout: c.Duration("reward-timeout"), Workers: c.Int("reward-workers")}); err != nil {
			return err
		}
	}
	return nil
}
