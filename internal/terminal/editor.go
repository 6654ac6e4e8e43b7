package terminal

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// ErrInterrupt is what a message that was begun ends with by Ctrl-C, and ErrInterruptEmpty what one
// that was not.
var (
	ErrInterrupt      = errors.New("interrupted")
	ErrInterruptEmpty = errors.New("interrupted before anything was typed")
)

// Editor reads messages that are typed: they can be edited and called back by the usual keys,
// and what is pasted is a part of one message whatever line breaks it has. It is a layer between
// a terminal and [term.Terminal], which takes each character for one column and a line break for the end:
// for what is more than that, marks stand in between (see keys).
type Editor struct {
	in   *os.File
	line *term.Terminal
	keys *keys

	interrupted error // by the key that was pressed last
}

// NewEditor makes an editor for a terminal. Nothing is read or written before [Editor.Read].
func NewEditor(in, out *os.File) *Editor {
	e := &Editor{in: in}
	e.edit(in, out)
	e.keys.pressed = func() {
		if width, height, err := term.GetSize(int(in.Fd())); err == nil {
			e.line.SetSize(width, height)
		}
	}
	return e
}

// edit sets the editor up between what is typed and what is shown.
func (e *Editor) edit(in io.Reader, out io.Writer) {
	e.keys = &keys{in: in}
	e.line = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{e.keys, shown{out}}, "")
	e.line.AutoCompleteCallback = e.press
	e.line.History = &history{editor: e}
}

// IsTerminal says whether f is a terminal that an editor can work on.
func IsTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// Read shows the prompt and reads a message. Its error is io.EOF after Ctrl-D, one of
// [ErrInterrupt] and [ErrInterruptEmpty] after Ctrl-C, and the context's cause where that ends. Between calls
// the terminal is as it was, and keeps what is typed.
func (e *Editor) Read(ctx context.Context, prompt string) (string, error) {
	fd := int(e.in.Fd())
	was, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	defer term.Restore(fd, was)
	e.keys.suspended = func() {
		e.line.SetBracketedPasteMode(false)
		term.Restore(fd, was)
		suspend()
		term.MakeRaw(fd)
		e.line.SetBracketedPasteMode(true)
		e.line.Write(nil) // shows the line again
	}
	e.keys.pressed()
	e.line.SetBracketedPasteMode(true)
	defer e.line.SetBracketedPasteMode(false)

	type message struct {
		text string
		err  error
	}
	read := make(chan message, 1)
	go func() { // a read cannot be cancelled
		text, err := e.read(prompt)
		read <- message{text, err}
	}()
	select {
	case m := <-read:
		return m.text, m.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (e *Editor) read(prompt string) (string, error) {
	e.line.SetPrompt(prompt)
	e.interrupted = nil
	text, err := e.line.ReadLine()
	switch {
	case e.interrupted != nil:
		return "", e.interrupted
	case err != nil && !errors.Is(err, term.ErrPasteIndicator):
		return "", err
	}
	return strings.TrimRight(meant(text), "\r\n"), nil
}

// press carries out the keys that move over characters, which may be of two columns, Ctrl-C and Ctrl-D. pos is
// the cursor's place in bytes.
func (e *Editor) press(line string, pos int, key rune) (string, int, bool) {
	before, after := line[:pos], line[pos:]
	switch key {
	case keyInterrupt:
		e.interrupted = ErrInterrupt
		if line == "" {
			e.interrupted = ErrInterruptEmpty
		}
		return line + "^C", len(line + "^C"), true
	case keyLeft:
		return line, pos - lastCharacter(before), true
	case keyRight:
		return line, pos + firstCharacter(after), true
	case keyErase:
		n := pos - lastCharacter(before)
		return line[:n] + after, n, true
	case keyEnd:
		if line == "" {
			e.keys.ended = true
			return "", 0, true
		}
		fallthrough
	case keyDelete:
		return before + after[firstCharacter(after):], pos, true
	}
	return "", 0, false
}

// history is what the up and down keys bring back: the last messages, but for those that were
// abandoned and those said twice in a row.
type history struct {
	editor *Editor
	lines  []string // the newest last
}

func (h *history) Add(line string) {
	if n := len(h.lines); h.editor.interrupted != nil || strings.TrimSpace(line) == "" || n > 0 && h.lines[n-1] == line {
		return
	}
	h.lines = append(h.lines, line)
}

func (h *history) Len() int        { return len(h.lines) }
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
