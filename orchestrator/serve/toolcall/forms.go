package toolcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// forms are all that are known, the more particular ones first.
var forms = []*Form{
	xmlForm("qwen3-coder", xml{begin: "<tool_call>", function: [2]string{"<function=", ">"}, parameter: [3]string{"<parameter=", ">", "</parameter>"}, close: "</function>", end: "</tool_call>"}),
	xmlForm("seed", xml{begin: "<seed:tool_call>", function: [2]string{"<function=", ">"}, parameter: [3]string{"<parameter=", ">", "</parameter>"}, close: "</function>", end: "</seed:tool_call>"}),
	xmlForm("deepseek-v3.2", dsml("function_calls")),
	xmlForm("deepseek-v4", dsml("tool_calls")),
	xmlForm("muse", xml{begin: "<atem:function_calls>", function: [2]string{`<atem:invoke name="`, `">`}, parameter: [3]string{`<atem:parameter name="`, `">`, "</atem:parameter>"}, close: "</atem:invoke>", end: "</atem:function_calls>"}),
	xmlForm("minicpm", xml{begin: `<function name="`, function: [2]string{"", `">`}, parameter: [3]string{`<param name="`, `">`, "</param>"}, close: "</function>"}),
	xmlForm("hunyuan", xml{begin: "<tool_calls:opensource>", function: [2]string{"<tool_call:opensource>", "<tool_sep:opensource>"}, parameter: [3]string{"<arg_key:opensource>", "</arg_key:opensource>", "</arg_value:opensource>"}, value: "<arg_value:opensource>", close: "</tool_call:opensource>", end: "</tool_calls:opensource>"}),
	xmlForm("kimi-k3", xml{begin: "<|open|>tools<|sep|>", function: [2]string{`<|open|>call tool="`, "<|sep|>"}, parameter: [3]string{`<|open|>argument key="`, "<|sep|>", "<|close|>argument<|sep|>"}, close: "<|close|>call<|sep|>", end: "<|close|>tools<|sep|>"}),
	minimaxM3,
	xmlForm("minimax", xml{begin: "<minimax:tool_call>", function: [2]string{`<invoke name="`, `">`}, parameter: [3]string{`<parameter name="`, `">`, "</parameter>"}, close: "</invoke>", end: "</minimax:tool_call>"}),
	xmlForm("glm", xml{begin: "<tool_call>", function: [2]string{"", "<arg_key>"}, parameter: [3]string{"<arg_key>", "</arg_key>", "</arg_value>"}, value: "<arg_value>", end: "</tool_call>"}),
	jsonForm("hermes", "<tool_call>", "</tool_call>"),
	jsonForm("mistral", "[TOOL_CALLS]", ""),
	namedForm("mistral-args", named{begin: "[TOOL_CALLS]", sep: "[ARGS]"}),
	gemmaForm("gemma", "<|tool_call>", "<tool_call|>", `<|"|>`),
	gemmaForm("functiongemma", "<start_function_call>", "<end_function_call>", "<escape>"),
	namedForm("functionary", named{begin: "<function=", sep: ">", end: "</function>"}),
	namedForm("kimi", named{begin: "<|tool_call_begin|>", sep: "<|tool_call_argument_begin|>", end: "<|tool_call_end|>", id: true, around: [2]string{"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"}}),
	namedForm("deepseek", named{begin: "<｜tool▁call▁begin｜>function<｜tool▁sep｜>", sep: "\n```json\n", end: "\n```<｜tool▁call▁end｜>", around: [2]string{"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"}}),
	namedForm("deepseek-v3.1", named{begin: "<｜tool▁call▁begin｜>", sep: "<｜tool▁sep｜>", end: "<｜tool▁call▁end｜>", around: [2]string{"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"}}),
	namedForm("solar", named{begin: "<|tool_call:begin|>", mid: "<|tool_call:name|>", sep: "<|tool_call:args|>", end: "<|tool_call:end|>", around: [2]string{"<|tool_calls|>", "<|calls|>"}}),
	gptoss,
	pythonForm("lfm2.5", "<|tool_call_start|>", "<|tool_call_end|>"),
	keyedForm("apertus", "<|tools_prefix|>", "<|tools_suffix|>"),
	jsonForm("granite", "<|tool_call|>", ""),
	jsonForm("apriel", "<tool_calls>", "</tool_calls>"),
	jsonForm("command-r", "<|START_ACTION|>", "<|END_ACTION|>"),
	jsonForm("command-r-plus", "Action:\n```json", "```"),
	jsonForm("nemotron", "<TOOLCALL>", "</TOOLCALL>"),
	jsonForm("gigachat", "function call<|role_sep|>", ""),
	jsonForm("gigachat-3.1", "<|function_call|>", ""),
	jsonForm("firefunction", "functools", ""),
	functionary3,
	llama3,
}

