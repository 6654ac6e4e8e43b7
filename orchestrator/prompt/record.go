// Package prompt is what people bring: records are read from their files, and turned into
// the tokens that a policy is prompted with, the same ones in every verb. It knows nothing
// of decoding, values or rewards.
package prompt

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
)

// Record is one prompt: a text to go on from, or a conversation to be answered.
type Record struct {
	ID       string
	Text     string          // empty where there are messages
	Messages []llama.Message // nil of a plain text
	// Fields are all other fields of the record as they were, for the reward: a gold answer,
	// instructions that can be verified.
	Fields map[string]json.RawMessage
}

// MarshalJSON writes the record as one JSON object: id, then prompt or messages, then the
// other fields by name.
func (r Record) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	put := func(name string, v any) error {
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(key)
		b.WriteByte(':')
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		err = enc.Encode(v)
		b.Truncate(b.Len() - 1) // the encoder's line break
		return err
	}
	err := put("id", r.ID)
	if r.Messages == nil {
		err = cmp.Or(err, put("prompt", r.Text))
	} else {
		err = cmp.Or(err, put("messages", r.Messages))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Fields)) {
		err = cmp.Or(err, put(name, r.Fields[name]))
	}
	b.WriteByte('}')
	return b.Bytes(), err
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Record) UnmarshalJSON(data []byte) error {
	*r = Record{}
	if err := json.Unmarshal(data, &r.Fields); err != nil {
		return err
	}
	take := func(name string, to any) error {
		raw, ok := r.Fields[name]
		if !ok {
			return nil
		}
		delete(r.Fields, name)
		return json.Unmarshal(raw, to)
	}
	if err := cmp.Or(take("id", &r.ID), take("messages", &r.Messages)); err != nil {
		return err
	}
	if r.Messages == nil {
		if err := take("prompt", &r.Text); err != nil {
			return err
		}
	}
	if len(r.Fields) == 0 {
		r.Fields = nil
	}
	return nil
}

// Show is the prompt for people: its text, or its messages one after the other.
func (r Record) Show() string {
	if r.Messages == nil {
		return r.Text
	}
	var parts []string
	for _, m := range r.Messages {
		parts = append(parts, m.Role+": "+m.Content)
	}
	return strings.Join(parts, "\n\n")
}
