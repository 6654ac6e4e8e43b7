package cli

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
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
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the prompt from `FILE`, as it is but for a last line break", Category: text, TakesFile: true},
			&cli.StringFlag{Name: "response", Usage: "`TEXT` of the response; special tokens such as the model's end token are recognised", Category: text},
			&cli.StringFlag{Name: "response-file", Usage: "read the response from `FILE`, as it is but for a last line break", Category: text, TakesFile: true},
			&cli.StringFlag{Name: "html", Usage: "write a page to `FILE`", Category: output},
			overwriteFlag("let the page of --html replace a file", output),
			colourFlag(output),
			&cli.BoolFlag{Name: "json", Usage: "print JSON", Category: output},
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of a sampled response; -1 for all that the context holds", Value: -1, Category: samplingCategory},
			&cli.Int64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of the random numbers; -1 for a new one", Value: -1, Category: samplingCategory},
		}, escapeFlags("-p, -r and --response", text), valueFlags(), samplingFlags(llamaSampling), loadFlags(), contextFlags()),
		Action: value,
	}
}

// valuation is what ivo value was asked for.
type valuation struct {
	prompt, response string // the response is empty where it is sampled
	predict          int
	seed             uint64
	value            *valueSource
	reading          valuehead.Reading
	params           engine.Params
	request          decode.Request
}

func value(c *cli.Context) error {
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
		if err := writable(page, c.Bool("overwrite")); err != nil {
			return err
		}
	}
	if v.value, err = openValue(c); err != nil {
		return err
	}
	defer v.value.Close()
	v.params.Layers, v.request.Value = v.value.Layers, v.value.Source
	m, err := load(c)
	if err != nil {
		return err
	}
	defer m.Close()
	response, err := v.fit(c, m)
	if err != nil {
		return err
	}
	r, quantiles, err := v.decode(c, m, response)
	if err != nil {
		return err
	}
	text, err := v.text(m, r, quantiles)
	if err != nil {
		return err
	}
	text.Model, text.Head = m.Path(), cmp.Or(c.String("value-head"), c.String("value-model"))
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
	v := &valuation{predict: c.Int("predict")}
	given := c.IsSet("response") || c.IsSet("response-file")
	switch {
	case c.String("value-head") == "" && c.String("value-model") == "":
		return nil, usagef(c, "no value function (give one with --value-head or --value-model; ivo iterate and ivo train make them)")
	case c.IsSet("response") && c.IsSet("response-file"):
		return nil, usagef(c, "both --response and --response-file (give one of them)")
	case v.predict == 0 || v.predict < -1:
		return nil, usagef(c, "-n %d: give a positive number of tokens, or -1 for all that the context holds", v.predict)
	}
	unescape := unescaper(c)
	var err error
	if v.prompt, err = readPrompt(c, unescape); err != nil {
		return nil, err
	}
	v.response = unescape(c.String("response"))
	if path := c.String("response-file"); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the response: %w (check the path given with --response-file)", err)
		}
		v.response = strings.TrimSuffix(string(text), "\n")
	}
	if given && v.response == "" {
		return nil, fmt.Errorf("the response is empty (give a text, or none at all to have one sampled)")
	}
	if v.request.Sampling, err = sampling(c); err != nil {
		return nil, err
	}
	if v.request.Stop, err = stops(c); err != nil {
		return nil, err
	}
	v.seed = seed(c)
	v.request.Key = decode.Key(v.seed, 0, "", 0)
	if v.reading, err = valueReading(c); err != nil {
		return nil, err
	}
	v.params, err = contextParams(c)
	return v, err
}

// fit checks the head against the model, turns the texts into tokens, and makes the
// context as large as they need.
func (v *valuation) fit(c *cli.Context, m *llama.Model) (response []int32, err error) {
	if err := v.value.checkHead(m); err != nil {
		return nil, err
	}
	prompt, err := m.Tokenize(v.prompt, true, true)
	if err != nil {
		return nil, err
	}
	if v.response != "" {
		if response, err = continuation(m, v.prompt, prompt, v.response); err != nil {
			return nil, err
		}
		v.predict = len(response)
	}
	size, err := contextSize(c, m)
	if err != nil {
		return nil, err
	}
	room := size - len(prompt)
	if v.predict < 0 {
		v.predict = room
	}
	if room < 1 || v.predict > room {
		return nil, fmt.Errorf("the prompt has %d tokens and the response up to %d, the context holds %d (raise -c, lower -n, or shorten the text)", len(prompt), max(1, v.predict), size)
	}
	v.request.Prompt, v.request.MaxTokens = prompt, v.predict
	return response, nil
}

// continuation is the response's tokens as they follow the prompt's. Some tokenizers
// begin every text with a space of their own, so both are tokenized together where that
// leaves the prompt's tokens as they are.
func continuation(m *llama.Model, prompt string, tokens []int32, response string) ([]int32, error) {
	all, err := m.Tokenize(prompt+response, true, true)
	if err != nil {
		return nil, err
	}
	if n := len(tokens); len(all) > n && slices.Equal(all[:n], tokens) {
		return all[n:], nil
	}
	return m.Tokenize(response, false, true)
}

// decode goes through the response, or samples one.
func (v *valuation) decode(c *cli.Context, m *llama.Model, response []int32) (decode.Response, []eval.Quantiles, error) {
	meter, begin := newMeter(c.App.ErrWriter), time.Now()
	defer meter.close()
	v.request.Progress = func(decoded int) {
		if time.Since(begin) > 2*time.Second {
			meter.show("decode", decoded, v.predict, "tokens at most", "")
		}
	}
	return eval.Valuation{Params: v.params, Request: v.request, Response: response, Head: v.value.Head}.Run(c.Context, m)
}

// text is what is shown of the response.
func (v *valuation) text(m *llama.Model, r decode.Response, quantiles []eval.Quantiles) (*report.Text, error) {
	t := &report.Text{Prompt: v.prompt, Text: r.Text, Reading: report.InWords(v.reading), Scale: v.value.Scale}
	if v.response == "" {
		t.Seed = &v.seed
	}
	var err error
	if t.Tokens, err = report.Tokens(m, &r); err != nil {
		return nil, err
	}
	for i := range quantiles {
		t.Tokens[i].Quantiles = &quantiles[i]
	}
	return t, nil
}
