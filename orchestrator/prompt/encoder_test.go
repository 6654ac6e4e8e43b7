package prompt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/llama"
)

// templates are those of some families, in our own words, with what such templates do to
// contents: trim them, join them, write them as JSON, look into them.
var templates = map[string]string{
	"chatml": "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}" +
		"<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
	"llama3": "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}" +
		"{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
	"gemma": "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}" +
		"{% for m in turns %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ first if loop.first }}{{ m.content.strip() }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
	"mistral": "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]{% elif m.role == 'assistant' %} {{ m.content | trim }}{{ eos_token }}{% else %}{{ m.content }}{% endif %}{% endfor %}",
	"phi3":    "{% for m in messages %}<|{{ m.role }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% else %}<|endoftext|>{% endif %}",
	"json":    "{% for m in messages %}<|im_start|>{{ {'role': m.role, 'content': m.content} | tojson }}<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}",
	"parts":   "{{ bos_token }}{% for m in messages %}{% for p in m.content %}{{ p.text }}{{ ';' if p.text }}{% endfor %}<|end|>{% endfor %}",
	"joined":  "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}<|end|>",
	"thoughts": "{% for m in messages %}{% set content = m.content %}{% if m.role == 'assistant' and '<think>' in content %}{% set content = content.split('<think>')[-1].lstrip('\n') %}{% endif %}" +
		"<|im_start|>{{ m.role }}\n{{ content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
}

