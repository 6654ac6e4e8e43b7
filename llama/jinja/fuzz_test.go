package jinja

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Whatever the template and the chat, Render returns: a text within the bounds or an *Error
// that is no mistake of this package.
func FuzzRender(f *testing.F) {
	for _, family := range families {
		f.Add(family.template, "user", "Hi", true)
	}
	for template := range rendered {
		f.Add(template, "user", "Hi", false)
	}
	f.Add("{% macro f(a, b=1) %}{{ f(b=a) }}{% endmacro %}{{ f(2) }}", "user", "x", false)
	f.Fuzz(func(t *testing.T, template, role, content string, open bool) {
		// A hundredth of the steps, for speed.
		got, err := render(template, Params{
			Messages:            []Message{{"system", "be brief", nil}, {role, content, nil}, {"assistant", content, nil}},
			AddGenerationPrompt: open,
			BOS:                 "<s>", EOS: "</s>",
			Now: time.Unix(0, 0).UTC(),
		}, maxSteps/100)
		var e *Error
		switch {
		case err == nil:
			if limit := maxBytes + bytesShare*(2*len(content)+len(role)+1000); len(got) > limit {
				t.Errorf("%d bytes, more than %d", len(got), limit)
			}
			if utf8.ValidString(template) && utf8.ValidString(content) && utf8.ValidString(role) && !utf8.ValidString(got) {
				t.Errorf("%q is not UTF-8", got)
			}
		case got != "" || !errors.As(err, &e):
			t.Errorf("%q with %v", got, err)
		case strings.HasPrefix(e.Msg, "internal error"):
			t.Error(err)
		}
	})
}
