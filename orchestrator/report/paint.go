package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/ivo-decoding/ivo/internal/terminal"
)

// Depth is how many colours a terminal shows.
type Depth int

const (
	NoColours   Depth = iota
	Colours256        // the 6x6x6 cube and the greys of xterm
	TrueColours       // 24 bits
)

// on begins text on a background, in an ink that is readable whatever the terminal's own
// colours are.
func (d Depth) on(background Colour) string {
	if d == TrueColours {
		b, i := background, Ink
		return fmt.Sprintf("\x1b[48;2;%d;%d;%d;38;2;%d;%d;%dm", b.R, b.G, b.B, i.R, i.G, i.B)
	}
	return fmt.Sprintf("\x1b[48;5;%d;38;5;16m", index256(background)) // 16 is black
}

const off = "\x1b[0m"

// index256 is the nearest colour of xterm's cube, 16 + 36 r + 6 g + b, or of its greys,
// from 232 on.
func index256(c Colour) int {
	best, least := 0, 1<<30
	for i := 16; i < 256; i++ {
		p := palette256(i)
		dr, dg, db := int(c.R)-int(p.R), int(c.G)-int(p.G), int(c.B)-int(p.B)
		if d := dr*dr + dg*dg + db*db; d < least {
			best, least = i, d
		}
	}
	return best
}

// palette256 is xterm's colour i, 16 to 255.
func palette256(i int) Colour {
	if i >= 232 {
		grey := uint8(8 + 10*(i-232))
		return Colour{R: grey, G: grey, B: grey}
	}
	level := func(n int) uint8 {
		if n == 0 {
			return 0
		}
		return uint8(55 + 40*n)
	}
	i -= 16
	return Colour{R: level(i / 36), G: level(i / 6 % 6), B: level(i % 6)}
}

// Paint prints a text with its tokens on their values' colours, and the scale below it.
func Paint(w io.Writer, t *Text, d Depth) error {
	b := bufio.NewWriter(w)
	for _, token := range t.Tokens {
		on := d.on(t.Scale.Colour(float64(token.Value)))
		// Some terminals fill the rest of a line with the colour that is on where it ends.
		lines := strings.Split(terminal.Visible(token.Shown()), "\n")
		for i, line := range lines {
			if line != "" {
				b.WriteString(on + line + off)
			}
			if i < len(lines)-1 {
				b.WriteString("\n")
			}
		}
	}
	if !strings.HasSuffix(t.Tokens[len(t.Tokens)-1].Text, "\n") {
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, v := range t.Scale.Stops(9) {
		fmt.Fprintf(b, "%s %5.1f %s", d.on(t.Scale.Colour(v)), v, off)
	}
	fmt.Fprintf(b, "\n%s; %.3f at the end\n", t.Reading, t.Tokens[len(t.Tokens)-1].Value)
	return b.Flush()
}

// List prints a line a token: its text, quoted, its value and how it changed it.
func List(w io.Writer, tokens []Token) error {
	b := bufio.NewWriter(w)
	for _, t := range tokens {
		change := "-"
		if t.Change != nil {
			change = fmt.Sprintf("%+.4f", *t.Change)
		}
		fmt.Fprintf(b, "%q\t%.4f\t%s\n", t.Text, t.Value, change)
	}
	return b.Flush()
}
