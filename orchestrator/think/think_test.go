package think_test

import (
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/think"
)

// vocabulary is a tokenizer of special tokens and, from 100 on, bytes.
type vocabulary struct {
	specials []llama.Special
	shown    bool // special tokens have a text, as those have that a model's makers added as text
}

func vocabularyOf(texts ...string) vocabulary {
	v := vocabulary{}
	for i, text := range texts {
		v.specials = append(v.specials, llama.Special{ID: int32(i), Text: text, Attr: llama.AttrControl})
	}
	return v
}

func (v vocabulary) compile(f think.Format) *think.Marks {
	return think.Compile(f, v, v.specials, v.tokens(f.Close))
}

func (v vocabulary) tokens(text string) (out []int32) {
next:
	for text != "" {
		for _, s := range v.specials {
			if strings.HasPrefix(text, s.Text) {
				out, text = append(out, s.ID), text[len(s.Text):]
				continue next
			}
		}
		out, text = append(out, 100+int32(text[0])), text[1:]
	}
	return out
}

func (v vocabulary) Piece(token int32, _ bool) ([]byte, error) {
	switch {
	case token >= 100:
		return []byte{byte(token - 100)}, nil
	case v.shown:
		return []byte(v.specials[token].Text), nil
	}
	return nil, nil
}

// What the templates of known families write, and what their models answer.
func TestReader(t *testing.T) {
	harmony := []string{"<|start|>", "<|end|>", "<|channel|>", "<|message|>"}
	for _, tc := range []struct {
		name     string
		template string   // a part that tells the family
		tokens   []string // the special ones
		shown    bool
		prompt   string
		response string
		thinking string
		answer   string
		thought  int // tokens
	}{
		{"marks are tokens", "<think>", []string{"<think>", "</think>"}, true, "user: hi\nassistant:", "<think>\nab c\n</think>\n\nwell", "ab c", "well", 6},
		{"control tokens", "", []string{"<think>", "</think>"}, false, "", "<think>ab</think>c", "ab", "c", 2},
		{"spelled in letters", "<think>", nil, false, "", " <think>ab</think>c", "ab", "c", 9},
		{"opened by the prompt", "<think>", []string{"<think>", "</think>"}, true, "assistant:\n<think>\n", "ab</think>c", "ab", "c", 2},
		{"closed by the prompt", "<think>", []string{"<think>", "</think>"}, true, "<think>\n\n</think>\n\n", "c d", "", "c d", 0},
		{"no thought", "<think>", []string{"<think>", "</think>"}, true, "hi", " c d", "", " c d", 0},
		{"an answer about marks", "<think>", nil, false, "", "write <think>x</think>", "", "write <think>x</think>", 0},
		{"two thoughts", "<think>", []string{"<think>", "</think>"}, true, "", "<think>a</think>b <think>c</think> d", "ac", "b d", 2},
		{"a thought that is not ended", "<think>", nil, false, "", "<think>a b </thi", "a b </thi", "", 9},
		{"what began like a mark", "<think>", nil, false, "", "<thing>", "", "<thing>", 0},
		{"Mistral", "[THINK]", []string{"[THINK]", "[/THINK]"}, false, "", "[THINK]a[/THINK]b", "a", "b", 1},
		{"Cohere", "", []string{"<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>"}, false, "<|START_THINKING|>", "a<|END_THINKING|><|START_RESPONSE|>b", "a", "b", 1},
		{"Gemma", "<|channel>thought", []string{"<|channel>", "<channel|>"}, false, "", "<|channel>thought\na<channel|>b", "a", "b", 2},
		{"Granite", "<think></think> <response></response>", nil, false, "", "<think>a</think>\n<response>b</response>", "a", "b", 8},
		{"Apriel", "Here are my reasoning steps:\n [BEGIN FINAL RESPONSE]", nil, false, "Here are my reasoning steps:\n", "a\n[BEGIN FINAL RESPONSE]\nb", "a", "b", 23},
		{"gpt-oss", "<|channel|>analysis<|message|>", harmony, false, "<|start|>assistant",
			"<|channel|>analysis<|message|>a b<|end|><|start|>assistant<|channel|>final<|message|>c", "a b", "c", 3},
		{"gpt-oss without a thought", "<|channel|>analysis<|message|>", harmony, false, "<|start|>assistant", "<|channel|>final<|message|>c", "", "c", 0},
		{"Solar", "<|begin|>assistant<|think|>", []string{"<|begin|>", "<|think|>", "<|content|>", "<|end|>"}, false, "<|begin|>assistant",
			"<|think|>a<|end|><|begin|>assistant<|content|>b", "a", "b", 1},
		{"Kimi", "{{ '<|open|>' + tag }}", []string{"<|open|>", "<|close|>", "<|sep|>"}, false, "", "<|open|>think<|sep|>a<|close|>think<|sep|><|open|>response<|sep|>b", "a", "b", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := vocabularyOf(tc.tokens...)
			v.shown = tc.shown
			f, ok := think.Find(tc.template, v.specials)
			if !ok {
				t.Fatal("no format was found")
			}
			m := v.compile(f)
			prompt, response := v.tokens(tc.prompt), v.tokens(tc.response)
			r := m.Begin(prompt)
			var thought, answer strings.Builder
			take := func(a, b []byte) { thought.Write(a); answer.Write(b) }
			for _, token := range response {
				next := r.Next(token)
				take(r.Push(token))
				if next != r.Part() {
					t.Errorf("after a token more it would be in %d, and is in %d", next, r.Part())
				}
			}
			take(r.End())
			if got := strings.TrimSpace(thought.String()); got != tc.thinking || answer.String() != tc.answer || r.Thought() != tc.thought {
				t.Errorf("thought %q in %d tokens, answered %q, want %q in %d and %q", got, r.Thought(), answer.String(), tc.thinking, tc.thought, tc.answer)
			}
			if tc.prompt == "" && tc.tokens == nil {
				if thinking, answer := f.Split(tc.response); thinking != tc.thinking || answer != tc.answer {
					t.Errorf("the text is parted into %q and %q", thinking, answer)
				}
			}
			// What is forced ends a thought.
			r = m.Begin(prompt)
			for _, token := range append(v.tokens(f.Name), m.Close()...) {
				r.Push(token)
			}
			if r.Part() != think.Answer {
				t.Errorf("%s and %s lead to %d", f.Name, f.Close, r.Part())
			}
		})
	}
}

