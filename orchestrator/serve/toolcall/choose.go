package toolcall

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

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
// such as OpenAI's API describes them, for [Vars]. ok is false where none does: the template knows no tools. render
// opens an answer at the conversation's end, where the template does.
func Choose(render func(messages []llama.Message, tools json.RawMessage) (string, error)) (w Writer, ok bool) {
	const arguments = `{"place": "Oslo \"Sentrum\"", "days": 3}`
	tool := json.RawMessage(`[{"type": "function", "function": {"name": "probe_weather", "description": "The weather.", "parameters": {"type": "object", "properties": {"place": {"type": "string", "description": "where"}, "days": {"type": "integer", "description": "how many"}}, "required": ["place"]}}}]`)
	tools := []Tool{{Name: "probe_weather", Parameters: json.RawMessage(`{"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}}`)}}
	user := llama.Message{Role: "user", Content: "How is the weather?"}
	opened, err := render([]llama.Message{user}, tool)
	if err != nil {
		return Writer{}, false
	}
	for _, id := range []string{"abcdefghi", "functions.probe_weather:0"} {
		for _, w := range []Writer{{}, {Texts: true}, {Null: true}, {Texts: true, Null: true}} {
			call := w.Message("", []Call{{ID: id, Name: "probe_weather", Arguments: json.RawMessage(arguments)}})
			result := llama.Message{Role: "tool", Content: "Rain.", Fields: map[string]json.RawMessage{"tool_call_id": quote(id), "name": quote("probe_weather")}}
			for _, messages := range [][]llama.Message{{user, call}, {user, call, result}} { // some leave out an answer at the end
				text, err := render(messages, tool)
				if err != nil {
					continue
				}
				for _, w.Form = range forms {
					if w.opens != "" && strings.HasSuffix(opened, w.opens) {
						open := *w.Form
						open.opened, w.Form = w.opens, &open
					}
					if w.reads(text, opened, user.Content, tools, arguments) {
						return w, true
					}
				}
			}
		}
	}
	return Writer{}, false
}

// reads says whether a rendered conversation ends with the probe's call in this form. opened is what it is before the
// call, up to where the answer begins, and asked what is said in that.
func (f *Form) reads(text, opened, asked string, tools []Tool, arguments string) bool {
	var want any
	if json.Unmarshal([]byte(arguments), &want) != nil {
		return false
	}
	answer, whole := strings.CutPrefix(text, opened)
	if !whole { // past answers look otherwise, without thoughts for example
		answer = text
		if i := strings.LastIndex(text, asked); i >= 0 {
			answer = text[i+len(asked):]
		}
	}
	if whole || !f.first {
		_, calls := f.Reader(tools).Push(answer, true)
		var got any
		return len(calls) == 1 && calls[0].Name == "probe_weather" && json.Unmarshal(calls[0].Arguments, &got) == nil && reflect.DeepEqual(got, want)
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

// Vars are the variables by which templates know tools: as OpenAI's API has them, and for some as a text.
func Vars(tools json.RawMessage) map[string]any {
	return map[string]any{"tools": tools, "functions": string(tools), "datetime": time.Now().Format("January 2, 2006")}
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
