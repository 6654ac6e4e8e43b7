package report

import (
	"bytes"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every colour of the palette is its own nearest, or one that looks the same.
func TestIndex256(t *testing.T) {
	for i := 16; i < 256; i++ {
		if got := palette256(index256(palette256(i))); got != palette256(i) {
			t.Errorf("colour %d, %v, becomes %v", i, palette256(i), got)
		}
	}
	for c, want := range map[Colour]int{{}: 16, {R: 255, G: 255, B: 255}: 231, {R: 213, G: 94}: 166, {G: 158, B: 115}: 35, {R: 8, G: 8, B: 8}: 232} {
		if got := index256(c); got != want {
			t.Errorf("%v becomes %d, not %d", c, got, want)
		}
	}
}

// In 256 colours the scale still runs from low to high, and black on it is readable.
func TestScaleIn256(t *testing.T) {
	s := Scale{Low: -2, High: 2}
	seen := map[Colour]bool{}
	last := math.Inf(1)
	for i := range 201 {
		c := palette256(index256(s.Colour(float64(i-100) / 50)))
		seen[c] = true
		linear := func(v uint8) float64 { return math.Pow(float64(v)/255, 2.2) }
		if l := 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B); (l+0.05)/0.05 < 4.5 { // what WCAG asks of text
			t.Errorf("black on %v has a contrast of %.1f", c, (l+0.05)/0.05)
		}
		now := float64(c.R) - float64(c.G)
		if now > last+40 { // one step of the cube
			t.Errorf("at %d the scale turns back", i)
		}
		last = min(last, now)
	}
	if len(seen) < 7 {
		t.Errorf("%d colours", len(seen))
	}
}

var escape = regexp.MustCompile("\x1b\\[([0-9;]*)m")

// Painted text is the text, with nothing that commands the terminal but colours, none of
// which is on at the end of a line.
func TestPaint(t *testing.T) {
	text := &Text{Reading: "mean return", Scale: Scale{Low: -2, High: 2}, Tokens: []Token{
		{Text: "bad", Value: -2}, {Text: "\x1b[2J\n\n x", Value: 0}, {Text: " good\n", Value: 2},
	}}
	for d, want := range map[Depth][]string{
		TrueColours: {"48;2;213;94;0;38;2;17;20;24", "0", "48;2;240;240;236;38;2;17;20;24", "0"},
		Colours256:  {"48;5;166;38;5;16", "0", "48;5;255;38;5;16", "0"},
	} {
		var out bytes.Buffer
		if err := Paint(&out, text, d); err != nil {
			t.Fatal(err)
		}
		var codes []string
		for _, m := range escape.FindAllStringSubmatch(out.String(), -1) {
			codes = append(codes, m[1])
		}
		if diff := cmp.Diff(want, codes[:4]); diff != "" {
			t.Error(diff)
		}
		plain := escape.ReplaceAllString(out.String(), "")
		if want := "bad\uFFFD[2J↵\n↵\n x good↵\n\n"; !strings.HasPrefix(plain, want) {
			t.Errorf("%q does not begin with %q", plain, want)
		}
		if !strings.HasSuffix(plain, "  2.0 \nmean return; 2.000 at the end\n") || strings.Contains(plain, "\x1b") {
			t.Errorf("%q", plain)
		}
		for line := range strings.Lines(out.String()) {
			if all := escape.FindAllString(line, -1); len(all) > 0 && all[len(all)-1] != off {
				t.Errorf("%q leaves a colour on", line)
			}
		}
	}
}

// Characters that are split over tokens are shown whole, once.
func TestCharacters(t *testing.T) {
	for _, c := range []struct{ pieces, want []string }{
		{[]string{"a", "é"}, []string{"a", "é"}},
		{[]string{"a\xc3", "\xa9b"}, []string{"a", "éb"}},
		{[]string{"\xf0", "\x9f", "\x8e", "\xb9", "x"}, []string{"", "", "", "🎹", "x"}},
		{[]string{"a\xff", "b"}, []string{"a\uFFFD", "b"}},
		{[]string{"\xf0\x9f", "x"}, []string{"", "\uFFFDx"}},
		{[]string{"a", "\xc3"}, []string{"a", "\uFFFD"}}, // cut off at the end
	} {
		var pieces [][]byte
		for _, p := range c.pieces {
			pieces = append(pieces, []byte(p))
		}
		if diff := cmp.Diff(c.want, characters(pieces)); diff != "" {
			t.Errorf("%q: %s", c.pieces, diff)
		}
	}
}
