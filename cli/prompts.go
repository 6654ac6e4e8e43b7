package cli

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// notePlain says that conversations are shown as plain text, where some are.
func notePlain(c *cli.Context, e *prompt.Encoder, records ...prompt.Record) {
	if slices.ContainsFunc(records, func(r prompt.Record) bool { return len(e.Stops(r)) > 0 }) {
		fmt.Fprintln(c.App.ErrWriter, "(the model has no chat template: it is shown the conversation as plain text; give one with --chat-template, such as chatml, or with --chat-template-file)")
	}
}

// readRecords reads a file of prompts.
func readRecords(c *cli.Context, path string) ([]prompt.Record, error) {
	return prompt.Read(path, reading(c))
}

// fit encodes prompts and names those that are left out.
func fit(c *cli.Context, e *prompt.Encoder, records []prompt.Record, fits func(tokens int) error) ([]prompt.Encoded, error) {
	kept, left, err := prompt.Fit(e, records, fits, c.Bool("strict"))
	if err != nil || len(left) == 0 {
		return kept, err
	}
	const shown = 5
	for _, l := range left[:min(len(left), shown)] {
		fmt.Fprintf(c.App.ErrWriter, "(prompt %s is left out: %v)\n", l.ID, l.Err)
	}
	if more := len(left) - shown; more > 0 {
		fmt.Fprintf(c.App.ErrWriter, "(and %d more are)\n", more)
	}
	fmt.Fprintf(c.App.ErrWriter, "(%d of %d prompts are left out; --strict refuses them)\n", len(left), len(records))
	return kept, nil
}
