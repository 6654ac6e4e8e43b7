package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/ivo-decoding/ivo/internal/terminal"
)

// loop takes messages and commands until there are no more.
func (t *conversation) loop() error {
	next := terminal.Messages(t.c.App.Reader, t.c.App.ErrWriter, t.note)
	for {
		message, err := next(t.c.Context)
		if t.terminal && (t.c.Context.Err() != nil || errors.Is(err, io.EOF)) {
			fmt.Fprintln(t.c.App.ErrWriter) // ends the line on which a message was wanted
		}
		if errors.Is(err, io.EOF) || errors.Is(err, terminal.ErrInterruptEmpty) {
			return nil
		}
		if err == nil {
			err = t.take(message)
		}
		if errors.Is(err, errExit) {
			return nil
		}
		if err != nil || t.c.Bool("single-turn") && len(t.Turns()) > 0 {
			return err
		}
	}
}
