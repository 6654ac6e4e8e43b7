// Package chat is a conversation with a model: its messages, the tokens they become, and answers by any
// strategy, each of which decodes only what is new. It knows neither who writes the messages nor where answers
// are shown.
package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Sequences are those that an answer may take: one more keeps the conversation so far.
const Sequences = llama.MaxSequences - 1

// Options say how messages are answered.
type Options struct {
	Encoder  *prompt.Encoder // without a system prompt of its own
	System   string          // the system prompt, "" for none
	Size     int             // tokens of the context, for all that the model is shown and its answer
	Strategy decode.Strategy
	Request  decode.Request // of every answer, but for prompt and key; MaxTokens 0 is 512, or half of a smaller context
	Seed     uint64
	Context  batch.Context // but for its cells
	Layers   []int         // whose states the value function reads
	// PromptStates says that the value function reads the states of the conversation.
	PromptStates bool
	// Thinking, if set, gets the text of thoughts as it comes.
	Thinking func([]byte)
	// Forgot, if set, is told before an answer how many of the conversation's turns no longer fit.
	Forgot func(turns, of int)
}

// Chat is a conversation under way. It is for one goroutine.
type Chat struct {
	o      Options
	model  *llama.Model
	engine *engine.Engine // nil when there is none for the strategy
	turns  []Turn
	begun  int // answers, each of which has random numbers of its own

	preparing   chan struct{} // of Prepare, while it is under way
	stopPrepare context.CancelFunc
}

// Turn is a message and its answer.
type Turn struct {
	Message, Answer string
	Thinking        string           // what the model thought before it answered; it is not shown it again
	Response        *decode.Response // nil of an answer that was stopped
}

// New begins a conversation. Close it before the model.
func New(m *llama.Model, o Options) (*Chat, error) {
	if o.Request.MaxTokens == 0 {
		o.Request.MaxTokens = min(512, o.Size/2)
	}
	o.Request.Stop = slices.Concat(o.Request.Stop, o.Encoder.Stops(prompt.Record{Messages: []llama.Message{}}))
	c := &Chat{o: o, model: m}
	if n := o.Request.MaxTokens; n >= o.Size {
		return nil, fault.New("", "ctx", n+1, "lower {max_tokens}, or raise {ctx}", "answers of up to %d tokens leave no room in a context of %d", n, o.Size)
	}
	shortest, err := c.prompt("x")
	if err != nil {
		return nil, err
	}
	if room := c.room(); len(shortest) > room {
		return nil, fault.New("", "ctx", nil, "lower {max_tokens}, raise {ctx}, or shorten {system_prompt}",
			"the shortest conversation takes %d tokens, and answers of up to %d leave %d of the context", len(shortest), o.Request.MaxTokens, room)
	}
	return c, c.open()
}

// room is the most tokens that the model may be shown.
func (c *Chat) room() int { return c.o.Size - c.o.Request.MaxTokens }

// open makes an engine for the strategy, unless the one that is there will do.
func (c *Chat) open() error {
	need := c.o.Context.Params(c.o.Strategy.Sequences()+1, c.o.Layers)
	need.Ctx = c.o.Strategy.Cells(c.room(), c.o.Request.MaxTokens)
	need.Kept = need.Ctx
	if c.engine != nil {
		if p := c.engine.Params(); p.Sequences >= need.Sequences && p.Ctx >= need.Ctx && p.Batch >= need.Sequences {
			return nil
		}
		c.Close()
	}
	e, err := engine.New(c.model, need)
	if err == nil {
		c.engine = e
	}
	return err
}

// Close frees what answers take. The conversation stays.
func (c *Chat) Close() {
	if c.preparing != nil {
		c.stopPrepare()
		c.prepared(context.Background())
	}
	if c.engine != nil {
		c.engine.Close()
		c.engine = nil
	}
}

// Strategy and Sampling are how messages are answered now.
func (c *Chat) Strategy() decode.Strategy { return c.o.Strategy }
func (c *Chat) Sampling() policy.Sampling { return c.o.Request.Sampling }

// Change sets up another way of answering. What cannot be leaves the one before.
func (c *Chat) Change(s decode.Strategy, sampling policy.Sampling) error {
	c.prepared(context.Background())
	strategy, before := c.o.Strategy, c.o.Request.Sampling
	c.o.Strategy, c.o.Request.Sampling = s, sampling
	err := c.open()
	if err == nil {
		return nil
	}
	c.o.Strategy, c.o.Request.Sampling = strategy, before
	return errors.Join(err, c.open())
}

// Alive says whether messages can be answered. After a failed Change they may not.
func (c *Chat) Alive() bool { return c.engine != nil }

// SetSystem changes the system prompt for all of the conversation; "" removes it.
func (c *Chat) SetSystem(text string) { c.o.System = text }

// Turns are the conversation so far, without the system prompt.
func (c *Chat) Turns() []Turn { return slices.Clip(c.turns) }

var errNothingSaid = errors.New("nothing has been said yet (write a message)")

// Last is the last turn.
func (c *Chat) Last() (Turn, error) {
	if len(c.turns) == 0 {
		return Turn{}, errNothingSaid
	}
	return c.turns[len(c.turns)-1], nil
}

// Undo forgets the last turn.
func (c *Chat) Undo() error {
	_, err := c.Last()
	if err == nil {
		c.turns = c.turns[:len(c.turns)-1]
	}
	return err
}

// Clear forgets all turns.
func (c *Chat) Clear() { c.turns = nil }

// Save writes the conversation's messages as JSON.
func (c *Chat) Save(path string) error {
	data, err := json.MarshalIndent(c.Messages(), "", " ")
	if err != nil {
		return err
	}
	if err := atomicfile.WriteBytes(path, append(data, '\n')); err != nil {
		return fmt.Errorf("%w (name a file that can be written)", err)
	}
	return nil
}

// Messages are the conversation so far.
func (c *Chat) Messages() []llama.Message {
	messages := []llama.Message{}
	if c.o.System != "" {
		messages = append(messages, llama.Message{Role: "system", Content: c.o.System})
	}
	for _, t := range c.turns {
		messages = append(messages, llama.Message{Role: "user", Content: t.Message}, llama.Message{Role: "assistant", Content: t.Answer})
	}
	return messages
}

// prompt is what the model is shown of the conversation with another message, which is to be answered.
func (c *Chat) prompt(message string) ([]int32, error) {
	return c.o.Encoder.Conversation(append(c.Messages(), llama.Message{Role: "user", Content: message}), true)
}

// shorten is the prompt for a message. Where it leaves the answer no room, the oldest turns are
// dropped, and a few more at once: all that follows them has to be decoded anew.
func (c *Chat) shorten(message string) ([]int32, error) {
	all, room := c.turns, c.room()
	for fits := room; ; fits = room * 3 / 4 {
		prompt, err := c.prompt(message)
		if err != nil {
			c.turns = all
			return nil, err
		}
		switch dropped := len(all) - len(c.turns); {
		case len(prompt) <= fits || len(prompt) <= room && len(c.turns) == 0:
			if dropped > 0 && c.o.Forgot != nil {
				c.o.Forgot(dropped, len(all))
			}
			return prompt, nil
		case len(c.turns) == 0:
			c.turns = all
			return nil, fault.New("", "ctx", nil, "shorten it, lower {max_tokens}, or raise {ctx}",
				"the message takes %d tokens with the system prompt, and answers of up to %d leave %d of the context", len(prompt), c.o.Request.MaxTokens, room)
		}
		c.turns = c.turns[1:]
	}
}
