package llama_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/jinja"
)

// Templates in the formats of three families, in our own words.
var familyTemplates = map[string]string{
	"chatml": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
	"llama3": "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
	"phi3": "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
}

var chat = []llama.Message{{Role: "system", Content: "be kind"}, {Role: "user", Content: "hi"}, {Role: "assistant", Content: "ho"}, {Role: "user", Content: "and?"}}

func withTemplate(t testing.TB, template string) *llama.Model {
	return load(t, randomModel(t, "llama", 1, func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		return append(kvs, gguf.KV{Key: "tokenizer.chat_template", Value: template}), ts
	}))
}

// A template that llama.cpp would recognise is run all the same, and gives what the one that
// llama.cpp has built in under that name gives where it writes no more than that.
func TestChatBuiltIn(t *testing.T) {
	for name, template := range familyTemplates {
		m := withTemplate(t, template)
		for _, assistant := range []bool{false, true} {
			p := jinja.Params{AddGenerationPrompt: assistant}
			for _, msg := range chat {
				p.Messages = append(p.Messages, jinja.Message(msg))
			}
			want, err := jinja.Render(template, p)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := m.RenderChat(chat, llama.Chat{Open: assistant}); got != want || err != nil {
				t.Errorf("%s: %q, %v, as Jinja %q", name, got, err, want)
			}
			if got, err := m.RenderChat(chat, llama.Chat{Template: name, Open: assistant}); got != want || err != nil {
				t.Errorf("%s by name: %q, %v, as Jinja %q", name, got, err, want)
			}
		}
	}
}

// llama.cpp takes this template for ChatML, which has no system prompt of its own.
func TestChatDefaultSystem(t *testing.T) {
	const system = "<|im_start|>system\nYou are one of ours.<|im_end|>\n"
	m := withTemplate(t, "{% if messages[0].role != 'system' %}"+system+"{% endif %}"+familyTemplates["chatml"])
	got, err := m.RenderChat(chat[1:2], llama.Chat{})
	if want := system + "<|im_start|>user\nhi<|im_end|>\n"; got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// A template runs with the model's special tokens, and with what its messages and the caller
// bring.
func TestChatJinja(t *testing.T) {
	m := withTemplate(t, "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"+
		"({{ loop.index }}:{{ m.role[0] | upper }}) {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}(A){% endif %}")
	got, err := m.RenderChat(chat[:2], llama.Chat{Open: true})
	want := "<s>(1:S) be kind</s>(2:U) hi</s>(A)"
	if got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if got, err := m.RenderChat(chat[1:2], llama.Chat{Template: "chatml"}); got != "<|im_start|>user\nhi<|im_end|>\n" || err != nil {
		t.Errorf("another template: %q, %v", got, err)
	}
	calls := llama.Message{Role: "assistant", Fields: map[string]json.RawMessage{"content": json.RawMessage("null"), "tool_calls": json.RawMessage(`[{"b": 1, "a": [2.0]}]`)}}
	o := llama.Chat{Template: "{{ messages[0].content is none }} {{ messages[0].tool_calls | tojson }} {{ x }} {{ strftime_now('%Y') }}", Vars: map[string]any{"x": json.RawMessage("true")}, Now: time.Date(1970, 7, 1, 0, 0, 0, 0, time.UTC)}
	if got, err := m.RenderChat([]llama.Message{calls}, o); got != `True [{"b": 1, "a": [2.0]}] True 1970` || err != nil {
		t.Errorf("what messages carry: %q, %v", got, err)
	}
	for want, f := range map[string]func() (string, error){
		"no tools": func() (string, error) {
			return m.RenderChat([]llama.Message{{Role: "tool", Content: "x"}}, llama.Chat{})
		},
		"no messages": func() (string, error) { return m.RenderChat(nil, llama.Chat{}) },
		"zero byte": func() (string, error) {
			return m.RenderChat([]llama.Message{{Role: "user", Content: "a\x00"}}, llama.Chat{})
		},
		`called "nosuch"`: func() (string, error) { return m.RenderChat(chat, llama.Chat{Template: "nosuch"}) },
		"line 1":          func() (string, error) { return m.RenderChat(chat, llama.Chat{Template: "{% for %}"}) },
		"has none": func() (string, error) {
			return load(t, randomModel(t, "llama", 1, nil)).RenderChat(chat, llama.Chat{})
		},
	} {
		if got, err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %q, %v", want, got, err)
		}
	}
}
