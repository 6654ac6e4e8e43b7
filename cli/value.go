package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/valuehead"
)

func valueCommand() *cli.Command {
	const text, output = "Text", "Output"
	return &cli.Command{
		Name: "value", Usage: "show the value of a response, token by token",
		Description: "The response is given, or else sampled from the model. On a terminal its tokens are\n" +
			"coloured by their value; elsewhere each has a line: text, value, change. Examples:\n\n" +
			"  ivo value -m model.gguf --value-head head.gguf -p 'Q: 2+2?\\nA:' --response ' It is 5.'\n" +
			"  ivo value -m model.gguf --value-head head.gguf -f prompt.txt --response-file answer.txt --html value.html\n" +
			"  ivo value -m model.gguf --value-head head.gguf -p 'Once' -n 100 --pessimistic 0.1",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT` that is answered", Category: text},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the prompt from `FILE`, as it is but for a last line break; - is standard input", Category: text, TakesFile: true},
			&cli.StringFlag{Name: "response", Usage: "`TEXT` of the response; special tokens such as the model's end token are recognised", Category: text},
			&cli.StringFlag{Name: "response-file", Usage: "read the response from `FILE`, as it is but for a last line break", Category: text, TakesFile: true},
			&cli.StringFlag{Name: "html", Usage: "write a page to `FILE`", Category: output},
			overwriteFlag("let the page of --html replace a file", output),
			colourFlag(output),
			&cli.BoolFlag{Name: "json", Usage: "print JSON", Category: output},
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of a sampled response; -1 for all that the context holds", Value: -1, Category: samplingCategory},
			&cli.Int64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of the random numbers; -1 for a new one", Value: -1, Category: samplingCategory},
		}, escapeFlags("-p, -r and --response", text), promptFlags(), valueFlags(), samplingFlags(llamaSampling), loadFlags(), adapterFlags(), contextFlags()),
		Action: showValue,
	}
}

// valuation is what ivo value was asked for.
type valuation struct {
	eval.Valuation
	prompts prompt.Options
	seed    uint64
	reading valuehead.Reading
}

func showValue(c *cli.Context) error {
	v, err := readValuation(c)
	if err != nil {
		return err
	}
	depth, err := depthOf(c)
	if err != nil {
		return err
	}
	page := c.String("html")
	if page != "" {
		if err := atomicfile.Writable(page, c.Bool("overwrite"), overwriteHint); err != nil {
			return err
		}
	}
	from, err := openValue(c)
	if err != nil {
		return err
	}
	defer from.Close()
	v.Head, v.Request.Value, v.Layers = from.Head, from.Source, from.Layers
	m, err := load(c)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := checkPolicy(c, from, m); err != nil {
		return err
	}
	text, err := v.text(c, m)
	if err != nil {
		return err
	}
	text.Scale, text.Head = scaleOf(from), cmp.Or(strings.Join(textsOf(c, "value-head"), ", "), c.String("value-model"))
	if page != "" {
		if err := report.WriteText(page, text); err != nil {
			return fmt.Errorf("%w (give a path with --html that can be written)", err)
		}
	}
	switch {
	case c.Bool("json"):
		return printJSON(c, text)
	case depth == report.NoColours:
		return report.List(c.App.Writer, text.Tokens)
	}
	return report.Paint(c.App.Writer, text, depth)
}

// readValuation reads the flags that need no model.
func readValuation(c *cli.Context) (*valuation, error) {
	v := &valuation{seed: seed(c)}
	given := c.IsSet("response") || c.IsSet("response-file")
	n := c.Int("predict")
	switch {
	case len(textsOf(c, "value-head")) == 0 && c.String("value-model") == "" && c.String("hf-repo-v") == "":
		return nil, usagef(c, "no value function (give one with --value-head, -hfv or --value-model; ivo iterate and ivo train make them)")
	case c.IsSet("response") && c.IsSet("response-file"):
		return nil, usagef(c, "both --response and --response-file (give one of them)")
	case n == 0 || n < -1:
		return nil, usagef(c, "-n %d: give a positive number of tokens, or -1 for all that the context holds", n)
	}
	v.Request.MaxTokens = max(0, n)
	unescape := unescaper(c)
	var err error
	if v.Prompt.Text, err = readPrompt(c, unescape); err != nil {
		return nil, err
	}
	if v.prompts, err = promptOptions(c); err != nil {
		return nil, err
	}
	v.Response = unescape(c.String("response"))
	if path := c.String("response-file"); path != "" {
		if v.Response, err = prompt.ReadResponse(path, reading(c)); err != nil {
			return nil, err
		}
	}
	if given && v.Response == "" {
		return nil, fmt.Errorf("the response is empty (give a text, or none at all to have one sampled)")
	}
	if v.Request.Sampling, err = sampling(c); err != nil {
		return nil, err
	}
	if v.Request.Stop, err = stops(c); err != nil {
		return nil, err
	}
	v.Request.Key = policy.Key(v.seed, 0, "", 0)
	if v.reading, err = valueReading(c); err != nil {
		return nil, err
	}
	v.Context, err = compute(c)
	return v, err
}

// text values the response, or one that it samples.
func (v *valuation) text(c *cli.Context, m *llama.Model) (*report.Text, error) {
	var err error
	if v.Encoder, err = prompt.NewEncoder(m, v.prompts); err != nil {
		return nil, err
	}
	notePlain(c, v.Encoder, v.Prompt)
	if v.Size, err = contextSize(c, m); err != nil {
		return nil, err
	}
	meter := terminal.NewPatientMeter(c.App.ErrWriter)
	defer meter.Close()
	v.Progress = func(decoded, most int) {
		meter.Show("decode", decoded, most, "tokens at most", "")
	}
	r, quantiles, err := v.Run(c.Context, m)
	if err != nil {
		return nil, err
	}
	t := &report.Text{Text: r.Text, Model: m.Path(), Reading: report.InWords(v.reading)}
	if v.Response == "" {
		t.Seed = &v.seed
	}
	if t.Prompt, err = v.Encoder.Text(v.Prompt); err != nil {
		return nil, err
	}
	if t.Tokens, err = report.Tokens(m, &r); err != nil {
		return nil, err
	}
	for i := range quantiles {
		t.Tokens[i].Quantiles = &quantiles[i]
	}
	return t, nil
}
