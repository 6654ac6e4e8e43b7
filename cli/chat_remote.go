package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/signals"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/chat"
)

// chatRemote talks with a server's model. What flags say nothing of is as the server has it.
func chatRemote(c *cli.Context) error {
	r := &chat.Remote{URL: c.String("server"), Key: os.Getenv("IVO_API_KEY"), System: unescaper(c)(c.String("system-prompt")), Settings: map[string]any{}}
	guidance := map[string]any{}
	for flag, field := range map[string]string{"server-model": "model", "predict": "max_tokens", "temp": "temperature", "top-p": "top_p", "top-k": "top_k", "min-p": "min_p", "seed": "seed"} {
		if c.IsSet(flag) {
			r.Settings[field] = c.Value(flag)
		}
	}
	for _, flag := range []string{"method", "beams", "block", "candidates", "samples", "beta"} {
		if c.IsSet(flag) {
			guidance[flag] = c.Value(flag)
		}
	}
	if len(guidance) > 0 {
		r.Settings["guidance"] = guidance
	}
	say := func(message string) error {
		ctx, done := signals.Part(c.Context)
		defer done()
		text := terminal.NewStream(c.App.Writer)
		err := r.Answer(ctx, message, text.Emit)
		if c.Context.Err() != nil {
			err = context.Cause(c.Context)
		}
		return errors.Join(err, text.End())
	}
	if first := c.String("prompt"); first != "" {
		if err := say(unescaper(c)(first)); err != nil || c.Bool("single-turn") {
			return err
		}
	}
	next := terminal.Messages(c.App.Reader, c.App.ErrWriter, func(string) {})
	for {
		message, err := next(c.Context)
		if errors.Is(err, io.EOF) || errors.Is(err, terminal.ErrInterruptEmpty) {
			return nil
		}
		if err == nil && strings.TrimSpace(message) != "" {
			err = say(message)
		}
		if err != nil || c.Bool("single-turn") {
			return err
		}
	}
}
