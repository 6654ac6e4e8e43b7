package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ivo-decoding/ivo/internal/terminal"
)

// The prompts of a message, and of the next line of one.
const ask, askMore = "> ", "… "

// loop takes messages and commands until there are no more.
func (t *conversation) loop() error {
	lines := terminal.Lines(t.c.App.Reader, t.c.App.ErrWriter)
	var message strings.Builder
	interrupted := false // the last time
	for {
		prompt := ask
		if message.Len() > 0 {
			prompt = askMore
		}
		line, err := lines(t.c.Context, prompt)
		switch {
		case t.c.Context.Err() != nil:
			t.endLine()
			return context.Cause(t.c.Context)
		case errors.Is(err, terminal.ErrInterrupt), errors.Is(err, terminal.ErrInterruptEmpty):
			if errors.Is(err, terminal.ErrInterruptEmpty) && message.Len() == 0 {
				if interrupted {
					return nil
				}
				t.note("Ctrl-C once more ends, as Ctrl-D does")
			}
			message.Reset()
			interrupted = true
			continue
		case errors.Is(err, io.EOF):
			t.endLine()
			if message.Len() > 0 {
				return t.take(strings.TrimSuffix(message.String(), "\n"))
			}
			return nil
		case err != nil:
			return fmt.Errorf("read the messages: %w (check where they come from)", err)
		}
		interrupted = false
		if more, ok := strings.CutSuffix(line, `\`); ok {
			message.WriteString(more + "\n")
			continue
		}
		message.WriteString(line)
		err = t.take(message.String())
		message.Reset()
		if errors.Is(err, errExit) {
			return nil
		}
		if err != nil {
			return err
		}
		if t.c.Bool("single-turn") && len(t.Turns()) > 0 {
			return nil
		}
	}
}

// endLine ends the line on which a message was wanted.
func (t *conversation) endLine() {
	if t.terminal {
		fmt.Fprintln(t.c.App.ErrWriter)
	}
}
