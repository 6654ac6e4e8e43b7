package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The prompts of a message, and of the next line of one.
const ask, askMore = "> ", "… "

// Messages returns what reads the next message: a line, or several where all but the last end in a
// backslash. Ctrl-C drops what was typed of one; note is told that a second one with nothing typed
// ends, with [ErrInterruptEmpty], as Ctrl-D does with io.EOF.
func Messages(in io.Reader, out io.Writer, note func(string)) func(context.Context) (string, error) {
	lines := Lines(in, out)
	interrupted := false // the last time
	return func(ctx context.Context) (string, error) {
		var message strings.Builder
		for {
			prompt := ask
			if message.Len() > 0 {
				prompt = askMore
			}
			line, err := lines(ctx, prompt)
			switch {
			case ctx.Err() != nil:
				return "", context.Cause(ctx)
			case errors.Is(err, ErrInterrupt), errors.Is(err, ErrInterruptEmpty):
				if errors.Is(err, ErrInterruptEmpty) && message.Len() == 0 {
					if interrupted {
						return "", ErrInterruptEmpty
					}
					note("Ctrl-C once more ends, as Ctrl-D does")
				}
				message.Reset()
				interrupted = true
				continue
			case errors.Is(err, io.EOF) && message.Len() > 0:
				return strings.TrimSuffix(message.String(), "\n"), nil
			case errors.Is(err, io.EOF):
				return "", io.EOF
			case err != nil:
				return "", fmt.Errorf("read the messages: %w (check where they come from)", err)
			}
			interrupted = false
			more, ok := strings.CutSuffix(line, `\`)
			if message.WriteString(more); !ok {
				return message.String(), nil
			}
			message.WriteString("\n")
		}
	}
}
