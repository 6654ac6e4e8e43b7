package chat

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
)

// Remote is a conversation with a model behind OpenAI's chat completions, such as ivo serve's.
type Remote struct {
	URL      string         // the server's, with or without /v1
	Key      string         // "" for none
	Settings map[string]any // of every request, such as model and max_tokens
	System   string         // the system prompt, "" for none

	messages []llama.Message
}

// maxEvent is the longest line of a stream that is read.
const maxEvent = 16 << 20

// Answer answers a message; emit gets the text as it comes. What was said when ctx ends stays in the
// conversation.
func (r *Remote) Answer(ctx context.Context, message string, emit func([]byte)) error {
	messages := append(r.messages[:len(r.messages):len(r.messages)], llama.Message{Role: "user", Content: message})
	shown := messages
	if r.System != "" {
		shown = append([]llama.Message{{Role: "system", Content: r.System}}, messages...)
	}
	fields := map[string]any{"messages": shown, "stream": true}
	for name, v := range r.Settings {
		fields[name] = v
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	url := strings.TrimSuffix(strings.TrimSuffix(r.URL, "/"), "/v1") + "/v1/chat/completions"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return r.fault(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if r.Key != "" {
		req.Header.Set("Authorization", "Bearer "+r.Key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return r.fault(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // what came of it says enough
		return r.fault(fmt.Errorf("%s: %s", res.Status, said(text)))
	}
	var answer strings.Builder
	err = stream(res.Body, func(text string) {
		answer.WriteString(text)
		emit([]byte(text))
	})
	if err != nil && ctx.Err() == nil {
		return r.fault(err)
	}
	if answer.Len() > 0 {
		r.messages = append(messages, llama.Message{Role: "assistant", Content: answer.String()})
	}
	return nil
}

func (r *Remote) fault(err error) error {
	return &fault.Error{Op: "ask the server", Field: "server", Err: err, Hint: "check {server}, and the key in IVO_API_KEY"}
}

// stream reads the events of a chat completion and tells the text.
func stream(in io.Reader, tell func(text string)) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if data = strings.TrimSpace(data); !ok || data == "" {
			continue
		}
		if data == "[DONE]" {
			return nil
		}
		var chunk struct {
			Error   json.RawMessage
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return fmt.Errorf("it sent no JSON: %w", err)
		}
		if len(chunk.Error) > 0 && string(chunk.Error) != "null" {
			return fmt.Errorf("it failed: %s", said([]byte(data)))
		}
		for _, c := range chunk.Choices {
			if c.Delta.Content != "" {
				tell(c.Delta.Content)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// said is the message of an error in OpenAI's shape, or the text as it is.
func said(text []byte) string {
	var e struct{ Error struct{ Message string } }
	if json.Unmarshal(text, &e) == nil && e.Error.Message != "" {
		return e.Error.Message
	}
	return strings.TrimSpace(string(text))
}
