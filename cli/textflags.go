package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/flags"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

func textsFlag(name, usage, category string, aliases ...string) cli.Flag {
	return &cli.GenericFlag{Name: name, Aliases: aliases, Usage: usage, Category: category, Value: new(flags.Texts)}
}

// textsOf reads a textsFlag.
func textsOf(c *cli.Context, name string) []string {
	if t, ok := c.Generic(name).(*flags.Texts); ok {
		return *t
	}
	return nil
}

func stopFlag() cli.Flag {
	return textsFlag("reverse-prompt", "stop where the text `STRING` comes up; may be given several times", samplingCategory, "r")
}

// stops reads the texts at which a response ends.
func stops(c *cli.Context) (out []string, err error) {
	unescape := unescaper(c)
	for _, stop := range textsOf(c, "reverse-prompt") {
		if stop == "" {
			return nil, usagef(c, "an empty -r (give the text to stop at)")
		}
		out = append(out, unescape(stop))
	}
	return out, nil
}

// escapeFlags turn the escapes of the flags named, such as "-p and -r", on and off.
func escapeFlags(in, category string) []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "escape", Aliases: []string{"e"}, Usage: `read \n, \r, \t, \\, \', \" and \xHH in ` + in + " as the characters they stand for; the default", Value: true, Category: category},
		&cli.BoolFlag{Name: "no-escape", Usage: "take backslashes in " + in + " literally", Category: category},
	}
}

// unescaper reads escapeFlags.
func unescaper(c *cli.Context) func(string) string {
	if c.Bool("no-escape") || !c.Bool("escape") {
		return func(s string) string { return s }
	}
	return prompt.Unescape
}