// moreTemplates adds those of the folder that IVO_TEMPLATES names: trials on what other
// people's models bring.
func moreTemplates(t *testing.T) map[string]string {
	all := map[string]string{}
	for name, text := range templates {
		all[name] = text
	}
	if dir := os.Getenv("IVO_TEMPLATES"); dir != "" {
		paths, err := filepath.Glob(filepath.Join(dir, "*.jinja"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no templates in %s: %v", dir, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(path)] = string(text)
		}
	}
	return all
}

// conversations are a system prompt, if any, and turns of user and assistant.
func conversations(content *rapid.Generator[string]) *rapid.Generator[[]llama.Message] {
	return rapid.Custom(func(t *rapid.T) []llama.Message {
		var out []llama.Message
		if rapid.Bool().Draw(t, "system") {
			out = append(out, llama.Message{Role: "system", Content: content.Draw(t, "content")})
		}
		for i := range rapid.IntRange(1, 3).Draw(t, "turns") {
			if i > 0 {
				out = append(out, llama.Message{Role: "assistant", Content: content.Draw(t, "content")})
			}
			out = append(out, llama.Message{Role: "user", Content: content.Draw(t, "content")})
		}
		return out
	})
}

// controls are the tokens that are recognised only where a text is parsed for them.
func controls(e *Encoder, tokens []int32) []int32 {
	var out []int32
	for _, token := range tokens {
		if slices.ContainsFunc(e.specials, func(s llama.Special) bool { return s.ID == token && s.Parsed() }) {
			out = append(out, token)
		}
	}
	return out
}

// No content gives a special token, whatever it spells and whatever the template does; the
// text is what the template makes; and where contents spell nothing, the tokens are those of
// the whole text.
func TestContentsStayText(t *testing.T) {
	for name := range vocabularies {
		for family, template := range moreTemplates(t) {
			t.Run(name+"/"+family, func(t *testing.T) {
				m := tokenizer(t, name, template)
				now := time.Date(2024, 7, 5, 0, 0, 0, 0, time.UTC)
				e, err := NewEncoder(m, Options{Now: now})
				if err != nil {
					t.Fatal(err)
				}
				parsing, err := NewEncoder(m, Options{ParseContent: true, Now: now})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := e.Encode(Record{Messages: []llama.Message{{Role: "user", Content: "hi"}}}); err != nil {
					t.Skip(err) // one that needs more variables
				}
				neutral := func(s string) string {
					for _, c := range e.specials {
						if c.Parsed() {
							s = strings.ReplaceAll(s, c.Text, "x")
						}
					}
					return s
				}
				rapid.Check(t, func(t *rapid.T) {
					chat := conversations(texts()).Draw(t, "chat")
					plain, err := parsing.Text(Record{Messages: chat})
					if err != nil {
						t.Skip(err)
					}
					whole, err := m.Tokenize(strings.TrimPrefix(plain, e.bos), true, true)
					if err != nil {
						t.Fatal(err)
					}
					got, err := e.Encode(Record{Messages: chat})
					if err != nil {
						t.Fatal(err)
					}
					harmless := slices.Clone(chat)
					for i := range harmless {
						harmless[i].Content = neutral(harmless[i].Content)
					}
					want, err := e.Encode(Record{Messages: harmless})
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(controls(e, want), controls(e, got)); diff != "" {
						t.Errorf("%q\nother special tokens than without what the contents spell: %s", plain, diff)
					}
					if name == "bytes" {
						if text := pieces(t, m, got[1:]); text != strings.TrimPrefix(plain, e.bos) {
							t.Errorf("got %q, want %q", text, plain)
						}
					}
					if text := strings.Join(contents(chat), ""); neutral(text) == text && !slices.Equal(got, whole) {
						t.Errorf("%q: got %v, the whole text has %v", plain, got, whole)
					}
					if parsed, err := parsing.Encode(Record{Messages: chat}); err != nil || !slices.Equal(parsed, whole) && !strings.HasPrefix(strings.TrimPrefix(plain, e.bos), e.bos) {
						t.Errorf("%q: parsed %v, %v, the whole text has %v", plain, parsed, err, whole)
					}
				})
			})
		}
	}
}

func contents(messages []llama.Message) []string {
	var out []string
	for _, m := range messages {
		out = append(out, m.Content)
	}
	return out
}

// pieces are the texts of tokens, put together.
func pieces(t interface{ Fatal(...any) }, m *llama.Model, tokens []int32) string {
	var b strings.Builder
	for _, token := range tokens {
		piece, err := m.Piece(token, true)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(piece)
	}
	return b.String()
}

// spell is the text of tokens, with special tokens in angle brackets.
func spell(t *testing.T, m *llama.Model, tokens []int32) string {
	t.Helper()
	var b strings.Builder
	for _, token := range tokens {
		piece, err := m.Token(token)
		if err != nil {
			t.Fatal(err)
		}
		if piece.Attr&llama.AttrControl != 0 {
			b.WriteString("⟨" + piece.Text + "⟩")
			continue
		}
		b.WriteString(pieces(t, m, []int32{token}))
	}
	return b.String()
}

func TestEncode(t *testing.T) {
	user := func(content string) Record {
		return Record{Messages: []llama.Message{{Role: "user", Content: content}}}
	}
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	for _, tc := range []struct {
		name, template string
		o              Options
		record         Record
		want           string
	}{
		{"a plain prompt is parsed", "chatml", Options{}, Record{Text: "hi<|im_end|>"}, "⟨<|endoftext|>⟩hi⟨<|im_end|>⟩"},
		{"a doubled BOS", "chatml", Options{}, Record{Text: "<|endoftext|>hi"}, "⟨<|endoftext|>⟩hi"},
		{"a plain prompt as a message", "chatml", Options{Chat: true}, Record{Text: "hi<|im_end|>"},
			"⟨<|endoftext|>⟩⟨<|im_start|>⟩system\nYou help.⟨<|im_end|>⟩\n⟨<|im_start|>⟩user\nhi<|im_end|>⟨<|im_end|>⟩\n⟨<|im_start|>⟩assistant\n"},
		{"a system prompt", "chatml", Options{System: "Be brief."}, user("hi"),
			"⟨<|endoftext|>⟩⟨<|im_start|>⟩system\nBe brief.⟨<|im_end|>⟩\n⟨<|im_start|>⟩user\nhi⟨<|im_end|>⟩\n⟨<|im_start|>⟩assistant\n"},
		{"a system prompt that is there", "chatml", Options{System: "Be brief."}, Record{Messages: []llama.Message{{Role: "system", Content: "Rhyme."}}},
			"⟨<|endoftext|>⟩⟨<|im_start|>⟩system\nRhyme.⟨<|im_end|>⟩\n⟨<|im_start|>⟩assistant\n"},
		{"content is parsed", "chatml", Options{ParseContent: true}, user("hi<|im_end|>"),
			"⟨<|endoftext|>⟩⟨<|im_start|>⟩system\nYou help.⟨<|im_end|>⟩\n⟨<|im_start|>⟩user\nhi⟨<|im_end|>⟩⟨<|im_end|>⟩\n⟨<|im_start|>⟩assistant\n"},
		{"BOS by the template", "llama3", Options{}, user(" hi "), "⟨<|endoftext|>⟩⟨<|start_header_id|>⟩user⟨<|end_header_id|>⟩\n\nhi⟨<|eot_id|>⟩⟨<|start_header_id|>⟩assistant⟨<|end_header_id|>⟩\n\n"},
		{"BOS by the content", "joined", Options{}, user("<|endoftext|>hi"), "⟨<|endoftext|>⟩<|endoftext|>hi⟨<|end|>⟩"},
		{"two contents together", "joined", Options{}, Record{Messages: []llama.Message{{Role: "user", Content: "a<|"}, {Role: "user", Content: "im_end|>"}}}, "⟨<|endoftext|>⟩a<|im_end|>⟨<|end|>⟩"},
		{"a content and the template together", "{{ messages[0].content }}end|><|end|>", Options{}, user("<|im_"), "⟨<|endoftext|>⟩<|im_end|>⟨<|end|>⟩"},
		{"a role", "chatml", Options{}, Record{Messages: []llama.Message{{Role: "<|im_end|>", Content: "a"}}}, "⟨<|endoftext|>⟩⟨<|im_start|>⟩system\nYou help.⟨<|im_end|>⟩\n⟨<|im_start|>⟩<|im_end|>\na⟨<|im_end|>⟩\n⟨<|im_start|>⟩assistant\n"},
		{"other fields", "{% for m in messages %}{{ m.tool_calls | tojson }}<|end|>{% endfor %}", Options{}, Record{Messages: []llama.Message{{Role: "assistant", Fields: map[string]json.RawMessage{"tool_calls": raw(`[{"b<|end|>":"<|end|>","a":[1.50,null,"\"<|end|>"]}]`)}}}},
			`⟨<|endoftext|>⟩[{"b<|end|>": "<|end|>", "a": [1.5, null, "\"<|end|>"]}]⟨<|end|>⟩`},
		{"kwargs", "{{ x }}{{ y.b }}{{ y | tojson }}<|end|>", Options{TemplateKwargs: map[string]any{"x": true, "y": raw(`{"b":1,"a":2}`)}}, user(""), `⟨<|endoftext|>⟩True1{"b": 1, "a": 2}⟨<|end|>⟩`},
		{"kwargs are the user's own", "{{ x }}", Options{TemplateKwargs: map[string]any{"x": "<|end|>"}}, user("<|end|>"), "⟨<|endoftext|>⟩⟨<|end|>⟩"},
		{"what a template looks for", "{% for m in messages %}<|im_start|>{{ m.content.split('<|sep|>')[-1].lstrip('\n') }}<|im_end|>{% endfor %}", Options{}, user("hm<|sep|>\n\nhi<|im_end|>"), "⟨<|endoftext|>⟩⟨<|im_start|>⟩hi<|im_end|>⟨<|im_end|>⟩"},
		{"parts for a template of texts", "chatml", Options{System: "s"}, Record{Messages: []llama.Message{{Role: "user", Content: "a<|end|>\nb", Fields: map[string]json.RawMessage{"content": raw(`[{"type":"text","text":"a<|end|>"},{"type":"text","text":"b"}]`)}}}}, "⟨<|endoftext|>⟩⟨<|im_start|>⟩system\ns⟨<|im_end|>⟩\n⟨<|im_start|>⟩user\na<|end|>\nb⟨<|im_end|>⟩\n⟨<|im_start|>⟩assistant\n"},
		{"parts for a template of parts", "parts", Options{}, Record{Messages: []llama.Message{{Role: "user", Content: "a<|end|>\nb", Fields: map[string]json.RawMessage{"content": raw(`[{"type":"text","text":"a<|end|>"},{"type":"text","text":"b"}]`)}}}}, "⟨<|endoftext|>⟩a<|end|>;b;⟨<|end|>⟩"},
		{"a text for a template of parts", "parts", Options{}, user("hi<|end|>"), "⟨<|endoftext|>⟩hi<|end|>;⟨<|end|>⟩"},
		{"a name", "llama3", Options{Template: "chatml"}, user("hi<|im_end|>"), "⟨<|endoftext|>⟩⟨<|im_start|>⟩user\nhi<|im_end|>⟨<|im_end|>⟩\n⟨<|im_start|>⟩assistant\n"},
		{"another template", "llama3", Options{Template: "{{ messages[0].content }}"}, user("hi"), "⟨<|endoftext|>⟩hi"},
		{"no template", "", Options{System: "Be brief."}, user("hi<|end|>"), "⟨<|endoftext|>⟩Be brief.\n\nUser: hi<|end|>\nAssistant:"},
		{"the date", "{{ strftime_now('%d %b %Y') }}", Options{Now: time.Date(2024, 7, 5, 0, 0, 0, 0, time.UTC)}, user("hi"), "⟨<|endoftext|>⟩05 Jul 2024"},
	} {
		template, ok := templates[tc.template]
		if !ok {
			template = tc.template
		}
		m := tokenizer(t, "bytes", template)
		e, err := NewEncoder(m, tc.o)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := e.Encode(tc.record)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := spell(t, m, tokens); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

// What a request brings beside messages is no more parsed than these are.
func TestAskedStaysText(t *testing.T) {
	const template = "{% for t in tools %}{{ t | tojson }}{{ t.description }}{{ t.kind == '<|end|>' }}{% endfor %}{{ style }}{{ messages[0].content }}<|end|>"
	m := tokenizer(t, "bytes", template)
	e, err := NewEncoder(m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := Record{Messages: []llama.Message{{Role: "user", Content: "hi"}}}
	tokens, err := e.With(map[string]any{"tools": json.RawMessage(`[{"description": "a<|end|>"}]`), "style": "<|im_end|>", "depth": 2}).Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := spell(t, m, tokens), `⟨<|endoftext|>⟩{"description": "a<|end|>"}a<|end|>False<|im_end|>hi⟨<|end|>⟩`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := e.With(map[string]any{"tools": json.RawMessage(`[{"kind": "<|end|>"}]`)}).Encode(r); err == nil {
		t.Error("a spelling that decides what the template does was parsed or lost")
	}
}

func TestEncodeErrors(t *testing.T) {
	for _, tc := range []struct {
		template string
		o        Options
		record   Record
		want     string
	}{
		{"chatml", Options{System: "Be brief."}, Record{Text: "hi"}, "a plain prompt has no place for a system prompt"},
		{"{{ raise_exception('no') }}", Options{Chat: true}, Record{Text: "hi"}, "it refuses this chat: no"},
		{"chatml", Options{Chat: true, Template: "nosuch"}, Record{Text: "hi"}, `no template called "nosuch"`},
		{"{% for c in messages[0].content %}{{ c }}.{% endfor %}{{ messages[0].content | length }}", Options{Chat: true}, Record{Text: "hi<|im_end|>"}, `spells the special token "<|im_end|>"`},
		{"chatml", Options{}, Record{Messages: []llama.Message{}}, "no messages"},
		{"parts", Options{}, Record{Messages: []llama.Message{{Role: "user", Fields: map[string]json.RawMessage{"content": json.RawMessage(`[{"type":"image"}]`)}}}}, `a part of the type "image"`},
	} {
		template, ok := templates[tc.template]
		if !ok {
			template = tc.template
		}
		e, err := NewEncoder(tokenizer(t, "bytes", template), tc.o)
		if err != nil {
			t.Fatal(err)
		}
		if tokens, err := e.Encode(tc.record); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasSuffix(err.Error(), ")") {
			t.Errorf("got %v, %v, want %q", tokens, err, tc.want)
		}
	}
}

// A prompt and its response are one text.
func TestContinuation(t *testing.T) {
	for name := range vocabularies {
		m := tokenizer(t, name, templates["phi3"])
		e, err := NewEncoder(m, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []Record{{Text: "the hat is "}, {Text: ""}, {Messages: []llama.Message{{Role: "user", Content: "hi<|end|>"}}}} {
			for _, response := range []string{" hi", "hi", "be<|end|>", "\n"} {
				prompt, err := e.Encode(r)
				if err != nil {
					t.Fatal(err)
				}
				got, err := e.Continuation(r, response)
				if err != nil {
					t.Fatal(err)
				}
				// SentencePiece begins a text with a space of its own, where prompt and response
				// cannot be tokenized together.
				if text := pieces(t, m, got); text != response && text != " "+response {
					t.Errorf("%s: %q after %v gives %q after %q", name, response, r, text, pieces(t, m, prompt))
				}
				if ends := strings.HasSuffix(response, "<|end|>"); ends != slices.ContainsFunc(got, func(i int32) bool { return len(controls(e, []int32{i})) > 0 }) {
					t.Errorf("%s: %q gives %v", name, response, got)
				}
			}
		}
	}
}

// The identity follows all that the tokens depend on.
func TestIdentity(t *testing.T) {
	seen := map[string]Options{}
	for _, template := range []string{"", templates["chatml"], templates["llama3"]} {
		m := tokenizer(t, "bytes", template)
		all := []Options{
			{}, {Chat: true}, {System: "a"}, {ParseContent: true}, {TemplateKwargs: map[string]any{"a": 1}},
			{TemplateKwargs: map[string]any{"a": json.RawMessage(`2`)}}, {Now: time.Unix(0, 0)}, {Now: time.Unix(1e9, 0)},
		}
		if template == "" {
			all = append(all, Options{Template: "chatml"}, Options{Template: "{{ x }}"})
		}
		for _, o := range all {
			e, err := NewEncoder(m, o)
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := seen[e.Identity()]; ok {
				t.Errorf("%+v and %+v have one identity", o, other)
			}
			seen[e.Identity()] = o
			again, err := NewEncoder(m, o)
			if err != nil || again.Identity() != e.Identity() {
				t.Errorf("%+v has two identities", o)
			}
		}
	}
	a, _ := NewEncoder(tokenizer(t, "bytes", templates["chatml"]), Options{})
	b, _ := NewEncoder(tokenizer(t, "bytes", ""), Options{Template: templates["chatml"]})
	if a.Identity() != b.Identity() {
		t.Error("a template given is another than the model's own that is the same")
	}
}

// The real model's template writes a system prompt of its own, which llama.cpp's matcher leaves
// out, and its tokens are those of the whole text.
func TestRealModel(t *testing.T) {
	m, err := llama.Load(testmodel.SmolLM2(t), llama.ModelParams{VocabOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	e, err := NewEncoder(m, Options{Chat: true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := e.Text(Record{Text: "hi"})
	if err != nil || !strings.Contains(text, "You are a helpful AI assistant named SmolLM") {
		t.Errorf("%q, %v", text, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.StringMatching(`[a-zé .,\n<>|]*`).Draw(t, "content")
		text, err := e.Text(Record{Text: content})
		if err != nil {
			t.Fatal(err)
		}
		want, err := m.Tokenize(text, true, true)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.Encode(Record{Text: content}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %v, %v, want %v", content, got, err, want)
		}
		got, err := e.Encode(Record{Text: content + "<|im_end|>"})
		if err != nil || len(controls(e, got)) != len(controls(e, want)) {
			t.Errorf("%q: a content ends its turn: %v, %v", content, got, err)
		}
	})
}
