package llama_test

import (
	"strings"
	"testing"

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

// Templates that llama.cpp recognises give what running them as Jinja gives.
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
			if got, err := m.ApplyChat("", chat, assistant); got != want || err != nil {
				t.Errorf("%s: %q, %v, as Jinja %q", name, got, err, want)
			}
			if got, err := m.ApplyChat(name, chat, assistant); got != want || err != nil {
				t.Errorf("%s by name: %q, %v, as Jinja %q", name, got, err, want)
			}
		}
	}
}

// A template that llama.cpp does not know runs as Jinja, with the model's special tokens;
// the BOS token that the tokenizer adds is left out.
func TestChatJinja(t *testing.T) {
	m := withTemplate(t, "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"+
		"({{ loop.index }}:{{ m.role[0] | upper }}) {{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}(A){% endif %}")
	got, err := m.ApplyChat("", chat[:2], true)
	want := "(1:S) be kind</s>(2:U) hi</s>(A)"
	if !m.AddBOS() {
		want = "<s>" + want
	}
	if got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if got, err := m.ApplyChat("chatml", chat[1:2], false); got != "<|im_start|>user\nhi<|im_end|>\n" || err != nil {
		t.Errorf("another template: %q, %v", got, err)
	}
	for want, f := range map[string]func() (string, error){
		"no tools":    func() (string, error) { return m.ApplyChat("", []llama.Message{{Role: "tool", Content: "x"}}, false) },
		"no messages": func() (string, error) { return m.ApplyChat("", nil, true) },
		"zero byte": func() (string, error) {
			return m.ApplyChat("", []llama.Message{{Role: "user", Content: "a\x00"}}, true)
		},
		`called "nosuch"`: func() (string, error) { return m.ApplyChat("nosuch", chat, true) },
		"line 1":          func() (string, error) { return m.ApplyChat("{% for %}", chat, true) },
		"has none": func() (string, error) {
			return load(t, randomModel(t, "llama", 1, nil)).ApplyChat("", chat, true)
		},
	} {
		if got, err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %q, %v", want, got, err)
		}
	}
}
