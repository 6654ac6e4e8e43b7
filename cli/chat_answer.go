package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

// The roles of a conversation in plain text.
const plainUser, plainAssistant = "User:", "Assistant:"

// render is the conversation as the model is shown it, with another message if that is not
// empty, which is to be answered.
func (t *conversation) render(message string) (string, error) {
	messages := t.messages()
	if message != "" {
		messages = append(messages, llama.Message{Role: "user", Content: message})
	}
	if !t.plain {
		return t.model.ApplyChat(t.template, messages, message != "")
	}
	var b strings.Builder
	for _, m := range messages {
		switch m.Role {
		case "system":
			b.WriteString(m.Content + "\n\n")
		case "user":
			b.WriteString(plainUser + " " + m.Content + "\n")
		case "assistant":
			b.WriteString(plainAssistant + m.Content + "\n")
		}
	}
	if message != "" {
		b.WriteString(plainAssistant)
	}
	return b.String(), nil
}

// prompt is render's text in tokens.
func (t *conversation) prompt(message string) ([]int32, error) {
	text, err := t.render(message)
	if err != nil {
		return nil, err
	}
	return t.model.Tokenize(text, true, true)
}

// say answers a message.
func (t *conversation) say(message string) error {
	answered, err := t.answer(message)
	if !answered && err == nil {
		t.note("the message is forgotten")
	}
	return err
}

// answer answers a message; answered says whether it became part of the conversation, which
// it does not where Ctrl-C comes before any text.
func (t *conversation) answer(message string) (answered bool, err error) {
	ctx, done := stoppable(t.c.Context)
	defer done()
	t.prepared(ctx)
	prompt, err := t.shorten(message)
	if err != nil {
		return false, err
	}
	req := t.request
	req.Prompt, req.Key = prompt, decode.Key(t.seed, 0, "", t.answers)
	t.answers++
	var said strings.Builder
	text := newStream(t.c.App.Writer)
	req.Emit = func(b []byte) {
		said.Write(b)
		text.emit(b)
	}
	var response *decode.Response
	job, err := t.strategy.Job(t.engine, req, func(r decode.Response) { response = &r })
	if err != nil {
		return false, err
	}
	fed := t.engine.Stats().Tokens
	err = t.engine.Continue(ctx, job)
	slog.Debug("answer", "prompt", len(prompt), "fed", t.engine.Stats().Tokens-fed)
	if said.Len() == 0 {
		text.emit([]byte("\n"))
	}
	if err := text.end(); err != nil {
		return false, err
	}
	stopped := errors.As(err, new(interrupted)) && t.c.Context.Err() == nil
	switch {
	case stopped && said.Len() == 0:
		t.note("stopped")
		return false, nil
	case stopped:
		t.note("stopped")
	case err != nil:
		return false, err
	}
	t.turns = append(t.turns, turn{message, strings.ToValidUTF8(said.String(), "\uFFFD"), response})
	if t.terminal && response != nil && response.Finish == decode.FinishLength {
		t.note(fmt.Sprintf("cut off after %d tokens: -n allows more", t.request.MaxTokens))
	}
	if t.values && response != nil {
		t.note(fmt.Sprintf("value %.3f, %d tokens, %.1f decoded for each", response.Value, len(response.Tokens), float64(response.Decoded)/float64(len(response.Tokens))))
	}
	if !t.c.Bool("single-turn") {
		t.prepare()
	}
	return true, nil
}

// shorten is the prompt for a message. Where it leaves the answer no room, the oldest turns are
// dropped, and a few more at once: all that follows them has to be decoded anew.
func (t *conversation) shorten(message string) ([]int32, error) {
	all, room := t.turns, t.size-t.request.MaxTokens
	for fits := room; ; fits = room * 3 / 4 {
		prompt, err := t.prompt(message)
		if err != nil {
			return nil, err
		}
		dropped := len(all) - len(t.turns)
		switch {
		case len(prompt) <= fits || len(prompt) <= room && len(t.turns) == 0:
			if dropped > 0 {
				t.note(fmt.Sprintf("the context is full: the oldest of the conversation is forgotten, %d of %d messages", dropped, len(all)))
			}
			return prompt, nil
		case len(t.turns) == 0:
			t.turns = all
			return nil, fmt.Errorf("the message takes %d tokens with the system prompt, and answers of up to %d leave %d of the context (shorten it, lower -n, or raise -c)", len(prompt), t.request.MaxTokens, room)
		}
		t.turns = t.turns[1:]
	}
}

// prepare decodes the last answer as a part of the conversation while the next message is
// written, so that only that message is left to do.
func (t *conversation) prepare() {
	history, err := t.prompt("")
	if err != nil || len(history) > t.size || len(history) == 0 {
		return // some templates render no conversation that ends with an answer
	}
	states := t.value.Head != nil && t.value.Head.NeedsPrompt()
	ctx, cancel := context.WithCancel(t.c.Context)
	done := make(chan struct{})
	t.unprepare, t.preparing = cancel, done
	go func() {
		defer close(done)
		defer cancel()
		// What fails here fails again where the next message is answered.
		t.engine.Continue(ctx, engine.Job{Sequences: 1, Cells: len(history), Run: func(s *engine.Session) (err error) {
			if states {
				_, _, err = s.PrefillStates(history, 1)
			} else {
				_, err = s.Prefill(history, 1)
			}
			return err
		}})
	}()
}

// prepared waits for prepare, whose work is needed, until ctx ends.
func (t *conversation) prepared(ctx context.Context) {
	if t.preparing == nil {
		return
	}
	select {
	case <-t.preparing:
	case <-ctx.Done():
		t.unprepare()
		<-t.preparing
	}
	t.preparing = nil
}

var errNoValue = errors.New("there is no value function (give one with --value-head)")

// showValues prints the last answer with its values.
func (t *conversation) showValues() error {
	switch {
	case t.value.Source == nil:
		return errNoValue
	case len(t.turns) == 0:
		return errNothingSaid
	}
	r := t.turns[len(t.turns)-1].response
	if r == nil {
		return errors.New("the last answer was stopped, so its value is not known (/retry gives another)")
	}
	tokens, err := report.Tokens(t.model, r)
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
	text := &report.Text{Reading: report.InWords(reading), Tokens: tokens, Scale: t.value.Scale}
	return report.Paint(t.c.App.Writer, text, t.colours)
}
