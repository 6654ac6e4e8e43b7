package terminal

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"pgregory.net/rapid"
)

// screen is as much of a terminal as the editor needs.
type screen struct {
	width    int
	rows     [][]string // a cell's character; the second cell of a wide one is empty
	row, col int
}

func (s *screen) Write(p []byte) (int, error) {
	for text := string(p); text != ""; {
		for len(s.rows) <= s.row {
			s.rows = append(s.rows, slices.Repeat([]string{" "}, s.width))
		}
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			i := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' })
			n, _ := strconv.Atoi(rest[:i])
			n = max(n, 1)
			switch rest[i] {
			case 'A':
				s.row -= n
			case 'B':
				s.row += n
			case 'C':
				s.col += n
			case 'D':
				s.col = min(s.col, s.width-1) - n
			case 'K':
				copy(s.rows[s.row][s.col:], slices.Repeat([]string{" "}, s.width-s.col))
			}
			text = rest[i+1:]
			continue
		}
		_, n := utf8.DecodeRuneInString(text)
		c := text[:n]
		text = text[n:]
		switch c {
		case "\r":
			s.col = 0
		case "\n":
			s.row++
		default:
			if s.col == s.width {
				s.row, s.col = s.row+1, 0
				text = c + text
				continue
			}
			s.rows[s.row][s.col] = c
			s.col++
			if uniseg.StringWidth(c) == 2 {
				s.rows[s.row][s.col] = ""
				s.col++
			}
		}
	}
	return len(p), nil
}

func (s *screen) String() string {
	var b strings.Builder
	for _, row := range s.rows {
		b.WriteString(strings.Join(row, ""))
	}
	return strings.TrimRight(b.String(), " ")
}

// typed is what a terminal sends, piece by piece, and then no more.
type typed struct{ pieces []string }

func (t *typed) Read(p []byte) (int, error) {
	if len(t.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, t.pieces[0])
	if t.pieces[0] = t.pieces[0][n:]; t.pieces[0] == "" {
		t.pieces = t.pieces[1:]
	}
	return n, nil
}

// Whatever is typed, the screen shows the line with the cursor in its place, and the message is
// the line. The oracle edits a slice of characters.
func TestEdit(t *testing.T) {
	keys := map[string]func(line []string, at int) ([]string, int){
		"\x7f": func(l []string, at int) ([]string, int) {
			if at == 0 {
				return l, 0
			}
			return slices.Delete(l, at-1, at), at - 1
		},
		"\x1b[3~": func(l []string, at int) ([]string, int) {
			if at == len(l) {
				return l, at
			}
			return slices.Delete(l, at, at+1), at
		},
		"\x1b[D": func(l []string, at int) ([]string, int) { return l, max(0, at-1) },
		"\x1bOC": func(l []string, at int) ([]string, int) { return l, min(len(l), at+1) },
		"\x01":   func(l []string, at int) ([]string, int) { return l, 0 },
		"\x1bOF": func(l []string, at int) ([]string, int) { return l, len(l) },
		"\x0b":   func(l []string, at int) ([]string, int) { return l[:at], at },
		"\x15":   func(l []string, at int) ([]string, int) { return slices.Delete(l, 0, at), 0 },
	}
	narrow := []string{"a", "b", "é", "-", "ß", "�", " "}
	wide := append(narrow, "你", "好", "🎹", "か")
	rapid.Check(t, func(t *rapid.T) {
		characters, width := wide, 500
		if rapid.Bool().Draw(t, "wraps") { // term.Terminal does not know where a wide character wraps
			characters, width = narrow, rapid.IntRange(4, 12).Draw(t, "width")
		}
		var line []string
		at := 0
		in, out := &typed{}, &screen{width: width}
		e := new(Editor)
		e.edit(in, out)
		e.line.SetSize(width, 24)
		for range rapid.IntRange(0, 40).Draw(t, "keys") {
			if rapid.IntRange(0, 2).Draw(t, "edit") == 0 {
				key := rapid.SampledFrom(slices.Sorted(maps.Keys(keys))).Draw(t, "key")
				line, at = keys[key](line, at)
				in.pieces = append(in.pieces, key)
				continue
			}
			c := rapid.SampledFrom(characters).Draw(t, "character")
			line, at = slices.Insert(line, at, c), at+1
			if n := len(c) / 2; n > 0 { // it may arrive in two parts
				in.pieces = append(in.pieces, c[:n])
				c = c[n:]
			}
			in.pieces = append(in.pieces, c)
		}
		if _, err := e.read("> "); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		text := strings.Join(line, "")
		if want := strings.TrimRight("> "+text, " "); out.String() != want {
			t.Fatalf("the screen shows %q, not %q", out, want)
		}
		place := uniseg.StringWidth("> " + strings.Join(line[:at], ""))
		if got := out.row*width + out.col; got != place {
			t.Fatalf("the cursor is at %d, not %d, of %q", got, place, text)
		}
		in.pieces = []string{"\r"}
		if got, err := e.read("> "); err != nil || got != text {
			t.Fatalf("%q was typed, %q is read: %v", text, got, err)
		}
	})
}