// What spells a mark is none where the model has a token for it.
func TestReaderKnowsTokens(t *testing.T) {
	v := vocabularyOf("<think>", "</think>")
	f, _ := think.Find("<think>", v.specials)
	m := v.compile(f)
	r := m.Begin(nil)
	var said strings.Builder
	const text = "<think>x</think>y"
	for i := range len(text) {
		_, answer := r.Push(100 + int32(text[i]))
		said.Write(answer)
	}
	if said.String() != text || r.Part() != think.Answer || r.Thought() != 0 {
		t.Errorf("%q, %d tokens of thought", said.String(), r.Thought())
	}
}

// A copy of a reader goes on by itself.
func TestReaderForks(t *testing.T) {
	v := vocabularyOf()
	f, _ := think.Find("<think>", nil)
	m := v.compile(f)
	read := func(r think.Reader, text string) string {
		var said strings.Builder
		for i := range len(text) {
			_, answer := r.Push(100 + int32(text[i]))
			said.Write(answer)
		}
		_, answer := r.End()
		return said.String() + string(answer)
	}
	r := m.Begin(nil)
	for i := range len("<thi") {
		r.Push(100 + int32("<thi"[i]))
	}
	for _, text := range []string{"ng", "nk>x</think>y", "s"} {
		want := "<thi" + text
		if text[0] == 'n' && text[1] == 'k' {
			want = "y"
		}
		if got := read(r, text); got != want {
			t.Errorf("after <thi%s: %q, want %q", text, got, want)
		}
	}
}

func TestFindsNothing(t *testing.T) {
	for _, template := range []string{"", "chatml", "{% for m in messages %}{{ m.content }}{% endfor %}"} {
		if f, ok := think.Find(template, vocabularyOf("<s>", "<|im_end|>").specials); ok {
			t.Errorf("%q: %s", template, f.Name)
		}
	}
}
