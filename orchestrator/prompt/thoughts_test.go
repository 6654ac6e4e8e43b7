package prompt

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/think"
)

// Templates of our own in the ways that models have: what opens and ends a thought is found, and whether the prompt has
// opened or closed one.
func TestThinks(t *testing.T) {
	const turns = `{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}`
	const shows = `{% for m in messages %}{% if m.reasoning_content %}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{{ m.content }}{% endfor %}`
	for _, tc := range []struct {
		name, template string
		opens, closes  string // "" of a model that does not think
		begin          think.Part
	}{
		{"no template", "", "", "", 0},
		{"a template without thoughts", turns, "", "", 0},
		{"shown", shows + `{% if add_generation_prompt %}<bot>{% endif %}`, "<think>", "\n</think>\n\n", think.Before},
		{"opened", shows + `{% if add_generation_prompt %}<bot><think>
{% endif %}`, "<think>", "\n</think>\n\n", think.Thinking},
		{"closed", turns + `<bot><think></think>`, "<think>", "</think>", think.Answer},
		{"of its own", `{% for m in messages %}{% if m.reasoning_content %}<muse:9>{{ m.reasoning_content }}</muse:9>{% endif %}{{ m.content }}{% endfor %}`, "<muse:9>", "</muse:9>", think.Before},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := wordless(t, tc.template)
			e, err := NewEncoder(m, Options{Chat: true})
			if err != nil {
				t.Fatal(err)
			}
			marks := e.Thinks()
			if marks == nil || tc.opens == "" {
				if (marks == nil) != (tc.opens == "") {
					t.Fatalf("thinks: %v", marks)
				}
				return
			}
			if f := marks.Format; f.Name != tc.opens || f.Close != tc.closes {
				t.Errorf("%q and %q, want %q and %q", f.Name, f.Close, tc.opens, tc.closes)
			}
			tokens, err := e.Encode(Record{Text: "say <think> or </think>"})
			if err != nil {
				t.Fatal(err)
			}
			if r := marks.Begin(tokens); r.Part() != tc.begin {
				t.Errorf("responses begin in part %d, want %d", r.Part(), tc.begin)
			}
		})
	}
}

// wordless is the lab's tokenizer, which has no tokens for marks, with a chat template.
func wordless(t *testing.T, template string) *llama.Model {
	t.Helper()
	f, err := gguf.Read("../../testdata/lab/summarize-s.gguf")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "wordless.gguf")
	if err := gguf.Write(path, append(f.KVs, gguf.KV{Key: "tokenizer.chat_template", Value: template}), nil); err != nil {
		t.Fatal(err)
	}
	m, err := llama.Load(path, llama.ModelParams{VocabOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// The templates of a llama.cpp tree, which IVO_TEMPLATES names: those that show a thought are known to, and a thought
// that they show is found again in what they write.
func TestThinksOfTree(t *testing.T) {
	dir := os.Getenv("IVO_TEMPLATES")
	if dir == "" {
		t.Skip("IVO_TEMPLATES names no folder of templates")
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.jinja"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%v in %s: %v", paths, dir, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".jinja")
		m := wordless(t, string(text))
		e, err := NewEncoder(m, Options{Chat: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found, opened := "none", ""
		if marks := e.Thinks(); marks != nil {
			found = marks.Format.Name + " " + marks.Format.Close
			tokens, err := e.Encode(Record{Text: "jlqxz"})
			if err != nil {
				opened = err.Error()
			} else {
				r := marks.Begin(tokens)
				opened = []string{"before", "in thought", "in answer", "between"}[r.Part()]
			}
		}
		mentions := cmp.Or(strings.Contains(string(text), "reasoning_content"), strings.Contains(string(text), "</think"))
		if mentions && found == "none" {
			t.Errorf("%s: no thoughts were found", name)
		}
		t.Logf("%-50s %q %s", name, found, opened)
	}
}
