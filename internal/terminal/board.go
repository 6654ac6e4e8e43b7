package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// Board shows some lines that change: in their place on a terminal, anew every boardEvery elsewhere.
type Board struct {
	w        io.Writer
	terminal bool
	size     func() (width, height int) // of the terminal
	mu       sync.Mutex
	shown    int // lines that are on the terminal
	last     time.Time
}

const boardEvery = 30 * time.Second

// NewBoard makes a board that is shown on w.
func NewBoard(w io.Writer) *Board {
	b := &Board{w: w, terminal: Is(w), last: time.Now()}
	b.size = func() (width, height int) {
		if f, ok := w.(*os.File); ok {
			width, height, _ = term.GetSize(int(f.Fd()))
		}
		return width, height
	}
	return b
}

// Show shows lines in the place of those before.
func (b *Board) Show(lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.terminal {
		if time.Since(b.last) < boardEvery {
			return
		}
		b.last = time.Now()
	}
	b.clear()
	if b.terminal {
		lines = fitted(lines, b.size)
	}
	for _, l := range lines {
		fmt.Fprintln(b.w, Visible(l))
	}
	b.shown = len(lines)
}

// fitted are lines that a terminal has room for, so that each is a row of it and all can be taken back: long ones end in dots, and
// of too many the last says how many there are besides.
func fitted(lines []string, size func() (width, height int)) []string {
	width, height := size()
	if width < 2 || height < 3 { // it does not say
		return lines
	}
	var out []string
	for i, l := range lines {
		if i == height-3 && len(lines) > height-2 {
			return append(out, fmt.Sprintf("... and %d more", len(lines)-i))
		}
		out = append(out, clipped(l, width))
	}
	return out
}

// clipped is as much of a line as has room.
func clipped(line string, width int) string {
	line = strings.ReplaceAll(Visible(line), "\n", " ")
	if uniseg.StringWidth(line) <= width {
		return line
	}
	end, used := 0, 0
	for g := uniseg.NewGraphemes(line); g.Next() && used+g.Width() < width; used += g.Width() {
		_, end = g.Positions()
	}
	return line[:end] + "…"
}

// Say writes a line that stays, above them.
func (b *Board) Say(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clear()
	fmt.Fprintln(b.w, Visible(text))
}

// Close leaves the lines as they are.
func (b *Board) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shown = 0
}

func (b *Board) clear() {
	if b.terminal && b.shown > 0 {
		fmt.Fprint(b.w, strings.Repeat("\x1b[1A\x1b[2K", b.shown))
	}
	b.shown = 0
}
