package terminal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Board shows some lines that change: in their place on a terminal, anew every boardEvery elsewhere.
type Board struct {
	w        io.Writer
	terminal bool
	mu       sync.Mutex
	shown    int // lines that are on the terminal
	last     time.Time
}

const boardEvery = 30 * time.Second

// NewBoard makes a board that is shown on w.
func NewBoard(w io.Writer) *Board { return &Board{w: w, terminal: Is(w), last: time.Now()} }

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
	for _, l := range lines {
		fmt.Fprintln(b.w, Visible(l))
	}
	b.shown = len(lines)
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
