package toolcall

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// pythonForm is a form of a list of calls as Python writes them, NAME(KEY=VALUE, ...), between two marks.
func pythonForm(name, begin, end string) *Form {
	return &Form{Name: name, begins: []string{begin}, end: end, read: func(text string, _ []Tool) (calls []Call, n int, s state) {
		p := &pythonReader{text: text, at: len(begin)}
		if s := p.mark('['); s != done {
			return nil, 0, s
		}
		for {
			if p.mark(']') == done {
				break
			}
			if calls != nil {
				if s := p.mark(','); s != done {
					return nil, 0, s
				}
			}
			c, s := p.call()
			if s != done {
				return nil, 0, s
			}
			calls = append(calls, c)
		}
		k, s := skip(text[p.at:], end)
		return calls, p.at + k, s
	}}
}

// pythonReader turns Python's literals into JSON.
type pythonReader struct {
	text string
	at   int
	out  bytes.Buffer
}

// mark takes a sign and the space before it.
func (p *pythonReader) mark(sign byte) state {
	rest := strings.TrimLeft(p.text[p.at:], space)
	switch {
	case rest == "":
		return more
	case rest[0] != sign:
		return bad
	}
	p.at = len(p.text) - len(rest) + 1
	return done
}

// name takes a name.
func (p *pythonReader) name() (string, state) {
	p.at = len(p.text) - len(strings.TrimLeft(p.text[p.at:], space))
	rest := strings.TrimLeftFunc(p.text[p.at:], func(r rune) bool {
		return r == '_' || r == '-' || r == '.' || r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z'
	})
	name := p.text[p.at : len(p.text)-len(rest)]
	p.at += len(name)
	switch {
	case rest == "":
		return "", more
	case name == "":
		return "", bad
	}
	return name, done
}

func (p *pythonReader) call() (c Call, s state) {
	if c.Name, s = p.name(); s != done {
		return c, s
	}
	if s = p.mark('('); s != done {
		return c, s
	}
	p.out.Reset()
	p.out.WriteByte('{')
	for n := 0; p.mark(')') != done; n++ {
		if n > 0 {
			if s = p.mark(','); s != done {
				return c, s
			}
			p.out.WriteByte(',')
		}
		key, s := p.name()
		if s != done {
			return c, s
		}
		if s = p.mark('='); s != done {
			return c, s
		}
		p.out.Write(quote(key))
		p.out.WriteByte(':')
		if s = p.value(0); s != done {
			return c, s
		}
	}
	p.out.WriteByte('}')
	c.Arguments = bytes.Clone(p.out.Bytes())
	return c, done
}

// value reads a literal; depth is that of the lists and mappings around it.
func (p *pythonReader) value(depth int) state {
	p.at = len(p.text) - len(strings.TrimLeft(p.text[p.at:], space))
	rest := p.text[p.at:]
	switch {
	case depth > 64:
		return bad
	case rest == "":
		return more
	case rest[0] == '\'' || rest[0] == '"':
		text, s := p.quoted()
		if s == done {
			p.out.Write(quote(text))
		}
		return s
	case rest[0] == '[':
		return p.several('[', ']', depth)
	case rest[0] == '{':
		return p.several('{', '}', depth)
	}
	end := strings.IndexAny(rest, ",)]} \t\r\n")
	if end < 0 {
		return more
	}
	word := rest[:end]
	switch word {
	case "True", "False", "None", "true", "false", "null":
		word = string(argument(word, nil))
	default:
		if !json.Valid([]byte(word)) {
			return bad
		}
	}
	p.at += end
	p.out.WriteString(word)
	return done
}

// several reads a list or a mapping.
func (p *pythonReader) several(open, shut byte, depth int) state {
	p.out.WriteByte(open)
	p.at++
	for n := 0; p.mark(shut) != done; n++ {
		if n > 0 {
			if s := p.mark(','); s != done {
				return s
			}
			if p.mark(shut) == done { // a comma may stand behind the last
				break
			}
			p.out.WriteByte(',')
		}
		if s := p.value(depth + 1); s != done {
			return s
		}
		if open == '{' {
			if s := p.mark(':'); s != done {
				return s
			}
			p.out.WriteByte(':')
			if s := p.value(depth + 1); s != done {
				return s
			}
		}
	}
	p.out.WriteByte(shut)
	return done
}

// quoted takes a text between quotation marks, with the escapes that Go's texts share with Python's.
func (p *pythonReader) quoted() (string, state) {
	mark := p.text[p.at]
	var out strings.Builder
	rest := p.text[p.at+1:]
	for rest != "" {
		if rest[0] == mark { // templates do not escape it: it ends the text where something of the notation follows
			after := strings.TrimLeft(rest[1:], space)
			if after == "" || strings.ContainsRune(",)]}:", rune(after[0])) {
				p.at = len(p.text) - len(rest) + 1
				return out.String(), done
			}
		}
		r, _, tail, err := strconv.UnquoteChar(rest, mark)
		switch {
		case err == nil:
			out.WriteRune(r)
		case rest[0] == '\\' && len(rest) < 10: // an escape that may not be whole yet
			return "", more
		default: // what is no escape of Go's stands for itself, line breaks and the other kind of mark too
			tail = rest[1:]
			out.WriteByte(rest[0])
		}
		rest = tail
	}
	return "", more
}
