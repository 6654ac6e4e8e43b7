package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/ivo-decoding/ivo/internal/signals"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/chat"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

// say answers a message.
func (t *conversation) say(message string) error {
	o, err := t.answer(func(ctx context.Context, emit func([]byte)) (chat.Outcome, error) {
		return t.Answer(ctx, message, emit)
	})
	if !o.Kept && err == nil {
		t.note("the message is forgotten")
	}
	return err
}

// retry answers the last message anew.
func (t *conversation) retry(string) error {
	o, err := t.answer(t.Retry)
	if !o.Kept && len(t.Turns()) > 0 {
		t.note("the answer stays as it was")
	}
	return err
}

// answer shows an answer as it comes, until Ctrl-C.
func (t *conversation) answer(by func(context.Context, func([]byte)) (chat.Outcome, error)) (chat.Outcome, error) {
	ctx, done := signals.Part(t.c.Context)
	defer done()
	text := terminal.NewStream(t.c.App.Writer)
	t.text = text
	o, err := by(ctx, text.Emit)
	if err != nil {
		return o, errors.Join(err, text.End())
	}
	slog.Debug("answer", "prompt", o.Prompt, "fed", o.Fed)
	if !text.Begun() {
		text.Emit([]byte("\n"))
	}
	if err := text.End(); err != nil {
		return o, err
	}
	if t.c.Context.Err() != nil {
		return o, context.Cause(t.c.Context)
	}
	r := o.Response
	switch {
	case o.Stopped:
		t.note("stopped")
	case t.terminal && r.Finish == decode.FinishLength:
		t.note(fmt.Sprintf("cut off after %d tokens: -n allows more", len(r.Tokens)))
	}
	if t.values && r != nil {
		t.note(fmt.Sprintf("value %.3f, %d tokens, %.1f decoded for each", r.Value, len(r.Tokens), float64(r.Decoded)/float64(len(r.Tokens))))
	}
	if o.Kept && !t.c.Bool("single-turn") {
		t.Prepare(t.c.Context)
	}
	return o, nil
}

var errNoValue = errors.New("there is no value function (give one with --value-head)")

// showValues prints the last answer with its values.
func (t *conversation) showValues() error {
	if t.value.Source == nil {
		return errNoValue
	}
	last, err := t.Last()
	if err != nil {
		return err
	}
	if last.Response == nil {
		return errors.New("the last answer was stopped, so its value is not known (/retry gives another)")
	}
	tokens, err := report.Tokens(t.model, last.Response)
	if err != nil {
		return err
	}
	if t.colours == report.NoColours {
		return report.List(t.c.App.Writer, tokens)
	}
	reading, err := valueReading(t.c)
	if err != nil {
		return err
	}
	text := &report.Text{Reading: report.InWords(reading), Tokens: tokens, Scale: scaleOf(t.value)}
	return report.Paint(t.c.App.Writer, text, t.colours)
}
