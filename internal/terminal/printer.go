// Package terminal is for programs that talk with a person at a terminal: text from elsewhere is
// shown so that it cannot command the terminal. It knows nothing of what the text is about.
package terminal

import (
	"io"
	"unicode"
	"unicode/utf8"
)

// Printer shows text that may hold anything. Control characters but tabs and line breaks, which
// could move the cursor, rename the window or type for the user, become U+FFFD, as do bytes that are no
// UTF-8; a carriage return before a line break is left out. Characters may be split over writes.
type Printer struct {
	w    io.Writer
	held []byte // may begin a character, or a line break of two
}

// NewPrinter makes a printer to w.
func NewPrinter(w io.Writer) *Printer { return &Printer{w: w} }

func (p *Printer) Write(text []byte) (int, error) {
	p.held = append(p.held, text...)
	return len(text), p.print(false)
}

// Flush prints what could have become a character, when no more text comes.
func (p *Printer) Flush() error { return p.print(true) }

func (p *Printer) print(all bool) error {
	out, rest := visible(nil, p.held, all)
	p.held = append(p.held[:0], rest...)
	if len(out) == 0 {
		return nil
	}
	_, err := p.w.Write(out)
	return err
}

// Visible is the text as a [Printer] shows it.
func Visible(text string) string {
	out, _ := visible(nil, []byte(text), true)
	return string(out)
}

// visible appends to out what is shown of the text, and returns what may be the beginning of
// something, unless that is all.
func visible(out, text []byte, all bool) (shown, rest []byte) {
	for len(text) > 0 {
		if !all && (!utf8.FullRune(text) || len(text) == 1 && text[0] == '\r') {
			break
		}
		r, n := utf8.DecodeRune(text)
		switch next := text[n:]; {
		case r == '\r' && len(next) > 0 && next[0] == '\n':
		case unicode.IsControl(r) && r != '\n' && r != '\t':
			out = utf8.AppendRune(out, utf8.RuneError)
		default:
			out = utf8.AppendRune(out, r)
		}
		text = text[n:]
	}
	return out, text
}
