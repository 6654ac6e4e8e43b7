package cli

import (
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/hub"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Usage: "describe a GGUF model, a value function, a reward head, a run or a shard of states",
		ArgsUsage: "FILE|DIRECTORY",
		Description: "Examples:\n\n" +
			"  ivo inspect model.gguf\n" +
			"  ivo inspect -c 32768 -ctk q8_0 model.gguf\n" +
			"  ivo inspect --json runs/first\n" +
			"  ivo inspect ollama:llama3.2\n" +
			"  ivo inspect -hf ggml-org/gemma-3-1b-it-GGUF",
		Flags:  slices.Concat(remoteFlags(), contextFlags(), []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}}),
		Action: inspectPath,
	}
}

func inspectPath(c *cli.Context) error {
	path := c.Args().First()
	var err error
	switch remote := c.IsSet("hf-repo") || c.IsSet("hf-file") || c.IsSet("model-url"); {
	case remote && path != "":
		return usagef(c, "two things to inspect (name a file, or a model with -hf or -mu)")
	case remote:
		var from hub.Source
		if from, err = readSource(c); err == nil {
			path, err = find(c, from)
		}
	case path == "":
		return usagef(c, "nothing to inspect (name a file or a run directory, or a model with -hf or -mu)")
	default: // a model of another program, or the path as it is
		path, err = hub.Source{Path: path}.Find(c.Context, hub.Options{})
	}
	if err != nil {
		return err
	}
	if c.Int("ctx-size") < 0 {
		return usagef(c, "-c %d: give a number of tokens", c.Int("ctx-size"))
	}
	p, err := compute(c)
	if err != nil {
		return err
	}
	progress, done := hashing(c)
	f, err := inspect.Path(c.Context, path, inspect.Options{
		Progress: progress,
		Context:  llama.ContextParams{Ctx: c.Int("ctx-size"), UBatch: p.UBatch, Flash: p.Flash, CacheK: p.CacheK, CacheV: p.CacheV}, MostCtx: defaultContext,
	})
	done()
	return show(c, f, err)
}

// show prints what was found, as --json says.
func show(c *cli.Context, f inspect.Finding, err error) error {
	switch {
	case err != nil:
		return err
	case c.Bool("json"):
		return printJSON(c, f)
	}
	return f.Write(c.App.Writer)
}
