package toolcall

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
)

// Writer is how a model's template writes what tools are asked and answer.
type Writer struct {
	*Form
	Texts bool // it wants the arguments of calls as texts of JSON, as OpenAI's API has them, not as objects
	Null  bool // it wants no content, not an empty one, in a message that only calls
}

// Named is a form by its name, nil where there is none.
func Named(name string) *Form {
	for _, f := range forms {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Choose finds the form of a template: that which reads back calls that the template has written. tools are
// such as OpenAI's API describes them. ok is false where none does: the template knows no tools.
func Choose(render func(messages []llama.Message, tools json.RawMessage) (string, error)) (w Writer, ok bool) {
	const arguments = `{"place": "Oslo \"Sentrum\"", "days": 3}`
	tool := json.RawMessage(`[{"type": "function", "function": {"name": "probe_weather", "description": "The weather.", "parameters": {"type": "object", "properties": {"place": {"type": "string", "description": "where"}, "days": {"type": "integer", "description": "how many"}}, "required": ["place"]}}}]`)
	tools := []Tool{{Name: "probe_weather", Parameters: json.RawMessage(`{"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}}`)}}
	user := llama.Message{Role: "user", Content: "How is the weather?"}
	for _, id := range []string{"abcdefghi", "functions.probe_weather:0"} {
		for _, w := range []Writer{{}, {Texts: true}, {Null: true}, {Texts: true, Null: true}} {
			call := w.Message("", []Call{{ID: id, Name: "probe_weather", Arguments: json.RawMessage(arguments)}})
			text, err := render([]llama.Message{user, call}, tool)
			if err != nil {
				continue
			}
			for _, w.Form = range forms {
				if w.reads(text, tools, arguments) {
					return w, true
				}
			}
		}
	}
	return Writer{}, false
}

// reads says whether a rendered conversation ends with the probe's call in this form.
func (f *Form) reads(text string, tools []Tool, arguments string) bool {
	var want any
	if json.Unmarshal([]byte(arguments), &want) != nil {
		return false
	}
	for _, begin := range f.begins {
		for at := strings.LastIndex(text, begin); at >= 0; at = strings.LastIndex(text[:at], begin) {
			calls, _, s := f.read(text[at:], tools)
			if s != done || len(calls) != 1 || calls[0].Name != "probe_weather" {
				continue
			}
			var got any
			if json.Unmarshal(calls[0].Arguments, &got) == nil && reflect.DeepEqual(got, want) {
				return true
			}
		}
	}
	return false
}

// Message is an answer with calls, as the template wants it.
func (w Writer) Message(content string, calls []Call) llama.Message {
	type function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}
	type call struct {
		ID       string   `json:"id"`
		Type     string   `json:"type"`
		Function function `json:"function"`
	}
	var list []call
	for _, c := range calls {
		args := c.Arguments
		if w.Texts {
			args = quote(string(args))
		}
		list = append(list, call{c.ID, "function", function{c.Name, args}})
	}
	m := llama.Message{Role: "assistant", Content: content}
	if raw, err := json.Marshal(list); err == nil && len(list) > 0 {
		m.Fields = map[string]json.RawMessage{"tool_calls": raw}
		if w.Null && content == "" {
			m.Fields["content"] = json.RawMessage("null")
		}
	}
	return m
}

// Names are those of all forms.
func Names() []string {
	var out []string
	for _, f := range forms {
		out = append(out, f.Name)
	}
	slices.Sort(out)
	return out
}