// marks are what calls are written with beside their beginnings: control tokens in some vocabularies.
var marks = []string{
	"</tool_call>", "[ARGS]", "[CALL_ID]", "<tool_call|>", `<|"|>`, "<end_function_call>", "<escape>", "<|tool_call_argument_begin|>", "<|tool_call_end|>",
	"<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<|END_ACTION|>", "</tool_calls>", "<|message|>", "<|channel|>", "<|constrain|>", "<|call|>", "</arg_key>", "</arg_value>", "<arg_key>", "<arg_value>",
	"</function>", "<param", "</param>", "<function", "｜DSML｜", "]<]minimax[>[", "<|open|>", "<|close|>", "<|sep|>", "<tool_call:opensource>", "<tool_sep:opensource>", "</tool_call:opensource>", "</tool_calls:opensource>",
	"<arg_key:opensource>", "</arg_key:opensource>", "<arg_value:opensource>", "</arg_value:opensource>", "<|tool_call:name|>", "<|tool_call:args|>", "<|tool_call:end|>", "<|tool_call_end|>", "<|tools_suffix|>", "<|role_sep|>", "</TOOLCALL>",
}

// dsml is the notation of DeepSeek's newer models, all calls within one tag of this name.
func dsml(calls string) xml {
	const mark = "｜DSML｜"
	return xml{
		begin: "<" + mark + calls + ">", function: [2]string{"<" + mark + `invoke name="`, `">`},
		parameter: [3]string{"<" + mark + `parameter name="`, ">", "</" + mark + "parameter>"}, close: "</" + mark + "invoke>", end: "</" + mark + calls + ">",
	}
}

// Plain is the form of calls that a grammar makes: an object with the name and the arguments of each.
var Plain = plain()

func plain() *Form {
	f := *llama3
	f.Name = "plain"
	return &f
}

// llama3 is Llama 3's: the whole answer is an object with the tool's name and parameters.
var llama3 = &Form{Name: "llama3", begins: []string{"{", "<|python_tag|>"}, first: true, known: true, read: func(text string, _ []Tool) ([]Call, int, state) {
	n := 0
	if rest, ok := strings.CutPrefix(text, "<|python_tag|>"); ok {
		n = len(text) - len(rest)
	}
	var calls []Call
	for {
		var s state
		var got []Call
		var k int
		if got, k, s = jsonCalls(text[n:]); s != done {
			if calls != nil && s == bad {
				return calls, n, done
			}
			return nil, 0, s
		}
		calls = append(calls, got...)
		n += k
		rest := strings.TrimLeft(text[n:], space+";")
		if !strings.HasPrefix(rest, "{") {
			return calls, n, done
		}
		n = len(text) - len(rest)
	}
}}

