package toolcall

import (
	"bytes"
	"strings"
)

// gemmaForm is Gemma's: call:NAME{key:value,...} between marks, where texts stand between a mark of their
// own and keys are bare.
func gemmaForm(name, begin, end, quoted string) *Form {
	return &Form{Name: name, begins: []string{begin}, end: end, read: func(text string, _ []Tool) ([]Call, int, state) {
		n := len(begin)
		k, s := skip(text[n:], "call:")
		if s != done {
			return nil, 0, s
		}
		n += k
		called, _, found := strings.Cut(text[n:], "{")
		if !found {
			return nil, 0, more
		}
		if called = strings.TrimSpace(called); called == "" || strings.ContainsAny(called, "<>\n") {
			return nil, 0, bad
		}
		n += strings.Index(text[n:], "{")
		p := gemmaReader{text: text, at: n, mark: quoted}
		if s := p.value(0); s != done {
			return nil, 0, s
		}
		k, s = skip(text[p.at:], end)
		if s != done {
			return nil, 0, s
		}
		return []Call{{Name: called, Arguments: p.out.Bytes()}}, p.at + k, done
	}}
}

// gemmaReader turns Gemma's notation into JSON.
type gemmaReader struct {
	text string
	at   int
	mark string // around texts
	out  bytes.Buffer
}

func (p *gemmaReader) space() {
	p.at = len(p.text) - len(strings.TrimLeft(p.text[p.at:], space))
}

// value reads a value; depth is that of the objects and lists around it.
func (p *gemmaReader) value(depth int) state {
	p.space()
	rest := p.text[p.at:]
	switch {
	case depth > 64:
		return bad
	case rest == "":
		return more
	case strings.HasPrefix(rest, p.mark):
		text, _, found := strings.Cut(rest[len(p.mark):], p.mark)
		if !found {
			return more
		}
		p.at += 2*len(p.mark) + len(text)
		p.out.Write(quote(text))
		return done
	case rest[0] == '{' || rest[0] == '[':
		return p.several(rest[0], depth)
	}
	end := strings.IndexAny(rest, ",}]")
	if end < 0 {
		return more
	}
	word := strings.TrimSpace(rest[:end])
	p.at += end
	p.out.Write(argument(word, nil))
	return done
}

// several reads an object or a list.
func (p *gemmaReader) several(open byte, depth int) state {
	shut := byte('}')
	if open == '[' {
		shut = ']'
	}
	p.out.WriteByte(open)
	p.at++
	for n := 0; ; n++ {
		p.space()
		if p.at >= len(p.text) {
			return more
		}
		if p.text[p.at] == shut {
			p.at++
			p.out.WriteByte(shut)
			return done
		}
		if n > 0 {
			if p.text[p.at] != ',' {
				return bad
			}
			p.at++
			p.out.WriteByte(',')
			p.space()
		}
		if open == '{' {
			key, _, found := strings.Cut(p.text[p.at:], ":")
			if !found {
				return more
			}
			p.at += len(key) + 1
			key = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(key), p.mark), p.mark)
			p.out.Write(quote(key))
			p.out.WriteByte(':')
		}
		if s := p.value(depth + 1); s != done {
			return s
		}
	}
}
