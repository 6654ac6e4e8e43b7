package toolcall_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/jinja"
	"github.com/ivo-decoding/ivo/orchestrator/serve/toolcall"
)

var tools = []toolcall.Tool{
	{Name: "weather", Parameters: json.RawMessage(`{"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "code": {"type": "string"}, "deep": {"type": "object"}}}`)},
	{Name: "now"},
}

// said is an answer that calls tools in one form, and what it says.
type said struct {
	form, answer, text string
	calls              []string // name and arguments
}

var answers = []said{
	{"hermes", "I look.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": 3}}\n</tool_call>", "I look.", []string{`weather {"city":"Oslo","days":3}`}},
	{"hermes", "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>\n<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"a </tool_call> \\\" b\"}}</tool_call>", "", []string{`now {}`, `weather {"city":"a </tool_call> \" b"}`}},
	{"hermes", "a <tool_call> is a mark", "a <tool_call> is a mark", nil},
	{"hermes", "<tool_call>{\"name\": \"now\", \"argum", "<tool_call>{\"name\": \"now\", \"argum", nil},
	{"hermes", "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n", "", []string{`now {}`}},
	{"hermes", "5 < 6 <tool", "5 < 6 <tool", nil},
	{"llama3", `{"name": "weather", "parameters": {"city": "Oslo"}}`, "", []string{`weather {"city":"Oslo"}`}},
	{"llama3", `<|python_tag|>{"name": "weather", "parameters": {"city": "Oslo"}}; {"name": "now", "parameters": {}}`, "", []string{`weather {"city":"Oslo"}`, `now {}`}},
	{"llama3", `{"name": "Ann", "age": 5}`, `{"name": "Ann", "age": 5}`, nil},
	{"llama3", `{"name": "other", "parameters": {}}`, `{"name": "other", "parameters": {}}`, nil},
	{"llama3", `The answer is {"name": "now", "parameters": {}}`, `The answer is {"name": "now", "parameters": {}}`, nil},
	{"qwen3-coder", "Yes.\n\n<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n3\n</parameter>\n<parameter=code>\n7\n</parameter>\n<parameter=deep>\n{\"a\": [1]}\n</parameter>\n</function>\n</tool_call>", "Yes.", []string{`weather {"city":"Oslo","days":3,"code":"7","deep":{"a": [1]}}`}},
	{"qwen3-coder", "<tool_call>\n<function=now>\n</function>\n</tool_call>", "", []string{`now {}`}},
	{"qwen3-coder", "<tool_call>\n<function=weather>\n<parameter=city>\nline one\nline two\n\n</parameter>\n</function>\n</tool_call>", "", []string{`weather {"city":"line one\nline two\n"}`}},
	{"mistral", `[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Oslo"}, "id": "abcdefghi"}, {"name": "now", "arguments": {}}]`, "", []string{`weather {"city":"Oslo"}`, `now {}`}},
	{"mistral-args", `One moment.[TOOL_CALLS]weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]now[ARGS]{}`, "One moment.", []string{`weather {"city":"Oslo"}`, `now {}`}},
	{"mistral-args", `[TOOL_CALLS]weather[CALL_ID]abcdefghi[ARGS]{"city": "Oslo"}`, "", []string{`weather {"city":"Oslo"}`}},
	{"gemma", `<|tool_call>call:weather{city:<|"|>Oslo, "N"<|"|>,days:3,deep:{a:[1,<|"|>x<|"|>,true,null]}}<tool_call|>`, "", []string{`weather {"city":"Oslo, \"N\"","days":3,"deep":{"a":[1,"x",true,null]}}`}},
	{"gemma", `<|tool_call>call:now{}<tool_call|>`, "", []string{`now {}`}},
	{"functiongemma", `<start_function_call>call:weather{city:<escape>Oslo<escape>}<end_function_call>`, "", []string{`weather {"city":"Oslo"}`}},
	{"functionary", `<function=weather>{"city": "Oslo"}</function>`, "", []string{`weather {"city":"Oslo"}`}},
	{"kimi", `<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{"city": "Oslo"}<|tool_call_end|><|tool_calls_section_end|>`, "", []string{`weather {"city":"Oslo"}`}},
	{"deepseek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\": \"Oslo\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", "", []string{`weather {"city":"Oslo"}`}},
	{"deepseek-v3.1", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"city\": \"Oslo\"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", "", []string{`weather {"city":"Oslo"}`, `now {}`}},
	{"glm", "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>", "", []string{`weather {"city":"Oslo","days":3}`}},
	{"minimax", "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">Oslo</parameter>\n</invoke>\n</minimax:tool_call>", "", []string{`weather {"city":"Oslo"}`}},
}

// Answers are read the same whole, byte by byte, and cut anywhere.
func TestReader(t *testing.T) {
	for _, a := range answers {
		form := toolcall.Named(a.form)
		var cuts [][]string
		cuts = append(cuts, []string{a.answer}, strings.Split(a.answer, ""))
		for i := range a.answer {
			cuts = append(cuts, []string{a.answer[:i], a.answer[i:]})
		}
		for _, parts := range cuts {
			r := form.Reader(tools)
			var text string
			var calls []string
			for i, part := range parts {
				s, cs := r.Push(part, i == len(parts)-1)
				if text += s; s != "" && calls != nil && strings.TrimSpace(s) != "" {
					t.Errorf("%s: %q: text %q after calls", a.form, a.answer, s)
				}
				for _, c := range cs {
					calls = append(calls, c.Name+" "+string(c.Arguments))
					if !json.Valid(c.Arguments) || c.ID == "" {
						t.Errorf("%s: %q: call %+v", a.form, a.answer, c)
					}
				}
			}
			if strings.TrimSpace(text) != strings.TrimSpace(a.text) || !sameCalls(calls, a.calls) {
				t.Fatalf("%s: %q of %d parts gives %q and %q, want %q and %q", a.form, a.answer, len(parts), text, calls, a.text, a.calls)
			}
		}
	}
}

