package terminal

import (
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Marks are characters that Unicode keeps for use inside a program. They stand for what a line
// cannot hold as it is, and for keys.
const (
	markBreak   = '\uFDD0' + iota // a line break
	markTab                       // a tab
	markFill                      // the second column of the character before
	markUnknown                   // U+FFFD, which term.Terminal takes for an unfinished character
	keyInterrupt
	keyLeft
	keyRight
	keyErase // the character before the cursor
	keyDelete
	keyEnd   // of all messages; within one it deletes
	lastMark = keyEnd
)

// pasteBegin and pasteEnd are what a terminal puts around what is pasted.
const pasteBegin, pasteEnd = "\x1b[200~", "\x1b[201~"

// sequences are the keys that mean something else to term.Terminal, or nothing, by what terminals
// send for them.
var sequences = map[string]string{
	"\x03": string(rune(keyInterrupt)) + "\r", "\x04": string(rune(keyEnd)),
	"\x7f": string(rune(keyErase)), "\x08": string(rune(keyErase)), "\x1b[3~": string(rune(keyDelete)),
	"\x02": string(rune(keyLeft)), "\x1b[D": string(rune(keyLeft)), "\x1bOD": string(rune(keyLeft)),
	"\x06": string(rune(keyRight)), "\x1b[C": string(rune(keyRight)), "\x1bOC": string(rune(keyRight)),
	"\x1bOA": "\x1b[A", "\x1bOB": "\x1b[B", // up and down
	"\x1bOH": "\x1b[H", "\x1b[1~": "\x1b[H", "\x1b[7~": "\x1b[H", // home
	"\x1bOF": "\x1b[F", "\x1b[4~": "\x1b[F", "\x1b[8~": "\x1b[F", // end
	"\x1bb": "\x1b[1;3D", "\x1b[1;5D": "\x1b[1;3D", // a word to the left
	"\x1bf": "\x1b[1;3C", "\x1b[1;5C": "\x1b[1;3C", // a word to the right
	"\x1b\x7f": "\x17",                                                     // deletes a word, as Ctrl-W does
	"\x1b\r":   string(rune(markBreak)), "\x1b\n": string(rune(markBreak)), // Alt-Enter
	"\t": string(rune(markTab)), "\x14": "", // Ctrl-T would part a character from its mark
}

// keys turns what a terminal sends into what term.Terminal should read.
type keys struct {
	in        io.Reader
	pressed   func() // something was
	suspended func() // Ctrl-Z was

	typed   []byte // not looked at yet: the beginning of a character or a sequence
	ready   []byte // to be read
	pasting bool
	ended   bool // by keyEnd
}

func (k *keys) Read(p []byte) (int, error) {
	for len(k.ready) == 0 {
		if k.ended {
			k.ended = false
			return 0, io.EOF
		}
		var buf [4096]byte
		n, err := k.in.Read(buf[:])
		k.typed = append(k.typed, buf[:n]...)
		if k.pressed != nil {
			k.pressed()
		}
		for k.translate() {
		}
		if err != nil && len(k.ready) == 0 {
			return 0, err
		}
	}
	n := copy(p, k.ready)
	k.ready = k.ready[n:]
	return n, nil
}

// translate turns the first of what was typed, if it is complete.
func (k *keys) translate() bool {
	text := string(k.typed)
	take := func(n int, as string) bool {
		k.typed = k.typed[n:]
		k.ready = append(k.ready, as...)
		return true
	}
	if k.pasting && strings.HasPrefix(text, pasteEnd) {
		k.pasting = false
		return take(len(pasteEnd), pasteEnd)
	}
	if !k.pasting && strings.HasPrefix(text, pasteBegin) {
		k.pasting = true
		return take(len(pasteBegin), pasteBegin)
	}
	if !k.pasting {
		for n := 1; n <= min(len(text), 6); n++ {
			if as, ok := sequences[text[:n]]; ok {
				return take(n, as)
			}
		}
	}
	if k.begins(text) || !utf8.FullRune(k.typed) {
		return false
	}
	r, n := utf8.DecodeRune(k.typed)
	switch {
	case r == 'Z'-'@' && !k.pasting && k.suspended != nil:
		k.suspended()
		return take(n, "")
	case r == '\r' && k.pasting && len(text) == 1:
		return false // a line feed may follow
	case r == '\r' && k.pasting && text[1] == '\n':
		return take(n, "")
	case (r == '\r' || r == '\n') && k.pasting:
		return take(n, string(rune(markBreak)))
	case r == '\t':
		return take(n, string(rune(markTab)))
	case unicode.IsControl(r) && k.pasting, markBreak <= r && r <= lastMark:
		return take(n, "")
	case r == utf8.RuneError:
		return take(n, string(rune(markUnknown)))
	case uniseg.StringWidth(string(r)) == 2:
		return take(n, string(r)+string(rune(markFill)))
	}
	return take(n, text[:n])
}

// begins says whether a text is the beginning of a sequence, and no more.
func (k *keys) begins(text string) bool {
	if text == "" {
		return true
	}
	if k.pasting {
		return strings.HasPrefix(pasteEnd, text)
	}
	for s := range sequences {
		if strings.HasPrefix(s, text) {
			return true
		}
	}
	return strings.HasPrefix(pasteBegin, text)
}

var (
	asMeant = strings.NewReplacer(string(rune(markBreak)), "\n", string(rune(markTab)), "\t", string(rune(markFill)), "", string(rune(markUnknown)), "\uFFFD")
	asShown = strings.NewReplacer(string(rune(markBreak)), "↵", string(rune(markTab)), "⇥", string(rune(markFill)), "", string(rune(markUnknown)), "\uFFFD")
)

// meant is the text that a line with marks stands for.
func meant(line string) string { return asMeant.Replace(line) }

// shown writes lines with marks as they look.
type shown struct{ w io.Writer }

func (s shown) Write(line []byte) (int, error) {
	if _, err := asShown.WriteString(s.w, string(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// lastCharacter is the number of bytes of the last character with its mark.
func lastCharacter(s string) int {
	whole := len(s)
	s = strings.TrimSuffix(s, string(rune(markFill)))
	_, n := utf8.DecodeLastRuneInString(s)
	return whole - len(s) + n
}

// firstCharacter is that of the first.
func firstCharacter(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	if strings.HasPrefix(s[n:], string(rune(markFill))) {
		n += len(string(rune(markFill)))
	}
	return n
}
