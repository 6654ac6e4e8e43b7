package terminal

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
	"pgregory.net/rapid"
)

// Whatever is shown and said, each line of the board is a row of the terminal, and the board has room there with the cursor:
// so what is taken back is what was shown.
func TestBoardFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width, height := rapid.IntRange(2, 30).Draw(t, "width"), rapid.IntRange(3, 8).Draw(t, "height")
		var out bytes.Buffer
		b := &Board{w: &out, terminal: true, size: func() (int, int) { return width, height }}
		line := rapid.StringOf(rapid.SampledFrom([]rune("ab 界é\u0301🎹\x1b\n")))
		for range rapid.IntRange(1, 4).Draw(t, "times") {
			lines := rapid.SliceOfN(line, 0, 12).Draw(t, "lines")
			before := b.shown
			out.Reset()
			b.Show(lines)
			back := strings.Repeat("\x1b[1A\x1b[2K", before)
			if !strings.HasPrefix(out.String(), back) {
				t.Fatalf("%d lines are not taken back: %q", before, &out)
			}
			rows := strings.Split(strings.TrimPrefix(out.String(), back), "\n")
			if rows = rows[:len(rows)-1]; len(rows) != b.shown || len(rows) > height-2 && len(rows) > 1 || len(lines) > 0 && len(rows) == 0 {
				t.Fatalf("%d rows of %d lines, %d counted, on %d", len(rows), len(lines), b.shown, height)
			}
			for i, r := range rows {
				if uniseg.StringWidth(r) > width && !strings.HasPrefix(r, "... and") {
					t.Fatalf("row %d, %q, is wider than %d", i, r, width)
				}
			}
			if len(rows) < len(lines) && rows[len(rows)-1] != fmt.Sprintf("... and %d more", len(lines)-len(rows)+1) {
				t.Fatalf("the last row is %q of %d lines", rows[len(rows)-1], len(lines))
			}
		}
	})
}
