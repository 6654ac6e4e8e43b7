package terminal_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/ivo-decoding/ivo/internal/terminal"
)

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"two\n\tlines, é and 🎹":  "two\n\tlines, é and 🎹",
		"\x1b[2J\x1b]0;title\a":  "\uFFFD[2J\uFFFD]0;title\uFFFD",
		"\u009b31m\x7f\x00":      "\uFFFD31m\uFFFD\uFFFD", // U+009B is ESC [ in one
		"\x9b31m\xff\xf0\x9f":    "\uFFFD31m\uFFFD\uFFFD\uFFFD",
		"dos\r\nover\rwritten\r": "dos\nover\uFFFDwritten\uFFFD",
		"":                       "",
	} {
		if got := terminal.Visible(text); got != want {
			t.Errorf("%q is shown as %q, not %q", text, got, want)
		}
	}
}

// However a text is split, a printer shows it as a whole would be shown: its printable
// characters, and nothing that commands a terminal.
func TestPrinter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\r", "\n", "\x1b", "\u009b", "é", "🎹"}),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 4), func(b []byte) string { return string(b) }))
		text := strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "text"), "")
		var out bytes.Buffer
		p := terminal.NewPrinter(&out)
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			if _, err := p.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		p.Flush()
		if got, want := out.String(), terminal.Visible(text); got != want {
			t.Fatalf("%q is printed as %q, not %q", text, got, want)
		}
		drop := func(r rune) rune {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || r == utf8.RuneError {
				return -1
			}
			return r
		}
		shown := strings.Map(func(r rune) rune {
			if r == utf8.RuneError {
				return -1
			}
			return r
		}, out.String())
		if want := strings.Map(drop, text); shown != want || !utf8.ValidString(out.String()) {
			t.Fatalf("%q is printed as %q: its characters are %q", text, shown, want)
		}
	})
}
