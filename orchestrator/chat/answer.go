package chat

import (
	"context"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// Outcome is what came of answering a message.
type Outcome struct {
	Turn
	Kept    bool // the turn is a part of the conversation now
	Stopped bool // the context ended before the answer did
	Prompt  int  // tokens that the model was shown
	Fed     int  // tokens decoded, of prompt and answer
}

// Answer answers a message; emit gets the text as it comes. Where ctx ends, what was said so far is the
// answer, if there is anything.
func (c *Chat) Answer(ctx context.Context, message string, emit func([]byte)) (o Outcome, err error) {
	c.prepared(ctx)
	prompt, err := c.shorten(message)
	if err != nil {
		return o, err
	}
	o.Message, o.Prompt = message, len(prompt)
	req := c.o.Request
	req.Prompt, req.Key = prompt, policy.Key(c.o.Seed, 0, "", c.begun)
	c.begun++
	req.Thinks = c.o.Encoder.Thinks()
	var said, thought strings.Builder
	req.Emit = func(b []byte) {
		said.Write(b)
		emit(b)
	}
	req.EmitThinking = func(b []byte) {
		thought.Write(b)
		if c.o.Thinking != nil {
			c.o.Thinking(b)
		}
	}
	job, err := c.o.Strategy.Job(c.engine, req, func(r decode.Response) { o.Response = &r })
	if err != nil {
		return o, err
	}
	fed := c.engine.Stats().Tokens
	err = c.engine.Do(ctx, job)
	o.Fed = c.engine.Stats().Tokens - fed
	if o.Stopped = err != nil && ctx.Err() != nil; err != nil && !o.Stopped {
		return o, err
	}
	if o.Stopped && said.Len() == 0 {
		return o, nil
	}
	o.Answer, o.Kept = strings.ToValidUTF8(said.String(), "\uFFFD"), true
	o.Thinking = strings.ToValidUTF8(thought.String(), "\uFFFD")
	c.turns = append(c.Turns(), o.Turn)
	return o, nil
}

// Retry answers the last message anew. The answer stays as it was where no other becomes a part of the
// conversation.
func (c *Chat) Retry(ctx context.Context, emit func([]byte)) (Outcome, error) {
	last, err := c.Last()
	if err != nil {
		return Outcome{}, err
	}
	all := c.turns
	c.turns = all[:len(all)-1]
	o, err := c.Answer(ctx, last.Message, emit)
	if !o.Kept {
		c.turns = all
	}
	return o, err
}

// Prepare decodes the last answer as a part of the conversation while the next message is
// written, so that only that message is left to do. It returns at once.
func (c *Chat) Prepare(ctx context.Context) {
	history, err := c.o.Encoder.Conversation(c.Messages(), false)
	if err != nil || len(history) > c.o.Size || len(history) == 0 || c.engine == nil || c.preparing != nil {
		return // some templates render no conversation that ends with an answer
	}
	ctx, cancel := context.WithCancel(ctx)
	done, e, states := make(chan struct{}), c.engine, c.o.PromptStates
	c.stopPrepare, c.preparing = cancel, done
	go func() {
		defer close(done)
		defer cancel()
		// What fails here fails again where the next message is answered.
		e.Do(ctx, engine.Job{Sequences: 1, Cells: len(history), Prompt: history, PromptStates: states, Run: func(s *engine.Session) (err error) {
			if states {
				_, _, err = s.PrefillStates(history, 1)
			} else {
				_, err = s.Prefill(history, 1)
			}
			return err
		}})
	}()
}

// prepared waits for Prepare, whose work is needed, until ctx ends.
func (c *Chat) prepared(ctx context.Context) {
	if c.preparing == nil {
		return
	}
	select {
	case <-c.preparing:
	case <-ctx.Done():
		c.stopPrepare()
		<-c.preparing
	}
	c.preparing = nil
}
