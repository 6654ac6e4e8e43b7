package terminal

import (
	"bytes"
	"fmt"
	"io"
)

// Harmless keeps what is written to a terminal from commanding it; other writers are as they are.
func Harmless(w io.Writer) io.Writer {
	if Is(w) {
		return NewPrinter(w)
	}
	return w
}

// Stream prints text as it comes, on a terminal without what would command it, and keeps the
// first error.
type Stream struct {
	w     io.Writer
	begun bool     // not empty
	open  bool     // the last line has no line break
	aside *Printer // of what is shown beside the text; nil where none was shown last
	err   error
}

// NewStream prints to w.
func NewStream(w io.Writer) *Stream { return &Stream{w: Harmless(w)} }

// Begun says whether there was any text.
func (s *Stream) Begun() bool { return s.begun }

// Emit prints a piece of text.
func (s *Stream) Emit(text []byte) {
	if len(text) > 0 && s.err == nil {
		s.endAside("\n\n")
		s.begun = true
		_, s.err = s.w.Write(text)
		s.open = !bytes.HasSuffix(text, []byte("\n"))
	}
}

// Aside shows, on a terminal only, what is no part of the text, such as the thoughts before an answer: dimmed, unless
// plain says that there are to be no colours, and above the text that follows.
func (s *Stream) Aside(text []byte, plain bool) {
	p, ok := s.w.(*Printer)
	if !ok || len(text) == 0 || s.err != nil {
		return
	}
	s.begun = true
	if s.aside == nil {
		var w io.Writer = dimmed{p.w}
		if plain {
			w = p.w
		}
		s.aside = NewPrinter(w)
	}
	_, s.err = s.aside.Write(text)
}

func (s *Stream) endAside(end string) {
	if s.aside == nil || s.err != nil {
		return
	}
	if s.err = s.aside.Flush(); s.err == nil {
		_, s.err = io.WriteString(s.w, end)
	}
	s.aside = nil
}

// dimmed writes in a fainter colour.
type dimmed struct{ w io.Writer }

func (d dimmed) Write(text []byte) (int, error) {
	if _, err := fmt.Fprintf(d.w, "\x1b[2m%s\x1b[22m", text); err != nil {
		return 0, err
	}
	return len(text), nil
}

// End ends the last line, and returns what went wrong.
func (s *Stream) End() error {
	s.endAside("\n")
	if p, ok := s.w.(*Printer); ok && s.err == nil {
		s.err = p.Flush()
	}
	if s.open {
		s.Emit([]byte("\n"))
	}
	if s.err != nil {
		return fmt.Errorf("write the text: %w (check where the output goes)", s.err)
	}
	return nil
}