// sameCalls compares calls but for the space in their JSON.
func sameCalls(got, want []string) bool {
	normal := func(list []string) (out []string) {
		for _, s := range list {
			name, args, _ := strings.Cut(s, " ")
			var v any
			if json.Unmarshal([]byte(args), &v) != nil {
				return nil
			}
			text, err := json.Marshal(v)
			if err != nil {
				return nil
			}
			out = append(out, name+" "+string(text))
		}
		return out
	}
	return slices.Equal(normal(got), normal(want)) && len(got) == len(want)
}

// What is no call stays text whatever it is.
func FuzzReader(f *testing.F) {
	for _, a := range answers {
		f.Add(a.answer, 3)
	}
	f.Fuzz(func(t *testing.T, answer string, cut int) {
		for _, name := range toolcall.Names() {
			r := toolcall.Named(name).Reader(tools)
			cut := min(max(cut, 0), len(answer))
			first, calls := r.Push(answer[:cut], false)
			rest, others := r.Push(answer[cut:], true)
			if calls = append(calls, others...); len(calls) == 0 && first+rest != answer {
				t.Errorf("%s: %q is told as %q", name, answer, first+rest)
			}
			for _, c := range calls {
				if c.Name == "" || !json.Valid(c.Arguments) || c.Arguments[0] != '{' {
					t.Errorf("%s: %q gives %+v", name, answer, c)
				}
			}
		}
	})
}

// written are templates of our own that write each form as its family's documentation has it.
var written = map[string]string{
	"hermes": `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content or '' }}{% for c in m.tool_calls or [] %}
<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}`,
	"llama3":       `{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{% if m.tool_calls %}{"name": "{{ m.tool_calls[0].function.name }}", "parameters": {{ m.tool_calls[0].function.arguments | tojson }}}{% else %}{{ m.content }}{% endif %}<|eot_id|>{% endfor %}`,
	"qwen3-coder":  "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments | items %}<parameter={{ k }}>\n{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}</function>\n</tool_call>{% endfor %}{% endfor %}",
	"mistral":      `{% for m in messages %}{% if m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}{% endfor %}]{{ eos_token }}{% else %}{{ m.content }}{% endif %}{% endfor %}`,
	"mistral-args": `{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments }}{% endfor %}{% endfor %}`,
	"gemma":        `{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}<|tool_call>call:{{ c.function.name }}{{ '{' }}{% for k, v in c.function.arguments | items %}{{ k }}:{% if v is string %}<|"|>{{ v }}<|"|>{% else %}{{ v }}{% endif %}{{ ',' if not loop.last else '' }}{% endfor %}{{ '}' }}<tool_call|>{% endfor %}{% endfor %}`,
	"glm":          "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}\n{% for k, v in c.function.arguments | items %}<arg_key>{{ k }}</arg_key>\n<arg_value>{{ v if v is string else v | tojson }}</arg_value>\n{% endfor %}</tool_call>{% endfor %}{% endfor %}",
}

func choose(template string) (toolcall.Writer, bool) {
	return toolcall.Choose(func(messages []llama.Message, tools json.RawMessage) (string, error) {
		p := jinja.Params{Extra: map[string]any{"tools": tools}}
		for _, m := range messages {
			p.Messages = append(p.Messages, jinja.Message(m))
		}
		return jinja.Render(template, p)
	})
}

// A template's form is found by what it writes.
func TestChoose(t *testing.T) {
	for name, template := range written {
		got, ok := choose(template)
		if !ok || got.Name != name || got.Texts != (name == "mistral-args") {
			t.Errorf("%s: found %v, texts %v", name, got.Form, got.Texts)
		}
	}
	if w, ok := choose(`{% for m in messages %}{{ m.content }}{% endfor %}`); ok {
		t.Errorf("a template without tools writes calls in the form %s", w.Name)
	}
}

// Real templates, of a folder that $IVO_TEMPLATES names, write calls that are read back; those that do not are
// listed.
func TestRealTemplates(t *testing.T) {
	dir := os.Getenv("IVO_TEMPLATES")
	if dir == "" {
		t.Skip("IVO_TEMPLATES names no folder of templates, such as llama.cpp's models/templates")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jinja"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, dir)
	}
	forms := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".jinja")
		w, ok := choose(string(text))
		if ok {
			forms[name] = w.Name
		}
		if !ok && strings.Contains(string(text), "tool_calls") {
			t.Logf("%s writes calls that no form reads", name)
		}
	}
	for name, form := range map[string]string{
		"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "hermes", "Qwen-Qwen2.5-7B-Instruct": "hermes", "Qwen-Qwen3-0.6B": "hermes", "Qwen3-Coder": "qwen3-coder",
		"meta-llama-Llama-3.1-8B-Instruct": "llama3", "meta-llama-Llama-3.3-70B-Instruct": "llama3", "mistralai-Mistral-Nemo-Instruct-2407": "mistral",
		"unsloth-mistral-Devstral-Small-2507": "mistral-args", "google-gemma-4-31B-it": "gemma",
	} {
		if forms[name] != form {
			t.Errorf("%s writes calls in the form %q, want %q", name, forms[name], form)
		}
	}
	t.Log(cmp.Diff(map[string]string{}, forms))
}
