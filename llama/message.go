package llama

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/jsonkind"
)

// Message is one turn of a conversation, as chat templates and most programs know it.
type Message struct {
	Role    string
	Content string // its text; of a content in parts, the text parts
	// Fields are all other fields as they were: tool_calls, tool_call_id, name,
	// reasoning_content and whatever else a template reads; and content itself where it is no
	// text but null or a list of parts.
	Fields map[string]json.RawMessage
}

// MarshalJSON writes role, content, and the other fields by name.
func (m Message) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	put := func(name string, v any) error {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(name); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // the encoder's line break
		b.WriteByte(':')
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("%s of a message: %w", name, err)
		}
		b.Truncate(b.Len() - 1)
		return nil
	}
	if err := put("role", m.Role); err != nil {
		return nil, err
	}
	if _, other := m.Fields["content"]; !other {
		if err := put("content", m.Content); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Fields)) {
		if name == "role" {
			continue
		}
		if err := put(name, m.Fields[name]); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads a message: an object with a role and, but for messages that only call
// tools, a content.
func (m *Message) UnmarshalJSON(data []byte) error {
	*m = Message{}
	var fields map[string]json.RawMessage
	if kind := jsonkind.Of(data); kind != jsonkind.Object {
		return fmt.Errorf(`a message is %s (write one as {"role": "user", "content": "..."})`, kind)
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	role, ok := fields["role"]
	if !ok {
		return fmt.Errorf(`a message has no role (write one as {"role": "user", "content": "..."})`)
	}
	if kind := jsonkind.Of(role); kind != jsonkind.Text {
		return fmt.Errorf("the role of a message is %s (give a text such as user)", kind)
	}
	if err := json.Unmarshal(role, &m.Role); err != nil {
		return err
	}
	delete(fields, "role")
	if content, ok := fields["content"]; ok {
		var parts []struct {
			Type string
			Text string
		}
		switch kind := jsonkind.Of(content); kind {
		case jsonkind.Text:
			if err := json.Unmarshal(content, &m.Content); err != nil {
				return err
			}
			delete(fields, "content")
		case jsonkind.List:
			if err := json.Unmarshal(content, &parts); err != nil {
				return fmt.Errorf(`the content of a message is a list, but not of parts (write each as {"type": "text", "text": "..."})`)
			}
			var texts []string
			for _, part := range parts {
				if part.Type == "text" || part.Type == "" {
					texts = append(texts, part.Text)
				}
			}
			m.Content = strings.Join(texts, "\n")
		case jsonkind.Null:
		default:
			return fmt.Errorf("the content of a message is %s (give a text, or a list of parts)", kind)
		}
	}
	if len(fields) > 0 {
		m.Fields = fields
	}
	return nil
}
