package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

const promptCategory = "Prompt"

// formats is what --prompts and its like take.
const formats = "JSON lines, a JSON array or CSV, also as .gz; - is standard input"

// promptFlags say how prompts become tokens.
func promptFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.BoolFlag{Name: "chat", Usage: "take a plain prompt as the message of a user, in the chat template", Category: promptCategory},
	}, templateFlags()...)
}

// strictFlag is for verbs that take many prompts.
func strictFlag() cli.Flag {
	return &cli.BoolFlag{Name: "strict", Usage: "refuse prompts that do not fit, instead of leaving them out", Category: promptCategory}
}

// templateFlags say how conversations become tokens, in llama.cpp's spelling.
func templateFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "system-prompt", Aliases: []string{"sys"}, Usage: "`TEXT` of the system prompt of conversations that have none, with the escapes of -p", Category: promptCategory},
		&cli.StringFlag{Name: "chat-template", Usage: "`TEMPLATE` in Jinja, or the name of one that llama.cpp knows, such as chatml; the model's own without it", Category: promptCategory},
		&cli.StringFlag{Name: "chat-template-file", Usage: "read the template from `FILE`", Category: promptCategory, TakesFile: true},
		&cli.StringFlag{Name: "chat-template-kwargs", Usage: "variables of the template, as a `JSON` object such as {\"enable_thinking\": false}", Category: promptCategory},
		&cli.BoolFlag{Name: "parse-content", Usage: "parse special tokens that messages spell; without it they stay text", Category: promptCategory},
	}
}

// promptOptions reads promptFlags or templateFlags.
func promptOptions(c *cli.Context) (prompt.Options, error) {
	o := prompt.Options{
		Chat: c.Bool("chat"), System: unescaper(c)(c.String("system-prompt")), Template: c.String("chat-template"), ParseContent: c.Bool("parse-content"),
	}
	path := c.String("chat-template-file")
	switch {
	case path != "" && o.Template != "":
		return o, usagef(c, "both --chat-template and --chat-template-file (give one of them)")
	case path != "":
		text, err := os.ReadFile(path)
		if err != nil {
			return o, fmt.Errorf("read the chat template: %w (check the path)", err)
		}
		if o.Template = string(text); strings.TrimSpace(o.Template) == "" {
			return o, fmt.Errorf("read the chat template: %s is empty (write a template in Jinja into it, or give the name of one with --chat-template)", path)
		}
	}
	if text := c.String("chat-template-kwargs"); text != "" {
		var kwargs map[string]json.RawMessage // keeps the order of the keys within
		if err := json.Unmarshal([]byte(text), &kwargs); err != nil || kwargs == nil {
			return o, usagef(c, `--chat-template-kwargs %s: no JSON object (write one such as {"enable_thinking": false}, in quotes for the shell)`, text)
		}
		o.TemplateKwargs = map[string]any{}
		for name, v := range kwargs {
			o.TemplateKwargs[name] = v
		}
	}
	return o, nil
}

// openEncoder is the encoder of a model's prompts. A template that tells the date tells that on
// which the work was begun, today's where it is empty.
func openEncoder(c *cli.Context, m *llama.Model, date string) (*prompt.Encoder, error) {
	o, err := promptOptions(c)
	if err != nil {
		return nil, err
	}
	e, err := prompt.NewEncoder(m, o)
	if err != nil || date == "" || !e.Dated() {
		return e, err
	}
	if o.Now, err = time.ParseInLocation(time.DateOnly, date, time.Local); err != nil {
		return nil, fmt.Errorf("the date on which this was begun: %w (begin anew, with another --out)", err)
	}
	return prompt.NewEncoder(m, o)
}

// reading says where prompts are read from.
func reading(c *cli.Context) prompt.ReadOptions {
	in := c.App.Reader
	if in == nil {
		in = io.Reader(os.Stdin)
	}
	return prompt.ReadOptions{Stdin: in}
}
