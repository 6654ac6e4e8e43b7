package cli

import (
	"encoding/json"
	"flag"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Whatever is given for a template's variables, it is refused with a word on what to do, or variables that a template shows.
func FuzzKwargs(f *testing.F) {
	for _, text := range []string{`{"enable_thinking": false, "x": {"b": 1, "a": [null, 1e999]}}`, `{"x": "\ud800", "messages": 1, "add_generation_prompt": null}`, `{"x": 1}{`, `null`, `[]`, `{"x": 12345678901234567890}`, `{"x":` + strings.Repeat("[", 5000)} {
		f.Add(text)
	}
	m, err := llama.Load("../testdata/lab/summarize-s.gguf", llama.ModelParams{VocabOnly: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { m.Close() })
	const template = "{{ x }}{% if enable_thinking %}{{ x | tojson }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
	f.Fuzz(func(t *testing.T, text string) {
		set := flag.NewFlagSet("", flag.ContinueOnError)
		set.String("chat-template-kwargs", text, "")
		set.String("chat-template", template, "")
		o, err := promptOptions(cli.NewContext(&cli.App{}, set, nil))
		if err == nil {
			for name, v := range o.TemplateKwargs {
				if raw, is := v.(json.RawMessage); !is || !json.Valid(raw) {
					t.Errorf("%s is %v", name, v)
				}
			}
			var e *prompt.Encoder
			if e, err = prompt.NewEncoder(m, o); err == nil {
				_, err = e.Encode(prompt.Record{ID: "p", Messages: []llama.Message{{Role: "user", Content: "a"}}})
			}
		}
		if err != nil && !strings.Contains(err.Error(), "(") {
			t.Errorf("nothing to do about it: %v", err)
		}
	})
}
