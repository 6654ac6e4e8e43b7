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
	if err != nil {
		return kept, err
	}
	_, err = fmt.Fprint(c.App.ErrWriter, prompt.Note(left, len(records)))
	return kept, err
}