func TestMessages(t *testing.T) {
	const up, down = "\x1b[A", "\x1b[B"
	for _, c := range []struct {
		name, typed string
		want        []string // messages or errors
		shown       string   // somewhere on the screen
	}{
		{"lines", "one\rtwo\n", []string{"one", "two"}, "> one"},
		{"paste", "\x1b[200~a\r\n\tb\nc\rd\n\x1b[201~ e\r", []string{"a\n\tb\nc\nd\n e"}, "> a↵⇥b↵c↵d↵ e"},
		{"paste that ends a line", "see: \x1b[200~a\nb\n\x1b[201~\rc\r", []string{"see: a\nb", "c"}, "> see: a↵b↵"},
		{"paste of keys", "\x1b[200~a\x03\x1b[D\x04\x7fb\x1b[201~\r", []string{"a[Db"}, "> a[Db"},
		{"paste of the marks", "\x1b[200~\uFDD0x\uFDD4\x1b[201~\uFDD4y\r", []string{"xy"}, "> xy"},
		{"edited paste", "\x1b[200~a\nb\x1b[201~\x1b[D\x7f-\r", []string{"a-b"}, "> a-b"},
		{"another line", "a\x1b\rb\r", []string{"a\nb"}, "> a↵b"},
		{"history", "one\rtwo\rtwo\r" + up + up + "!\r" + up + up + up + up + down + down + "\r", []string{"one", "two", "two", "one!", "one!"}, "> one!"},
		{"pending", "one\rtw" + up + down + "o\r", []string{"one", "two"}, "> two"},
		{"interrupt", "abc\x03x\r" + up + "y\r", []string{ErrInterrupt.Error(), "x", "xy"}, "> abc^C"},
		{"empty interrupts", "\x03\x03a\x03", []string{ErrInterruptEmpty.Error(), ErrInterruptEmpty.Error(), ErrInterrupt.Error()}, "> ^C"},
		{"delete or end", "ab\x01\x04\r\x04", []string{"b", "EOF"}, "> b"},
		{"words", "one two\x1bbx \x1b[1;5D\x1b[1;5D\x1b\x7fa\x1b[1;5Cb\r", []string{"aone bx two"}, "> aone bx two"},
		{"unknown keys", "a\x1b[15~\x1b[2~\x14\x1bxb\xff\r", []string{"ab\uFFFD"}, "> ab\uFFFD"},
		{"long", strings.Repeat("x", 5000) + "\r", []string{strings.Repeat("x", 4096)}, "> xxx"},
		{"long paste", pasteBegin + strings.Repeat("é\n", 5000) + "." + pasteEnd + "\r", []string{strings.Repeat("é\n", 5000) + "."}, "> é↵é"},
	} {
		for _, size := range []int{1, 2, 3, 1 << 20} {
			out := &screen{width: 80}
			in := &typed{}
			for rest := c.typed; rest != ""; {
				n := min(size, len(rest))
				in.pieces = append(in.pieces, rest[:n])
				rest = rest[n:]
			}
			e := new(Editor)
			e.edit(in, out)
			for i, want := range c.want {
				got, err := e.read("> ")
				if err != nil {
					got = err.Error()
				}
				if got != want {
					t.Errorf("%s, %d bytes at once: message %d is %.80q, not %.80q", c.name, size, i, got, want)
				}
			}
			if !strings.Contains(out.String(), c.shown) {
				t.Errorf("%s: the screen shows %.200q", c.name, out)
			}
		}
	}
}

// What is shown holds no marks.
func TestShown(t *testing.T) {
	var b bytes.Buffer
	if n, err := (shown{&b}).Write([]byte("a\uFDD0b\uFDD1你\uFDD2\uFDD3")); err != nil || n != 17 || b.String() != "a↵b⇥你\uFFFD" {
		t.Errorf("%d %v %q", n, err, b.String())
	}
}
