package program

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ChatKeyVariable is the environment variable that holds the key of a language model's server, and
// ChatKeyVariable + "_FILE" that of a file that does.
const ChatKeyVariable = "IVO_JUDGE_KEY"

// alternatives are as many likeliest tokens as servers will name.
const alternatives = 20

// Chat asks a language model that a server has, in OpenAI's form (chat completions).
type Chat struct {
	*client
	model string
}

// Question is what a model is asked, as the message of a user.
type Question struct {
	Text   string
	Tokens int             // most tokens of the reply
	First  bool            // whether the likeliest first tokens of the reply are wanted
	Schema json.RawMessage // a JSON schema that the reply is to fit; nil without
}

// Reply is what it says, or why it says nothing.
type Reply struct {
	Text  string
	First []Alternative // the likeliest first tokens, where they were wanted
	Err   error
}

// Alternative is a token that the reply could have begun with, and its log-probability in nats.
type Alternative struct {
	Token   string  `json:"token"`
	LogProb float64 `json:"logprob"`
}

// NewChat prepares for the server at an address, which is that of its API, such as
// http://127.0.0.1:8080/v1, or of the chat completions themselves, and may not hold any secret. The
// model is named as the server has it, "" where it serves one only.
func NewChat(address, model string, o Options) (*Chat, error) {
	o.Batch = 1
	c, err := newClient(address, ChatKeyVariable, "name a server with chat completions in OpenAI's form", o)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(c.url)
	if err != nil {
		return nil, err
	}
	const completions = "/chat/completions"
	if path := strings.TrimSuffix(u.Path, "/"); !strings.HasSuffix(path, completions) {
		u.Path = cmp.Or(path, "/v1") + completions
		c.url = u.String()
	}
	return &Chat{c, model}, nil
}

// Fingerprint is the address and the model's name: what the server does there is not known here.
func (c *Chat) Fingerprint() string { return fmt.Sprintf("chat 1 %s %q", c.url, c.model) }

// Ask gives one reply to each question, in order. It fails as a whole when ctx ends, and when the server
// failed so often that there is no reply at all.
func (c *Chat) Ask(ctx context.Context, questions []Question) ([]Reply, error) {
	replies := make([]Reply, len(questions))
	w := &work{client: c.client, n: len(questions), post: func(ctx context.Context, batch []int) ([]int, error) {
		for _, i := range batch {
			reply, failed := c.post(ctx, questions[i])
			if failed != nil {
				return batch, failed
			}
			replies[i] = reply
		}
		return nil, nil
	}}
	over := w.do(ctx)
	for i, err := range w.errs {
		if err != nil {
			replies[i] = Reply{Err: err}
		}
	}
	return finish(ctx, replies, func(r Reply) error { return r.Err }, over)
}

// Try sees whether the server answers, and in which form.
func (c *Chat) Try(ctx context.Context, q Question) error {
	replies, err := c.Ask(ctx, []Question{q})
	if err != nil {
		return err
	}
	if r := (*refusal)(nil); errors.As(replies[0].Err, &r) {
		return replies[0].Err
	}
	return nil
}

// post asks a question once.
func (c *Chat) post(ctx context.Context, q Question) (r Reply, failed *refusal) {
	body := map[string]any{
		"messages":    []map[string]string{{"role": "user", "content": q.Text}},
		"temperature": 0, "max_tokens": q.Tokens,
	}
	if c.model != "" {
		body["model"] = c.model
	}
	if q.First {
		body["logprobs"], body["top_logprobs"] = true, alternatives
	}
	if q.Schema != nil {
		body["response_format"] = map[string]any{
			"type": "json_schema", "json_schema": map[string]any{"name": "verdict", "strict": true, "schema": q.Schema},
		}
	}
	answer, failed := c.ask(ctx, body, true)
	if failed != nil {
		return r, failed
	}
	var said struct {
		Choices []struct {
			Message struct {
				Content *string `json:"content"`
				Refusal string  `json:"refusal"`
			} `json:"message"`
			LogProbs *struct {
				Content []struct {
					Top []Alternative `json:"top_logprobs"`
				} `json:"content"`
			} `json:"logprobs"`
		} `json:"choices"`
		Error json.RawMessage `json:"error"`
	}
	err := json.Unmarshal(answer, &said)
	switch {
	case err == nil && len(said.Error) > 0 && !bytes.Equal(said.Error, []byte("null")):
		return r, &refusal{tries: 1, error: c.wrong("it answered with the error %s", c.quote(said.Error))}
	case err != nil || len(said.Choices) == 0 || said.Choices[0].Message.Content == nil && said.Choices[0].Message.Refusal == "":
		return r, &refusal{tries: 1, error: c.wrong("it answered with %s", c.quote(answer))}
	}
	choice := said.Choices[0]
	if choice.Message.Content == nil {
		return Reply{Err: fmt.Errorf("the model refused: %s", c.quote([]byte(choice.Message.Refusal)))}, nil
	}
	r.Text = c.hide(*choice.Message.Content)
	if q.First && choice.LogProbs != nil && len(choice.LogProbs.Content) > 0 {
		r.First = choice.LogProbs.Content[0].Top
	}
	return r, nil
}

// quote shows foreign text in an error, without the key however JSON has spelt it.
func (c *client) quote(text []byte) string {
	var value any
	if json.Unmarshal(text, &value) == nil {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if enc.Encode(value) == nil {
			text = b.Bytes()
		}
	}
	return show([]byte(c.hide(string(text))))
}
