package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ivo-decoding/ivo/internal/terminal"
)

// editor is the line editor of a chat on a terminal, nil elsewhere.
func (t *conversation) editor() *terminal.Editor {
	in, ok := t.c.App.Reader.(*os.File)
	out, shown := t.c.App.ErrWriter.(*os.File)
	if !ok || !shown || !terminal.IsTerminal(in) || !terminal.IsTerminal(out) {
		return nil
	}
	return terminal.NewEditor(in, out)
}

// The prompts of a message, and of the next line of one.
const ask, askMore = "> ", "… "

// lines gives line after line of what is typed, as terminal.Editor does.
func (t *conversation) lines() func(prompt string) (string, error) {
	if e := t.editor(); e != nil {
		return func(prompt string) (string, error) { return e.Read(t.c.Context, prompt) }
	}
	lines := make(chan string)
	failed := make(chan error, 1)
	go func() { // a read cannot be cancelled
		in := bufio.NewReader(t.c.App.Reader)
		for {
			line, err := in.ReadString('\n')
			if line != "" {
				lines <- strings.TrimRight(line, "\r\n")
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	return func(prompt string) (string, error) {
		ctx := t.c.Context
		if t.terminal {
			var done func()
			ctx, done = stoppable(ctx)
			defer done()
			fmt.Fprint(t.c.App.ErrWriter, prompt)
		}
		select {
		case line := <-lines:
			return line, nil
		case err := <-failed:
			return "", err
		case <-ctx.Done():
			if t.c.Context.Err() == nil {
				t.endLine()
				return "", terminal.ErrInterruptEmpty // the terminal has dropped what was typed
			}
			return "", context.Cause(ctx)
		}
	}
}

// loop takes messages and commands until there are no more.
func (t *conversation) loop() error {
	lines := t.lines()
	var message strings.Builder
	interrupted := false // the last time
	for {
		prompt := ask
		if message.Len() > 0 {
			prompt = askMore
		}
		line, err := lines(prompt)
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
