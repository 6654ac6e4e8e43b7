package toolcall_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	{"deepseek-v3.2", "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">7</｜DSML｜parameter>\n<｜DSML｜parameter name=\"days\" string=\"false\">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>", "", []string{`weather {"city":"7","days":3}`, `now {}`}},
	{"kimi-k3", `<|open|>tools<|sep|><|open|>call tool="weather" index="1"<|sep|><|open|>argument key="city" type="string"<|sep|>Oslo<|close|>argument<|sep|><|close|>call<|sep|><|close|>tools<|sep|>`, "", []string{`weather {"city":"Oslo"}`}},
	{"hunyuan", "<tool_calls:opensource>\n<tool_call:opensource>weather<tool_sep:opensource>\n<arg_key:opensource>days</arg_key:opensource>\n<arg_value:opensource>3</arg_value:opensource>\n</tool_call:opensource>\n</tool_calls:opensource>", "", []string{`weather {"days":3}`}},
	{"minicpm", `Yes. <function name="weather"><param name="city"><![CDATA[a </param> & b]]></param><param name="days">3</param></function>`, "Yes.", []string{`weather {"city":"a </param> & b","days":3}`}},
	{"minimax-m3", "]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"weather\">]<]minimax[>[<city>Oslo]<]minimax[>[</city>]<]minimax[>[<deep>]<]minimax[>[<a>]<]minimax[>[<item>1]<]minimax[>[</item>]<]minimax[>[<item>x]<]minimax[>[</item>]<]minimax[>[</a>]<]minimax[>[</deep>]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>", "", []string{`weather {"city":"Oslo","deep":{"a":[1,"x"]}}`}},
	{"lfm2.5", `<|tool_call_start|>[weather(city='it\'s "Oslo"', days=-3, deep={'a': [1, True, None]}), now()]<|tool_call_end|>`, "", []string{`weather {"city":"it's \"Oslo\"","days":-3,"deep":{"a":[1,true,null]}}`, `now {}`}},
	{"apertus", `<|tools_prefix|>[{"weather": {"city": "Oslo"}}, {"now": {}}]<|tools_suffix|>`, "", []string{`weather {"city":"Oslo"}`, `now {}`}},
	{"solar", `<|tool_calls|><|tool_call:begin|>abc<|tool_call:name|>weather<|tool_call:args|>{"city": "Oslo"}<|tool_call:end|><|calls|>`, "", []string{`weather {"city":"Oslo"}`}},
	{"gpt-oss", ` to=functions.weather<|channel|>commentary json<|message|>{"city": "Oslo"}<|call|>`, "", []string{`weather {"city":"Oslo"}`}},
	{"gpt-oss", `<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Oslo"}<|call|>`, "", []string{`weather {"city":"Oslo"}`}},
	{"functionary-3.2", ">>>all\nI look.\n>>>weather\n{\"city\": \"Oslo\"}", "I look.", []string{`weather {"city":"Oslo"}`}},
	{"functionary-3.2", ">>>weather of old\n", ">>>weather of old", nil},
	{"apriel", "<tool_calls>\n{\"name\": \"now\", \"arguments\": {}}\n{\"name\": \"weather\", \"arguments\": {\"days\": 1}}\n</tool_calls>", "", []string{`now {}`, `weather {"days":1}`}},
	{"command-r-plus", "Action:\n```json\n[{\"tool_name\": \"weather\", \"parameters\": {\"city\": \"Oslo\"}}]\n```", "", []string{`weather {"city":"Oslo"}`}},
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

