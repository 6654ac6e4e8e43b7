package cli

import (
	"encoding/json"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
)

func overwriteFlag(usage, category string) cli.Flag {
	return &cli.BoolFlag{Name: "overwrite", Usage: usage, Category: category}
}

// overwriteHint is what to do about a file that is there.
const overwriteHint = "give another path, or --overwrite to replace it"

// printJSON prints a value as one line of JSON.
func printJSON(c *cli.Context, v any) error {
	enc := json.NewEncoder(terminal.Harmless(c.App.Writer))
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
