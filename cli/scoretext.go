package cli

import (
	"encoding/json"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

func scoreTextCommand() *cli.Command {
	const text = "Text"
	return &cli.Command{
		Name: "score-text", Usage: "say how likely a model finds given texts, token by token",
		Description: "Prints a line of JSON for each text: tokens, their log-probabilities, the sum, the\n" +
			"perplexity. A record with a prompt and a \"response\" has the response scored after the\n" +
			"prompt, one with a text alone all of it. Examples:\n\n" +
			"  ivo score-text -m model.gguf --texts texts.jsonl\n" +
			"  ivo score-text -m model.gguf -p 'Q: 2+2?\\nA:' --response ' 4' --n-probs 3",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "texts", Usage: "score all texts of `FILE`: " + formats, Category: text, TakesFile: true},
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT` to score, or the prompt of --response", Category: text},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the text of -p from `FILE`", Category: text, TakesFile: true},
			&cli.StringFlag{Name: "response", Usage: "`TEXT` to score after the prompt", Category: text},
			&cli.IntFlag{Name: "n-probs", Usage: "tell the `N` likeliest tokens of every state too", Category: text},
		}, escapeFlags("-p and --response", text), promptFlags(), loadFlags(), adapterFlags(), contextFlags()),
		Action: scoreText,
	}
}

func scoreText(c *cli.Context) (err error) {
	records := make([]prompt.Record, 1)
	if path := c.String("texts"); path != "" {
		records, err = readRecords(c, path)
	} else if records[0].Text, err = readPrompt(c, unescaper(c)); c.IsSet("response") {
		raw, _ := json.Marshal(unescaper(c)(c.String("response"))) // a text
		records[0].Fields = map[string]json.RawMessage{"response": raw}
	}
	if err != nil {
		return err
	}
	x := batch.Texts{Top: c.Int("n-probs")}
	if x.Context, err = compute(c); err != nil {
		return err
	}
	if x.Model, err = load(c); err != nil {
		return err
	}
	defer x.Model.Close()
	if x.Encoder, err = openEncoder(c, x.Model, ""); err == nil {
		x.Size, err = contextSize(c, x.Model)
	}
	if err != nil {
		return err
	}
	return x.Score(c.Context, records, terminal.Harmless(c.App.Writer), nil)
}
