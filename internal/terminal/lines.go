package terminal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ivo-decoding/ivo/internal/signals"
)

// Lines gives line after line of what is typed or comes from elsewhere, as [Editor.Read] does: edited where
// both ends are a terminal, and asked for by a prompt where in is one.
func Lines(in io.Reader, out io.Writer) func(ctx context.Context, prompt string) (string, error) {
	typed, isFile := in.(*os.File)
	shown, canShow := out.(*os.File)
	asks := isFile && Is(typed)
	if asks && canShow && IsTerminal(typed) && IsTerminal(shown) {
		return NewEditor(typed, shown).Read
	}
	lines := make(chan string)
	failed := make(chan error, 1)
	go func() { // a read cannot be cancelled
		in := bufio.NewReader(in)
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
	return func(ctx context.Context, prompt string) (string, error) {
		all := ctx
		if asks {
			var done func()
			ctx, done = signals.Part(ctx)
			defer done()
			fmt.Fprint(out, prompt)
		}
		select {
		case line := <-lines:
			return line, nil
		case err := <-failed:
			return "", err
		case <-ctx.Done():
			if all.Err() == nil {
				fmt.Fprintln(out)
				return "", ErrInterruptEmpty // the terminal has dropped what was typed
			}
			return "", context.Cause(ctx)
		}
	}
}