// jsonForm is a form of an object, or a list of objects, between two marks.
func jsonForm(name, begin, end string) *Form {
	return &Form{Name: name, begins: []string{begin}, end: end, read: func(text string, _ []Tool) ([]Call, int, state) {
		calls, n, s := jsonCalls(text[len(begin):])
		if s != done {
			return nil, 0, s
		}
		n += len(begin)
		for end != "" && strings.HasPrefix(strings.TrimLeft(text[n:], space), "{") { // one behind the other
			more, k, s := jsonCalls(text[n:])
			if s != done {
				return nil, 0, s
			}
			calls, n = append(calls, more...), n+k
		}
		k, s := skip(text[n:], end)
		return calls, n + k, s
	}}
}

// keyedForm is a form of a list of objects, each of one field: the tool's name and its arguments.
func keyedForm(name, begin, end string) *Form {
	return &Form{Name: name, begins: []string{begin}, end: end, read: func(text string, _ []Tool) (calls []Call, n int, s state) {
		raw, n, s := value(text[len(begin):])
		if s != done {
			return nil, 0, s
		}
		n += len(begin)
		var list []map[string]json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return nil, 0, bad
		}
		for _, item := range list {
			for name, args := range item {
				c := Call{Name: name, Arguments: object(args)}
				if len(item) != 1 || name == "" || c.Arguments == nil {
					return nil, 0, bad
				}
				calls = append(calls, c)
			}
		}
		k, s := skip(text[n:], end)
		return calls, n + k, s
	}}
}

// gptoss is gpt-oss': the recipient stands in the header of a message, in front of its channel or behind it.
var gptoss = &Form{Name: "gpt-oss", begins: []string{"to=functions.", "<|channel|>commentary to=functions."}, end: "<|call|>", read: func(text string, _ []Tool) ([]Call, int, state) {
	at := strings.Index(text, "to=functions.") + len("to=functions.")
	header, rest, found := strings.Cut(text[at:], "<|message|>")
	name, _, _ := strings.Cut(header, "<")
	if name = strings.TrimSpace(name); name == "" && found || strings.ContainsAny(header, "\n{") || len(header) > 256 {
		return nil, 0, bad
	}
	if !found {
		return nil, 0, more
	}
	raw, n, s := value(rest)
	if s != done {
		return nil, 0, s
	}
	k, s := skip(rest[n:], "<|call|>")
	if s != done || raw[0] != '{' {
		return nil, 0, min(s, more)
	}
	return []Call{{Name: name, Arguments: raw}}, len(text) - len(rest) + n + k, done
}}

// functionary3 is Functionary 3.2's: every part of an answer begins with its recipient, a tool or all. The prompt has the first
// one's mark already.
var functionary3 = &Form{Name: "functionary-3.2", begins: []string{">>>"}, known: true, opens: ">>>", plain: ">>>all\n", read: func(text string, _ []Tool) ([]Call, int, state) {
	name, rest, found := strings.Cut(text[len(">>>"):], "\n")
	switch {
	case len(name) > 256 || name == "all":
		return nil, 0, bad
	case !found:
		return nil, 0, more
	}
	raw, n, s := value(rest)
	if s != done {
		return nil, 0, s
	}
	if raw[0] != '{' {
		return nil, 0, bad
	}
	return []Call{{Name: strings.TrimSpace(name), Arguments: raw}}, len(text) - len(rest) + n, done
}}

// skip is how many bytes a mark takes with the space before it.
func skip(text, mark string) (int, state) {
	if mark == "" {
		return 0, done
	}
	rest, mark := strings.TrimLeft(text, space), strings.TrimLeft(mark, space)
	if strings.HasPrefix(rest, mark) {
		return len(text) - len(rest) + len(mark), done
	}
	if strings.HasPrefix(mark, rest) {
		return 0, more
	}
	return 0, bad
}

// jsonCalls reads an object or a list of objects that are calls.
func jsonCalls(text string) ([]Call, int, state) {
	raw, n, s := value(text)
	if s != done {
		return nil, 0, s
	}
	var list []json.RawMessage
	if raw[0] != '[' {
		list = []json.RawMessage{raw}
	} else if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return nil, 0, bad
	}
	var calls []Call
	for _, item := range list {
		c, ok := jsonCall(item)
		if !ok {
			return nil, 0, bad
		}
		calls = append(calls, c)
	}
	return calls, n, done
}