// without is a text of which all marks are taken off, and those that are left by it.
func without(text, mark string) string {
	for strings.Contains(text, mark) {
		text = strings.ReplaceAll(text, mark, "")
	}
	return text
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
			told, want := first+rest, answer
			if name == "functionary-3.2" { // whose texts may begin with what is no part of them
				told, want = without(told, ">>>all\n"), without(want, ">>>all\n")
			}
			if calls = append(calls, others...); len(calls) == 0 && told != want {
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
	"llama3":       `{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{% if m.tool_calls %}{"name": "{{ m.tool_calls[0].function.name }}", "parameters": {{ m.tool_calls[0].function.arguments | tojson }}}{% else %}{{ m.content }}{% endif %}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{% endif %}`,
	"qwen3-coder":  "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>\n<function={{ c.function.name }}>\n{% for k, v in c.function.arguments | items %}<parameter={{ k }}>\n{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}</function>\n</tool_call>{% endfor %}{% endfor %}",
	"mistral":      `{% for m in messages %}{% if m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}{% endfor %}]{{ eos_token }}{% else %}{{ m.content }}{% endif %}{% endfor %}`,
	"mistral-args": `{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.function.arguments }}{% endfor %}{% endfor %}`,
	"gemma":        `{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}<|tool_call>call:{{ c.function.name }}{{ '{' }}{% for k, v in c.function.arguments | items %}{{ k }}:{% if v is string %}<|"|>{{ v }}<|"|>{% else %}{{ v }}{% endif %}{{ ',' if not loop.last else '' }}{% endfor %}{{ '}' }}<tool_call|>{% endfor %}{% endfor %}`,
	"glm":          "{% for m in messages %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}\n{% for k, v in c.function.arguments | items %}<arg_key>{{ k }}</arg_key>\n<arg_value>{{ v if v is string else v | tojson }}</arg_value>\n{% endfor %}</tool_call>{% endfor %}{% endfor %}",
}

func choose(template string) (toolcall.Writer, bool) {
	return toolcall.Choose(func(messages []llama.Message, tools json.RawMessage) (string, error) {
		p := jinja.Params{Extra: toolcall.Vars(tools), AddGenerationPrompt: true}
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
	nested := written["qwen3-coder"]
	nested = strings.Replace(nested, "v | tojson", "v | string", 1) // as Python writes it
	if w, ok := choose(nested); !ok || back(nested, w, `{"deep": {"a": [1, "x'", true, 2.5]}}`) != "" {
		t.Error("Python's notation is not read")
	}
	for _, template := range []string{`{% for m in messages %}{{ m.content }}{% endfor %}`, `{{ messages | length }}`, ``} {
		if w, ok := choose(template); ok {
			t.Errorf("%q, a template without tools, writes calls in the form %s", template, w.Name)
		}
	}
}

// Real templates, of a folder that $IVO_TEMPLATES names, write calls that are read back: one call of each form that tests
// the model's, and calls whose arguments are of many kinds.
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
		if !ok {
			if strings.Contains(string(text), "tool_calls") {
				t.Errorf("%s writes calls that no form reads", name)
			}
			continue
		}
		forms[name] = w.Name
		for _, args := range []string{
			`{}`, `{"city": "Bodø, \"N\" & <b>, it's 5"}`, `{"city": "line\nby line", "days": -3, "code": "7"}`, `{"deep": {"a": [1, "x", true, 2.5], "b": {"c": "d"}}, "code": "true"}`,
		} {
			if got := back(string(text), w, args); got != "" {
				t.Errorf("%s (%s): %s is read as %s", name, w.Name, args, got)
			}
		}
	}
	for name, form := range map[string]string{
		"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "hermes", "Qwen-Qwen2.5-7B-Instruct": "hermes", "Qwen-Qwen3-0.6B": "hermes", "Qwen3-Coder": "qwen3-coder",
		"meta-llama-Llama-3.1-8B-Instruct": "llama3", "meta-llama-Llama-3.3-70B-Instruct": "llama3", "mistralai-Mistral-Nemo-Instruct-2407": "mistral",
		"unsloth-mistral-Devstral-Small-2507": "mistral-args", "google-gemma-4-31B-it": "gemma", "openai-gpt-oss-120b": "gpt-oss", "Kimi-K2-Instruct": "kimi",
		"deepseek-ai-DeepSeek-V3.2": "deepseek-v3.2", "LFM2.5-8B-A1B": "lfm2.5",
	} {
		if forms[name] != form {
			t.Errorf("%s writes calls in the form %q, want %q", name, forms[name], form)
		}
	}
	t.Logf("%d templates of %d write calls, all of which are read back", len(forms), len(files))
}

// back says how the call that a template writes with these arguments is read, "" where that is as it was.
func back(template string, w toolcall.Writer, args string) string {
	shown := json.RawMessage(`[{"type": "function", "function": {"name": "weather", "description": "", "parameters": ` + string(tools[0].Parameters) + `}}]`)
	call := w.Message("", []toolcall.Call{{ID: "functions.weather:0", Name: "weather", Arguments: json.RawMessage(args)}})
	result := llama.Message{Role: "tool", Content: "Rain.", Fields: map[string]json.RawMessage{"tool_call_id": json.RawMessage(`"functions.weather:0"`), "name": json.RawMessage(`"weather"`)}}
	last := ""
	for _, messages := range [][]llama.Message{{call}, {call, result}} {
		for _, id := range []string{"functions.weather:0", "abcdefghi"} {
			messages[0].Fields["tool_calls"] = json.RawMessage(strings.ReplaceAll(string(messages[0].Fields["tool_calls"]), "functions.weather:0", id))
			p := jinja.Params{Extra: toolcall.Vars(shown), AddGenerationPrompt: true, Messages: []jinja.Message{{Role: "user", Content: "How is it?"}}}
			opened, err := jinja.Render(template, p)
			if err != nil {
				return "" // it knows no such tools
			}
			for _, m := range messages {
				p.Messages = append(p.Messages, jinja.Message(m))
			}
			text, err := jinja.Render(template, p)
			if err != nil {
				last = err.Error()
				continue
			}
			answer, whole := strings.CutPrefix(text, opened)
			if !whole {
				answer = text[strings.LastIndex(text, "How is it?"):]
				if i := strings.Index(answer, "{"); i >= 0 && w.Name == "llama3" { // whose calls stand alone
					answer = answer[i:]
				}
			}
			_, calls := w.Reader(tools).Push(answer, true)
			var got []string
			for _, c := range calls {
				got = append(got, c.Name+" "+string(c.Arguments))
			}
			if sameCalls(got, []string{"weather " + args}) {
				return ""
			}
			last = strings.Join(got, "; ") + " of " + answer
		}
	}
	return last
}
