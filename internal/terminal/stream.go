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
	begun bool // not empty
	open  bool // the last line has no line break
	err   error
}

// NewStream prints to w.
func NewStream(w io.Writer) *Stream { return &Stream{w: Harmless(w)} }

// Begun says whether there was any text.
func (s *Stream) Begun() bool { return s.begun }

// Emit prints a piece of text.
func (s *Stream) Emit(text []byte) {
	if len(text) > 0 && s.err == nil {
		s.begun = true
		_, s.err = s.w.Write(text)
		s.open = !bytes.HasSuffix(text, []byte("\n"))
	}
}

// End ends the last line, and returns what went wrong.
func (s *Stream) End() error {
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