// jsonCall reads a call by the names that families have for its parts.
func jsonCall(raw json.RawMessage) (c Call, ok bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return c, false
	}
	if inner, nested := fields["function"]; nested && len(inner) > 0 && inner[0] == '{' {
		return jsonCall(inner)
	}
	for _, name := range []string{"name", "tool_name", "function"} {
		if json.Unmarshal(fields[name], &c.Name) == nil && c.Name != "" {
			break
		}
	}
	for _, name := range []string{"arguments", "parameters"} {
		if raw, there := fields[name]; there {
			c.Arguments = object(raw)
			break
		}
	}
	if c.Arguments == nil && len(fields) == 1 {
		c.Arguments = json.RawMessage("{}")
	}
	if json.Unmarshal(fields["id"], &c.ID) != nil {
		c.ID = ""
	}
	return c, c.Name != "" && c.Arguments != nil
}

// object is a JSON object, or the one that a text holds; nil of another value.
func object(raw json.RawMessage) json.RawMessage {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		raw = json.RawMessage(s)
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '{' || !json.Valid(raw) {
		return nil
	}
	return raw
}

// value reads the JSON object or list that a text begins with.
func value(text string) (json.RawMessage, int, state) {
	rest := strings.TrimLeft(text, space)
	if rest == "" {
		return nil, 0, more
	}
	if rest[0] != '{' && rest[0] != '[' {
		return nil, 0, bad
	}
	dec := json.NewDecoder(strings.NewReader(rest))
	var raw json.RawMessage
	switch err := dec.Decode(&raw); {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return nil, 0, more
	case err != nil:
		return nil, 0, bad
	}
	return raw, len(text) - len(rest) + int(dec.InputOffset()), done
}

// named is a form of a name, a mark, and an object of arguments.
type named struct {
	begin, sep, end string
	mid             string // between an id and the name, if both are there
	id              bool   // the name is an id, functions.NAME:NUMBER
	around          [2]string
}

func namedForm(name string, f named) *Form {
	begins := []string{f.begin}
	if f.around[0] != "" {
		begins = append(begins, f.around[:]...)
	}
	return &Form{Name: name, begins: begins, end: f.end, read: func(text string, _ []Tool) ([]Call, int, state) {
		at := 0
		if f.around[0] != "" {
			if strings.HasPrefix(text, f.around[1]) {
				return nil, len(f.around[1]), done
			}
			if strings.HasPrefix(text, f.around[0]) {
				at = len(f.around[0])
			}
		}
		k, s := skip(text[at:], f.begin)
		if s != done {
			return nil, 0, s
		}
		at += k
		name, _, found := strings.Cut(text[at:], f.sep)
		if !found {
			if strings.ContainsAny(text[at:], "\n{") && !strings.Contains(f.sep, "\n") {
				return nil, 0, bad
			}
			return nil, 0, more
		}
		at += len(name) + len(f.sep)
		raw, k, s := value(text[at:])
		if s != done {
			return nil, 0, s
		}
		at += k
		if k, s = skip(text[at:], f.end); s != done {
			return nil, 0, s
		}
		c := Call{Name: name, Arguments: raw}
		if before, id, ok := strings.Cut(name, "[CALL_ID]"); ok {
			c.Name, c.ID = before, id
		}
		if f.mid != "" {
			var ok bool
			if c.ID, c.Name, ok = strings.Cut(name, f.mid); !ok {
				return nil, 0, bad
			}
		}
		if f.id {
			c.ID = strings.TrimSpace(name)
			c.Name, _, _ = strings.Cut(strings.TrimPrefix(c.ID, "functions."), ":")
		}
		if c.Name = strings.TrimSpace(c.Name); c.Name == "" || raw[0] != '{' {
			return nil, 0, bad
		}
		return []Call{c}, at + k, done
	}}
}
