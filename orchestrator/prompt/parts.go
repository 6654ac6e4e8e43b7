package prompt

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/jsonkind"
	"github.com/ivo-decoding/ivo/llama"
)

// forms are the contents that a template writes: texts, lists of parts, or both.
type forms struct{ texts, parts bool }

// probe finds out what a template makes of the two forms: those that know one only print the
// other as a list in Python's notation, refuse it, or leave it out.
func (e *Encoder) probe() forms {
	const needle = "jlqxz"
	shows := func(m llama.Message) bool {
		text, err := e.model.RenderChat([]llama.Message{m}, llama.Chat{Template: e.template, Vars: e.o.TemplateKwargs, Open: true, Now: e.o.Now})
		return err == nil && strings.Contains(text, needle) && !strings.Contains(text, "'"+needle+"'") && !strings.Contains(text, `"`+needle+`"`)
	}
	parts := llama.Message{Role: "user", Fields: map[string]json.RawMessage{"content": json.RawMessage(`[{"type": "text", "text": "` + needle + `"}]`)}}
	f := forms{shows(llama.Message{Role: "user", Content: needle}), shows(parts)}
	if !f.parts {
		f.texts = true // the form that nearly all know
	}
	return f
}

// inForm gives the messages contents that the template writes. A model that reads texts is
// shown no part that is none.
func (e *Encoder) inForm(messages []llama.Message) ([]llama.Message, error) {
	out := slices.Clone(messages)
	for i, m := range messages {
		raw, ok := m.Fields["content"]
		switch list := ok && jsonkind.Of(raw) == jsonkind.List; {
		case list:
			var parts []struct{ Type string }
			if err := json.Unmarshal(raw, &parts); err != nil {
				return nil, err
			}
			for _, p := range parts {
				if p.Type != "text" && p.Type != "" {
					return nil, fault.New("encode", "prompts", nil, "leave such messages out", "a message has a part of the type %q, and the model reads texts", p.Type)
				}
			}
			if e.forms.parts {
				continue
			}
			out[i].Fields = map[string]json.RawMessage{}
			for name, field := range m.Fields {
				if name != "content" {
					out[i].Fields[name] = field
				}
			}
		case !ok && !e.forms.texts:
			out[i].Fields = map[string]json.RawMessage{"content": json.RawMessage(`[{"type": "text", "text": ` + string(quote(m.Content)) + `}]`)}
			for name, field := range m.Fields {
				out[i].Fields[name] = field
			}
		}
	}
	return out, nil
}
