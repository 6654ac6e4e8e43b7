package serve

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/jsonkind"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/serve/toolcall"
)

const (
	maxTools    = 256
	maxToolName = 64
)

// dialect is how the model's template writes tools and their calls.
type dialect struct {
	toolcall.Writer
	native bool    // the template knows tools; otherwise they are described in the system prompt
	spell  []int32 // control tokens that calls are written with
}

// dialectOf finds out how a model calls tools.
func dialectOf(m *llama.Model, e *prompt.Encoder) (d dialect, err error) {
	if !e.Plain() {
		d.Writer, d.native = toolcall.Choose(func(messages []llama.Message, tools json.RawMessage) (string, error) {
			return e.With(toolcall.Vars(tools)).Text(prompt.Record{Messages: messages})
		})
	}
	if !d.native {
		d.Writer = toolcall.Writer{Form: toolcall.Plain}
		return d, nil
	}
	specials, err := m.Specials()
	if err != nil {
		return d, err
	}
	markers := d.Markers()
	for _, s := range specials {
		if slices.Contains(markers, s.Text) && !m.IsEOG(s.ID) {
			d.spell = append(d.spell, s.ID)
		}
	}
	return d, nil
}

// toolset are the tools of a request.
type toolset struct {
	tools  []toolcall.Tool
	raw    []json.RawMessage // as the template is shown them
	choice string            // auto, none, required, or the name of the tool that has to be called
	form   *toolcall.Form    // that the answer's calls have; nil where none are looked for
}

// shownTool is a tool in the order of fields that models have learned on.
type shownTool struct {
	Type     string `json:"type"`
	Function struct {
		Name       string          `json:"name"`
		About      string          `json:"description"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"function"`
}

// readTools reads the tools of a request, those of other types than functions aside; flat is the shape of
// the responses API, in which a tool's function is not an object of its own.
func (o *object) readTools(flat bool) *toolset {
	t := &toolset{choice: "auto"}
	for i, raw := range o.list("tools", maxTools) {
		at := fmt.Sprintf("tools[%d]", i)
		item := o.inner(at, raw)
		if item == nil {
			return t
		}
		kind := item.text("type")
		if kind != "function" && item.has("type") {
			if !flat {
				item.fail("type", "%q is not offered, but function", kind)
			}
			continue
		}
		f := item
		if !flat {
			if f = item.object("function"); f == nil {
				item.fail("function", "describe the function: its name and parameters")
				return t
			}
		}
		tool := toolcall.Tool{Name: f.text("name"), Parameters: f.raw("parameters")}
		if !toolName(tool.Name) {
			f.fail("name", "%q is no name of letters, digits, _ and -, at most %d of them", tool.Name, maxToolName)
		}
		if tool.Parameters != nil && jsonkind.Of(tool.Parameters) != jsonkind.Object {
			f.wrongKind("parameters", tool.Parameters, jsonkind.Object)
		}
		t.tools = append(t.tools, tool)
		shown := shownTool{Type: "function"}
		shown.Function.Name, shown.Function.About, shown.Function.Parameters = tool.Name, f.text("description"), tool.Parameters
		if tool.Parameters == nil { // which templates look into
			shown.Function.Parameters = json.RawMessage(`{"type": "object", "properties": {}}`)
		}
		t.raw = append(t.raw, encode(shown))
	}
	switch raw := o.raw("tool_choice"); jsonkind.Of(raw) {
	case jsonkind.Nothing:
	case jsonkind.Text:
		t.choice = o.oneOf("tool_choice", "auto", "none", "required")
	default:
		c := o.inner("tool_choice", raw)
		if c == nil {
			return t
		}
		f := c
		if !flat && c.has("function") {
			f = c.object("function")
		}
		if f == nil {
			return t
		}
		if t.choice = f.text("name"); !slices.ContainsFunc(t.tools, func(tool toolcall.Tool) bool { return tool.Name == t.choice }) {
			f.fail("name", "%q is none of the tools", t.choice)
		}
	}
	if t.choice != "auto" && t.choice != "none" && len(t.tools) == 0 {
		o.fail("tool_choice", "a tool has to be called, and there is none: give tools")
	}
	return t
}

func toolName(s string) bool {
	return s != "" && len(s) <= maxToolName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == ""
}

// show gives messages the form in which the template writes calls and their results, and says what the
// template is told of tools.
func (d *dialect) show(messages []llama.Message, t *toolset) (out []llama.Message, vars map[string]any, err error) {
	for i, m := range messages {
		calls, err := readCalls(m.Fields["tool_calls"])
		if err != nil {
			return nil, nil, bad(fmt.Sprintf("messages[%d].tool_calls", i), "messages[%d].tool_calls: %v", i, err)
		}
		switch {
		case len(calls) > 0 && d.native:
			told := d.Message(m.Content, calls)
			for name, raw := range m.Fields {
				if name != "tool_calls" && name != "content" {
					told.Fields[name] = raw
				}
			}
			m = told
		case len(calls) > 0:
			m = llama.Message{Role: m.Role, Content: m.Content + plainCalls(calls)}
		case m.Role == "tool" && !d.native:
			m = llama.Message{Role: "user", Content: "The tool's result: " + m.Content}
		case jsonkind.Of(m.Fields["content"]) == jsonkind.Null:
			m.Fields = nil // templates print it
		}
		out = append(out, m)
	}
	if len(t.tools) == 0 || t.choice == "none" {
		return out, nil, nil
	}
	if t.form == nil {
		t.form = d.Form
	}
	if d.native {
		return out, toolcall.Vars(encode(t.raw)), nil
	}
	about := "You can call tools. To call one, answer with nothing but a JSON object: {\"name\": the tool's name, \"arguments\": {...}}. The tools are:\n" + string(encode(t.raw))
	if len(out) > 0 && out[0].Role == "system" {
		out[0].Content += "\n\n" + about
		return out, nil, nil
	}
	return append([]llama.Message{{Role: "system", Content: about}}, out...), nil, nil
}

func plainCalls(calls []toolcall.Call) string {
	var b strings.Builder
	for _, c := range calls {
		b.Write(encode(map[string]any{"name": c.Name, "arguments": c.Arguments}))
	}
	return b.String()
}

// readCalls reads the calls of a message.
func readCalls(raw json.RawMessage) (calls []toolcall.Call, err error) {
	if k := jsonkind.Of(raw); k == jsonkind.Nothing || k == jsonkind.Null {
		return nil, nil
	}
	var list []struct {
		ID       string
		Function struct {
			Name      string
			Arguments json.RawMessage
		}
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("these are no calls of functions: %w", err)
	}
	for i, c := range list {
		args := c.Function.Arguments
		if text := ""; json.Unmarshal(args, &text) == nil && text != "" {
			args = json.RawMessage(text)
		}
		if len(args) == 0 || string(args) == `""` {
			args = json.RawMessage("{}")
		}
		if jsonkind.Of(args) != jsonkind.Object || !json.Valid(args) {
			return nil, fmt.Errorf("the arguments of call %d are no JSON object", i)
		}
		if c.Function.Name == "" {
			return nil, fmt.Errorf("call %d has no name", i)
		}
		calls = append(calls, toolcall.Call{ID: c.ID, Name: c.Function.Name, Arguments: args})
	}
	return calls, nil
}
